package report

import (
	"fmt"
	"io"
	"strings"
)

// Diff is what a release would change, or how two environments differ: `diff` returns it.
type Diff struct {
	// SHA is the commit of the release; empty for two environments.
	SHA string `json:"sha"`
	// Environment is the name of the environment, if the source tree has several.
	Environment string `json:"environment,omitempty"`
	// With is the name of the environment to compare with; empty for a release.
	With     string        `json:"with,omitempty"`
	Changed  bool          `json:"changed"`
	Services []ServiceDiff `json:"services"`
}

// ServiceDiff is what a release would change in a service.
type ServiceDiff struct {
	Name    string  `json:"name"`
	Changed bool    `json:"changed"`
	From    Version `json:"from"`
	To      Version `json:"to"`
	// Strategy is the deployment strategy that the service has, unless it is ROLLING; Shift
	// is nil for a service that is only rolled.
	Strategy string   `json:"strategy,omitempty"`
	Shift    *Shift   `json:"shift,omitempty"`
	Changes  []Change `json:"changes"`
}

// Change is a changed field of a task definition or of the deployment strategy. An absent
// value is "".
type Change struct {
	Path string `json:"path"` // such as "containers.backend.image" or "strategy.type"
	From string `json:"from"`
	To   string `json:"to"`
}

// JSON writes the diff as one indented JSON document.
func (d Diff) JSON(w io.Writer) error {
	d.Services = orEmpty(d.Services)
	for i := range d.Services {
		d.Services[i].Changes = orEmpty(d.Services[i].Changes)
	}
	return WriteJSON(w, d)
}

// Text writes the diff for a terminal.
func (d Diff) Text(w io.Writer) error {
	var b strings.Builder
	unchanged := "unchanged"
	if d.With == "" {
		b.WriteString(environmentLine(d.Environment))
	} else {
		fmt.Fprintf(&b, "%s -> %s\n", d.Environment, d.With)
		unchanged = "equal"
	}
	for _, s := range d.Services {
		if shift := s.Shift.text(s.Strategy, "; "); shift != "" {
			fmt.Fprintf(&b, "%s: %s\n", s.Name, shift)
		}
		if !s.Changed {
			fmt.Fprintf(&b, "%s: %s (%s)\n", s.Name, unchanged, s.From.Short())
			continue
		}
		fmt.Fprintf(&b, "%s: %s -> %s\n", s.Name, s.From.Short(), s.To.Short())
		for _, c := range s.Changes {
			switch {
			case c.From == "":
				fmt.Fprintf(&b, "  + %s: %s\n", c.Path, c.To)
			case c.To == "":
				fmt.Fprintf(&b, "  - %s: %s\n", c.Path, c.From)
			default:
				fmt.Fprintf(&b, "  ~ %s: %s -> %s\n", c.Path, c.From, c.To)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Markdown writes the diff for a pull request.
func (d Diff) Markdown(w io.Writer) error {
	var b strings.Builder
	from, to := "from", "to"
	if d.With == "" {
		fmt.Fprintf(&b, "## What a deploy of `%s` changes%s\n\n", shortSHA(d.SHA), prefixed(" in ", Inline(d.Environment)))
	} else {
		from, to = Inline(d.Environment), Inline(d.With)
		fmt.Fprintf(&b, "## What differs between %s and %s\n\n", from, to)
	}
	if !d.Changed {
		b.WriteString("Nothing.\n")
	}
	for _, s := range d.Services {
		if !s.Changed {
			continue
		}
		if shift := s.Shift.text(s.Strategy, "; "); shift != "" {
			fmt.Fprintf(&b, "%s: %s\n\n", Inline(s.Name), Inline(shift))
		}
		fmt.Fprintf(&b, "**%s**: `%s` → `%s`\n\n| field | %s | %s |\n|---|---|---|\n", s.Name, s.From.Short(), s.To.Short(), from, to)
		for _, c := range s.Changes {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", cell(c.Path), cell(c.From), cell(c.To))
		}
		b.WriteString("\n")
	}
	return WriteMarkdown(w, b.String())
}

// cell formats text as a code span in a Markdown table.
func cell(text string) string {
	if text == "" {
		return ""
	}
	return "`" + strings.NewReplacer("|", "\\|", "\n", " ", "`", "'").Replace(text) + "`"
}
