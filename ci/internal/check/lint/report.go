package lint

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Result is the result of the stage or of a check.
type Result string

// The results of the stage (the first two) and of a check (the others).
const (
	Succeeded Result = "succeeded"
	Failed    Result = "failed"

	Clean         Result = "clean"    // the tool found nothing
	HasFindings   Result = "findings" // the tool found something
	Skipped       Result = "skipped"  // the tool is missing
	CheckFailed   Result = "failed"   // the tool failed
	NotApplicable Result = "nothing"  // there is nothing to look at
)

// Report is the result of the stage. Its JSON is part of the interface.
type Report struct {
	Result Result `json:"result"`
	// Strict is set if a skipped check counts as failed.
	Strict bool `json:"strict"`
	// Findings are sorted by file, line and tool.
	Findings   []Finding     `json:"findings"`
	Checks     []CheckResult `json:"checks"`
	DurationMS int64         `json:"duration_ms"`
}

// CheckResult is the result of a check.
type CheckResult struct {
	Kind   Kind   `json:"kind"`
	Name   string `json:"name"`
	Result Result `json:"result"`
	// Reason is why the check was skipped, failed or did not apply.
	Reason     string `json:"reason,omitempty"`
	Findings   int    `json:"findings"`
	DurationMS int64  `json:"duration_ms"`
}

// String returns the result on one line.
func (c CheckResult) String() string {
	took := (time.Duration(c.DurationMS) * time.Millisecond).Round(100 * time.Millisecond)
	switch c.Result {
	case Clean:
		return fmt.Sprintf("%s: clean, in %s", c.Name, took)
	case HasFindings:
		return fmt.Sprintf("%s: %s, in %s", c.Name, outcome.Count(c.Findings, "finding"), took)
	case NotApplicable:
		return fmt.Sprintf("%s: nothing to do: %s", c.Name, c.Reason)
	}
	return fmt.Sprintf("%s: %s: %s", c.Name, c.Result, c.Reason)
}

// Text writes a line for each finding, which terminals and editors turn into a link, with
// the fix below it, and then the checks that were skipped, failed or did not apply.
func (r Report) Text(w io.Writer) error {
	var b strings.Builder
	for _, f := range r.Findings {
		b.WriteString(f.String() + "\n")
		for line := range strings.Lines(f.Fix) {
			fmt.Fprintf(&b, "    %s\n", strings.TrimRight(line, "\n"))
		}
	}
	if len(r.Findings) > 0 {
		b.WriteString("\n")
	}
	for _, c := range r.Checks {
		if c.Result != Clean && c.Result != HasFindings {
			b.WriteString(c.String() + "\n")
		}
	}
	b.WriteString(r.summary() + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// Markdown writes the report for a job summary or a pull request.
func (r Report) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "### Lint %s: %s\n\n", r.Result, r.summary())
	if len(r.Findings) > 0 {
		b.WriteString("| where | what | rule |\n|---|---|---|\n")
		for _, f := range r.Findings {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", "<code>"+cell(f.Location())+"</code>", cell(f.Text), cell(f.Tool+"/"+f.Rule))
		}
		b.WriteString("\n")
	}
	b.WriteString("| check | result | |\n|---|---|---|\n")
	for _, c := range r.Checks {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", cell(c.Name), c.Result, cell(c.Reason))
	}
	return report.WriteMarkdown(w, b.String())
}

func (r Report) summary() string {
	counts := map[Result]int{}
	for _, c := range r.Checks {
		counts[c.Result]++
	}
	checked := outcome.Count(counts[Clean]+counts[HasFindings], "check")
	parts := []string{"nothing found in " + checked}
	if n := len(r.Findings); n > 0 {
		parts[0] = outcome.Count(n, "finding") + " in " + checked
	}
	if n := counts[CheckFailed]; n > 0 {
		parts = append(parts, outcome.Count(n, "check")+" failed")
	}
	if n := counts[Skipped]; n > 0 {
		part := outcome.Count(n, "check") + " skipped"
		if r.Strict {
			part += ", which counts as failed"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}

// cell formats text for a cell of a Markdown table.
func cell(text string) string { return report.Inline(outcome.OneLine(text)) }
