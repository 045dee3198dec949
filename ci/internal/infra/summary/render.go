package summary

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Display limits of a resource.
const (
	maxValueLength = 160 // characters of a value
	maxAttributes  = 40  // attributes of a resource
)

// verbs are the names of actions in headings and counts, and their signs, which
// GitHub colours in a diff.
var verbs = map[Action]struct{ done, sign string }{
	Destroy: {"destroyed", "-"}, Replace: {"replaced", "-"}, Update: {"updated", "!"}, Create: {"created", "+"},
	Forget: {"removed from the state (not destroyed)", "-"}, Import: {"imported", "+"}, Move: {"moved", "!"}, Read: {"read", "!"},
}

// Headline returns the plan in one line.
func (s Summary) Headline() string {
	if s.Environment != "" {
		return s.Environment + ": " + s.headline()
	}
	return s.headline()
}

func (s Summary) headline() string {
	head, nothing := "Plan: ", "No changes: the infrastructure matches the configuration."
	if len(s.Partial) > 0 {
		head = fmt.Sprintf("Partial plan (%s): ", clip(strings.Join(s.Partial, ", "), maxValueLength))
		nothing = head + "no changes in the planned part."
	}
	if s.RefreshOnly {
		switch {
		case len(s.Drift) == 0 && len(s.Partial) > 0:
			return head + "no drift in the planned part."
		case len(s.Drift) == 0:
			return "No drift: the infrastructure matches the state."
		case len(s.Partial) > 0:
			return head + outcome.Count(len(s.Drift), "resource") + " changed outside of Terraform."
		}
		return fmt.Sprintf("Drift: %s changed outside of Terraform.", outcome.Count(len(s.Drift), "resource"))
	}
	var parts []string
	for _, a := range order {
		if n := s.Counts[a]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, verbs[a].done))
		}
	}
	if n := len(s.Outputs); n > 0 {
		parts = append(parts, outcome.Count(n, "output")+" changed")
	}
	if len(parts) == 0 {
		return nothing
	}
	return head + strings.Join(parts, ", ") + "."
}

