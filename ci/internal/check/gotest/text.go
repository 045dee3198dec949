package gotest

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// String returns the summary for a terminal: every failure with its location and output,
// every skipped test with its reason, a line for each module, and last the line "N passed,
// N failed, N skipped".
func (s Summary) String() string {
	var b strings.Builder
	for _, m := range s.Modules {
		for _, f := range m.Failures {
			fmt.Fprintf(&b, "FAIL %s%s\n%s\n", located(f.File, f.Line), f.subject(), indent(f.body()))
		}
	}
	for _, m := range s.Modules {
		for _, skip := range m.Skips {
			fmt.Fprintf(&b, "SKIP %s%s (%s): %s\n", located(skip.File, skip.Line), skip.Test, skip.Package, skip.Reason)
		}
		if len(m.Skips) > 0 {
			b.WriteString("\n")
		}
	}
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, m := range s.Modules {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", m.Path, m.Result, count(m.Tests, "test"), m.coverageText())
	}
	_ = table.Flush() // a Builder takes everything
	passed, failed, skipped := s.totals()
	fmt.Fprintf(&b, "\n%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	return b.String()
}

// body returns the failure's output, preceded by its message unless the output contains
// it.
func (f Failure) body() string {
	output := strings.Trim(f.Output, "\n")
	switch {
	case output == "":
		return f.Message
	case strings.Contains(output, f.Message) || f.Message == "data race":
		return output
	default:
		return f.Message + "\n" + output
	}
}

func (m Module) coverageText() string {
	switch {
	case m.Statements == 0:
		return "no statements to cover"
	case !m.CoverageMet:
		return fmt.Sprintf("coverage %s %% is too low: at least %s %%", tenths(m.Coverage), percent(m.MinCoverage))
	case m.MinCoverage > 0:
		return fmt.Sprintf("coverage %s %%, at least %s %%", tenths(m.Coverage), percent(m.MinCoverage))
	default:
		return fmt.Sprintf("coverage %s %%", tenths(m.Coverage))
	}
}

// subject returns the name of the failed test or package.
func (f Failure) subject() string {
	if f.Test == "" {
		return f.Package
	}
	return f.Test + " (" + f.Package + ")"
}

// tenths formats a percentage with one decimal, rounded down.
func tenths(percent float64) string {
	hundredths := int(math.Round(percent * 100))
	return fmt.Sprintf("%d.%d", hundredths/100, hundredths%100/10)
}

func percent(p float64) string { return strconv.FormatFloat(p, 'f', -1, 64) }

func located(file string, line int) string {
	if file == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d ", file, line)
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) != "" {
			b.WriteString("    ")
		}
		b.WriteString(line)
	}
	if !strings.HasSuffix(text, "\n") {
		b.WriteString("\n")
	}
	return b.String()
}

func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
