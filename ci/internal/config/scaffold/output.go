package scaffold

import (
	"fmt"
	"io"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// nextSteps is printed after a service was added.
const nextSteps = `Try it: slipway test, slipway lint, slipway rehearse. Then commit, plan and apply
the platform, and deploy: the first release brings the image and starts the tasks.`

// JSON writes the result as one JSON document.
func (a Added) JSON(w io.Writer) error { return report.WriteJSON(w, a) }

// traffic describes the port and the routes of a service; "" for a worker.
func traffic(s platform.Service, before, between, after string) string {
	if !s.IsWeb() {
		return ""
	}
	return fmt.Sprintf(", on port %d, %s%s%s", s.Port, before, strings.Join(s.Routes, between), after)
}

// Text writes the result for a terminal.
func (a Added) Text(w io.Writer) error {
	var b strings.Builder
	s := a.Entry
	fmt.Fprintf(&b, "service %s of kind %s%s\n", s.Name, s.Kind, traffic(s, "for ", " ", ""))
	for _, name := range a.Changed {
		fmt.Fprintf(&b, "  changed  %s\n", name)
	}
	for _, name := range a.Files {
		fmt.Fprintf(&b, "  new      %s\n", name)
	}
	b.WriteString(nextSteps + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// Markdown writes the result as Markdown.
func (a Added) Markdown(w io.Writer) error {
	var b strings.Builder
	s := a.Entry
	fmt.Fprintf(&b, "Service **%s** of kind %s%s.\n\n| file | |\n|---|---|\n", s.Name, s.Kind, traffic(s, "for `", "`, `", "`"))
	for _, name := range a.Changed {
		fmt.Fprintf(&b, "| %s | changed |\n", name)
	}
	for _, name := range a.Files {
		fmt.Fprintf(&b, "| %s | new |\n", name)
	}
	b.WriteString("\n" + nextSteps + "\n")
	return report.WriteMarkdown(w, b.String())
}
