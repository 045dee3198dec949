package gotest

import (
	"fmt"
	"html"
	"strings"

	"dagger/slipway/internal/coverage"
)

// Limits of summary.md, in bytes. GitHub refuses a step summary above 1 MiB and
// a comment above 65,536 characters; the whole stays below the smaller.
const (
	maxMarkdown       = 60_000
	maxMarkdownOutput = 4_000
	markdownReserve   = 400 // for the sentence that says what is left out
)

// markdown renders the summary for a pull request or a job's page.
func (s Summary) markdown(report coverage.Report, gate coverage.Gate) string {
	b := bounded{limit: maxMarkdown - markdownReserve}
	passed, failed, skipped := s.totals()
	b.add(fmt.Sprintf("## Tests %s\n\n%d passed, %d failed, %d skipped\n\n", s.Result, passed, failed, skipped))
	for _, m := range s.Modules {
		if m.Statements > 0 && !m.CoverageMet {
			b.add(fmt.Sprintf("Coverage of %s is too low: %s %%, at least %s %% is asked for.\n\n", m.Path, tenths(m.Coverage), percent(m.MinCoverage)))
		}
	}
	s.markdownFailures(&b)
	s.markdownSkips(&b)
	var table strings.Builder
	_ = report.WriteMarkdown(&table, gate) // a Builder takes everything
	b.add("### Coverage\n\n" + table.String())
	return b.String()
}

func (s Summary) markdownFailures(b *bounded) {
	left := 0
	for _, m := range s.Modules {
		for _, f := range m.Failures {
			if !b.add(f.markdown()) {
				left++
			}
		}
	}
	if left > 0 {
		b.force(fmt.Sprintf("%d more of the failures did not fit; junit.xml has them.\n\n", left))
	}
}

func (s Summary) markdownSkips(b *bounded) {
	_, _, skipped := s.totals()
	if skipped == 0 {
		return
	}
	left := 0
	b.force(fmt.Sprintf("<details><summary>%s skipped</summary>\n\n", count(skipped, "test")))
	for _, m := range s.Modules {
		for _, skip := range m.Skips {
			if !b.add(fmt.Sprintf("- %s<code>%s</code>: %s\n", located(skip.File, skip.Line), html.EscapeString(skip.Test), html.EscapeString(skip.Reason))) {
				left++
			}
		}
	}
	if left > 0 {
		b.force(fmt.Sprintf("- %d more did not fit; junit.xml has them.\n", left))
	}
	b.force("\n</details>\n\n")
}

// markdown is the failure as a closed block with the last lines of its output.
func (f Failure) markdown() string {
	output := f.body()
	if len(output) > maxMarkdownOutput {
		output = output[len(output)-maxMarkdownOutput:]
		_, output, _ = strings.Cut(output, "\n")
		output = "...\n" + strings.ToValidUTF8(output, "")
	}
	fence := fenceFor(output)
	return fmt.Sprintf("<details><summary>%s<b>%s</b><br>%s</summary>\n\n%s\n%s\n%s\n\n</details>\n\n",
		html.EscapeString(located(f.File, f.Line)), html.EscapeString(f.subject()), html.EscapeString(firstBytes(f.Message, 300)),
		fence, output, fence)
}

// fenceFor returns a fence longer than any run of backticks in text.
func fenceFor(text string) string {
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence
}

func firstBytes(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + "..."
}

// bounded collects parts up to a limit.
type bounded struct {
	strings.Builder
	limit int
}

// add writes part if it fits.
func (b *bounded) add(part string) bool {
	if b.Len()+len(part) > b.limit {
		return false
	}
	b.WriteString(part)
	return true
}

// force writes a short part that must not be missing.
func (b *bounded) force(part string) { b.WriteString(part) }
