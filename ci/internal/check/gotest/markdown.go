package gotest

import (
	"fmt"
	"html"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/report"
)

// Limits of parts of summary.md in bytes.
const (
	maxMarkdownOutput = 4_000
	markdownReserve   = 400 // for the notes about omitted failures
)

// markdown renders the summary for a pull request or a job summary.
func (s Summary) markdown() string {
	b := report.NewPage(report.MarkdownLimit - markdownReserve)
	passed, failed, skipped := s.totals()
	b.Add(fmt.Sprintf("## Tests %s\n\n%d passed, %d failed, %d skipped\n\n", s.Result, passed, failed, skipped))
	for _, m := range s.Modules {
		if m.Statements > 0 && !m.CoverageMet {
			b.Add(fmt.Sprintf("Coverage of %s is too low: %s %%, the minimum is %s %%.\n\n", m.Path, tenths(m.Coverage), percent(m.MinCoverage)))
		}
	}
	s.markdownFailures(b)
	s.markdownSkips(b)
	var table strings.Builder
	_ = s.covered.WriteMarkdown(&table, s.gate) // a Builder takes everything
	b.Add("### Coverage\n\n" + table.String())
	return b.String()
}

func (s Summary) markdownFailures(b *report.Page) {
	left := 0
	for _, m := range s.Modules {
		for _, f := range m.Failures {
			if !b.Add(f.markdown()) {
				left++
			}
		}
	}
	if left > 0 {
		b.Force(fmt.Sprintf("%d more failures are in junit.xml.\n\n", left))
	}
}

func (s Summary) markdownSkips(b *report.Page) {
	_, _, skipped := s.totals()
	if skipped == 0 {
		return
	}
	left := 0
	b.Force(fmt.Sprintf("<details><summary>%s skipped</summary>\n\n", count(skipped, "test")))
	for _, m := range s.Modules {
		for _, skip := range m.Skips {
			if !b.Add(fmt.Sprintf("- %s<code>%s</code>: %s\n", located(skip.File, skip.Line), html.EscapeString(skip.Test), html.EscapeString(skip.Reason))) {
				left++
			}
		}
	}
	if left > 0 {
		b.Force(fmt.Sprintf("- %d more are in junit.xml.\n", left))
	}
	b.Force("\n</details>\n\n")
}

// markdown renders the failure as a collapsed block with the end of its output.
func (f Failure) markdown() string {
	output := f.body()
	if len(output) > maxMarkdownOutput {
		output = output[len(output)-maxMarkdownOutput:]
		_, output, _ = strings.Cut(output, "\n")
		output = "...\n" + strings.ToValidUTF8(output, "")
	}
	fence := report.Fence(output)
	return fmt.Sprintf("<details><summary>%s<b>%s</b><br>%s</summary>\n\n%s\n%s\n%s\n\n</details>\n\n",
		html.EscapeString(located(f.File, f.Line)), html.EscapeString(f.subject()), html.EscapeString(firstBytes(f.Message, 300)),
		fence, output, fence)
}

func firstBytes(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + "..."
}
