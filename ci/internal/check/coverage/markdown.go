package coverage

import (
	"fmt"
	"io"
	"strings"
)

// WriteMarkdown writes a table of modules and packages with their coverage and minimum.
func (r Report) WriteMarkdown(w io.Writer, gate Gate) error {
	var b strings.Builder
	b.WriteString("| Module, package | Coverage | Minimum | Statements |\n|:--|--:|--:|--:|\n")
	for _, m := range r.Modules {
		total := m.Totals()
		minimum := gate.For(m.Dir)
		share := "**" + total.String() + "**"
		if !total.Meets(minimum) {
			share += " (too low)"
		}
		fmt.Fprintf(&b, "| **%s** | %s | %s %% | %d |\n", m.Dir, share, formatPercent(minimum), total.Statements)
		for _, p := range m.Packages {
			total := p.Totals()
			fmt.Fprintf(&b, "| `%s` | %s | | %d |\n", p.Dir, total, total.Statements)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// String returns the coverage with one decimal, rounded down, such as "97.3 %".
func (t Totals) String() string {
	if t.Statements == 0 {
		return "no statements"
	}
	tenths := t.Covered * 1000 / t.Statements
	return fmt.Sprintf("%d.%d %%", tenths/10, tenths%10)
}