// Text writes the summary for a terminal.
func (s Summary) Text(w io.Writer) error {
	var b strings.Builder
	b.WriteString(s.Headline() + "\n")
	for _, r := range s.Resources {
		b.WriteString("\n" + r.title() + "\n" + r.lines("  "))
	}
	if len(s.Outputs) > 0 {
		b.WriteString("\nOutputs:\n")
		for _, o := range s.Outputs {
			b.WriteString("  " + o.line() + "\n")
		}
	}
	if len(s.Drift) > 0 {
		b.WriteString("\nChanged outside of Terraform:\n")
		for _, r := range s.Drift {
			b.WriteString("\n" + r.title() + "\n" + r.lines("  "))
		}
	}
	for _, check := range s.Checks {
		b.WriteString("\ncheck failed: " + check + "\n")
	}
	for _, warning := range s.Warnings {
		b.WriteString("\nwarning: " + warning + "\n")
	}
	if len(s.Deferred) > 0 {
		b.WriteString("\ndeferred to a later plan: " + strings.Join(s.Deferred, ", ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// JSON writes the summary as one indented document.
func (s Summary) JSON(w io.Writer) error { return report.WriteJSON(w, s) }

// Markdown writes the summary for a pull request or a job, at most
// [report.MarkdownLimit] bytes: a longer one omits the details of resources, the
// last ones first.
func (s Summary) Markdown(w io.Writer) error {
	_, err := io.WriteString(w, s.MarkdownWithin(report.MarkdownLimit))
	return err
}

// MarkdownWithin returns the summary in at most limit bytes; see [Summary.Markdown].
func (s Summary) MarkdownWithin(limit int) string {
	var b strings.Builder
	b.WriteString("### " + s.Headline() + "\n\n")
	b.WriteString(s.counts())
	b.WriteString(s.losses())
	for _, check := range s.Checks {
		b.WriteString("> [!WARNING]\n> check failed: " + escapeHTML.Replace(clip(check, 400)) + "\n\n")
	}
	b.WriteString(s.warnings())
	tail := s.outputs() + s.deferred()
	if len(tail) > limit/4 {
		tail = fmt.Sprintf("%s changed: see plan.json.\n", outcome.Count(len(s.Outputs), "output"))
	}
	b.WriteString(section("Changes", s.Resources, limit*3/4-b.Len()))
	b.WriteString(tail)
	b.WriteString(section("Changed outside of Terraform", s.Drift, limit-b.Len()-200))
	return b.String()
}

// counts returns the table of actions.
func (s Summary) counts() string {
	var head, line, row []string
	for _, a := range order {
		if n := s.Counts[a]; n > 0 {
			head = append(head, string(a))
			line = append(line, "---:")
			row = append(row, fmt.Sprint(n))
		}
	}
	if len(head) == 0 {
		return ""
	}
	return fmt.Sprintf("| %s |\n|%s|\n| %s |\n\n", strings.Join(head, " | "), strings.Join(line, "|"), strings.Join(row, " | "))
}

// losses returns a warning about protected resources that are destroyed.
func (s Summary) losses() string {
	var lost []string
	for _, r := range s.Resources {
		if r.Loss != "" {
			lost = append(lost, fmt.Sprintf("> - %s: %s", codeSpan(r.Address), r.Loss))
		}
	}
	if len(lost) == 0 {
		return ""
	}
	const most = 30
	if more := len(lost) - most; more > 0 {
		lost = append(lost[:most], fmt.Sprintf("> - and %d more", more))
	}
	return "> [!CAUTION]\n> This destroys resources that cannot be recreated without loss. It is refused unless each is allowed with `--allow-destroy`:\n" + strings.Join(lost, "\n") + "\n\n"
}

// warnings returns Terraform's warnings, up to a limit.
func (s Summary) warnings() string {
	if len(s.Warnings) == 0 {
		return ""
	}
	const most = 20
	var b strings.Builder
	b.WriteString("> [!WARNING]\n")
	for i, warning := range s.Warnings {
		if i == most {
			fmt.Fprintf(&b, "> - and %d more\n", len(s.Warnings)-most)
			break
		}
		b.WriteString("> - " + escapeHTML.Replace(clip(warning, 400)) + "\n")
	}
	return b.String() + "\n"
}

// section returns a heading and a block for each resource within budget bytes, then
// lines without details, then a count.
func section(title string, resources []Resource, budget int) string {
	if len(resources) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("#### " + title + "\n\n")
	left := len(resources)
	for _, r := range resources {
		if block := r.block(); b.Len()+len(block) < budget*3/4 {
			b.WriteString(block)
			left--
			continue
		}
		break
	}
	if left == 0 {
		return b.String()
	}
	b.WriteString("\nWithout their details, which are in plan.json:\n\n")
	for _, r := range resources[len(resources)-left:] {
		line := "- " + string(r.Action) + " " + codeSpan(r.Address) + "\n"
		if b.Len()+len(line) > budget {
			fmt.Fprintf(&b, "- and %d more\n", left)
			break
		}
		b.WriteString(line)
		left--
	}
	b.WriteString("\n")
	return b.String()
}

// block returns a resource in Markdown.
func (r Resource) block() string {
	lines := r.lines("")
	title := fmt.Sprintf("<b>%s</b> <code>%s</code>%s", r.Action, escapeHTML.Replace(r.Address), escapeHTML.Replace(r.details()))
	if lines == "" {
		return title + "\n\n"
	}
	open := ""
	if r.Action == Destroy || r.Action == Replace {
		open = " open"
	}
	fence := report.Fence(lines)
	return fmt.Sprintf("<details%s><summary>%s</summary>\n\n%sdiff\n%s%s\n</details>\n\n", open, title, fence, lines, fence)
}

func (r Resource) title() string { return string(r.Action) + " " + r.Address + r.details() }

// details returns the reason, move, import and loss of a resource.
func (r Resource) details() string {
	var b strings.Builder
	if r.Reason != "" {
		b.WriteString(": " + r.Reason)
	}
	if r.PreviousAddress != "" {
		b.WriteString(", moved from " + r.PreviousAddress)
	}
	if r.ID != "" {
		b.WriteString(", imported: " + r.ID)
	}
	if r.Loss != "" {
		b.WriteString(" (lost: " + r.Loss + ")")
	}
	return b.String()
}

// lines returns the changed values, one per line.
func (r Resource) lines(indent string) string {
	var b strings.Builder
	for i, a := range r.Attributes {
		if i == maxAttributes {
			fmt.Fprintf(&b, "%s… and %d more\n", indent, len(r.Attributes)-i)
			break
		}
		b.WriteString(indent + a.line(r.Action) + "\n")
	}
	if r.Recomputed > 0 {
		fmt.Fprintf(&b, "%s… and %d known after apply\n", indent, r.Recomputed)
	}
	return b.String()
}

func (a Attribute) line(action Action) string {
	var line string
	switch {
	case action == Create || action == Read:
		return "+ " + a.Path + " = " + clippedValue(a.After)
	case a.Unknown && a.Before == nil:
		line = "+ " + a.Path + " = (known after apply)"
	case a.Unknown:
		line = "! " + a.Path + ": " + clippedValue(a.Before) + " -> (known after apply)"
	case a.Before == nil:
		line = "+ " + a.Path + " = " + clippedValue(a.After)
	case a.After == nil:
		line = "- " + a.Path + " = " + clippedValue(a.Before)
	default:
		before, after := clipDifference(value(a.Before), value(a.After))
		line = "! " + a.Path + ": " + before + " -> " + after
	}
	if a.Forces {
		line += "  # forces replacement"
	}
	return line
}

func (o Output) line() string {
	a := Attribute{Path: o.Name, Before: o.Before, After: o.After, Unknown: o.Unknown}
	return a.line(Update)
}

// outputs returns the outputs in Markdown.
func (s Summary) outputs() string {
	if len(s.Outputs) == 0 {
		return ""
	}
	var lines strings.Builder
	for _, o := range s.Outputs {
		lines.WriteString(o.line() + "\n")
	}
	fence := report.Fence(lines.String())
	return "#### Outputs\n\n" + fence + "diff\n" + lines.String() + fence + "\n\n"
}

func (s Summary) deferred() string {
	if len(s.Deferred) == 0 {
		return ""
	}
	coded := make([]string, len(s.Deferred))
	for i, address := range s.Deferred {
		coded[i] = codeSpan(address)
	}
	return "Deferred to a later plan: " + strings.Join(coded, ", ") + "\n\n"
}

// escapeHTML escapes text for HTML.
var escapeHTML = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// value formats a value on one line, as JSON.
func value(v any) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if text, ok := v.(string); ok && strings.HasPrefix(text, "(sensitive value") {
		return text
	}
	if err := encoder.Encode(v); err != nil {
		return "(unreadable)"
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// clippedValue formats a value, clipped to one line's length.
func clippedValue(v any) string { return clip(value(v), maxValueLength) }

// clipDifference clips two values so that the difference is visible.
func clipDifference(before, after string) (clippedBefore, clippedAfter string) {
	if utf8.RuneCountInString(before) <= maxValueLength && utf8.RuneCountInString(after) <= maxValueLength {
		return before, after
	}
	left, right := []rune(before), []rune(after)
	same := 0
	for same < min(len(left), len(right)) && left[same] == right[same] {
		same++
	}
	if from := same - 20; from > 0 {
		before, after = "…"+string(left[from:]), "…"+string(right[from:])
	}
	return clip(before, maxValueLength), clip(after, maxValueLength)
}

// clip shortens a text to at most n characters.
func clip(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n]) + "…"
}

// codeSpan returns a code span that text cannot close.
func codeSpan(text string) string {
	if !slices.Contains([]byte(text), '`') {
		return "`" + text + "`"
	}
	return "<code>" + escapeHTML.Replace(text) + "</code>"
}
