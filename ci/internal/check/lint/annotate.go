package lint

import (
	"fmt"
	"io"
	"strings"
)

// Annotate writes the findings and failed checks as workflow commands, which GitHub shows
// beside the code:
// https://docs.github.com/actions/reference/workflow-commands-for-github-actions.
// GitHub shows ten errors of a step; the report has all.
func (r Report) Annotate(w io.Writer) error {
	var b strings.Builder
	for _, f := range r.Findings {
		var properties []string
		if f.File != "" {
			properties = append(properties, "file="+escapeProperty.Replace(f.File))
		}
		if f.Line > 0 {
			properties = append(properties, fmt.Sprintf("line=%d", f.Line))
		}
		if f.Column > 0 {
			properties = append(properties, fmt.Sprintf("col=%d", f.Column))
		}
		properties = append(properties, "title="+escapeProperty.Replace(f.Tool+"/"+f.Rule))
		fmt.Fprintf(&b, "::error %s::%s\n", strings.Join(properties, ","), escapeMessage.Replace(f.Text))
	}
	for _, c := range r.Checks {
		switch {
		case c.Result == CheckFailed || (c.Result == Skipped && r.Strict):
			fmt.Fprintf(&b, "::error title=%s::%s\n", escapeProperty.Replace(c.Name), escapeMessage.Replace(c.String()))
		case c.Result == Skipped:
			fmt.Fprintf(&b, "::warning title=%s::%s\n", escapeProperty.Replace(c.Name), escapeMessage.Replace(c.String()))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Escaping of messages and properties in workflow commands.
var (
	escapeMessage  = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	escapeProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)
