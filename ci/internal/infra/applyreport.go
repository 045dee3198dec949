package infra

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/infra/summary"
	"github.com/slipway-cd/slipway/ci/internal/infra/terraform"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// Result is the result of a stage.
type Result string

// The results.
const (
	Succeeded   Result = "succeeded"
	Failed      Result = "failed"
	Refused     Result = "refused"
	Interrupted Result = "interrupted"
)

// ApplyReport is the result of applying a plan.
type ApplyReport struct {
	Result Result `json:"result"`
	// Environment is the name of the environment, if the source tree has several.
	Environment string `json:"environment,omitempty"`
	// Applied are the completed changes; Failed those that Terraform could not
	// make; Unfinished those that were in progress when it ended; NotReached those
	// that it did not start.
	Applied    []Change `json:"applied"`
	Failed     []Change `json:"failed"`
	Unfinished []Change `json:"unfinished"`
	NotReached []Change `json:"not_reached"`
	// Refreshed are the resources in which AWS has set attributes because Terraform changed
	// others. The state has these attributes as well.
	Refreshed []Change `json:"refreshed,omitempty"`
	// Errors are Terraform's errors, one line each.
	Errors []string `json:"errors"`
	// Warnings are Terraform's warnings, and why the state lacks what AWS has set.
	Warnings []string          `json:"warnings"`
	Outputs  terraform.Outputs `json:"outputs"`
	// Next is the next step.
	Next string `json:"next,omitempty"`

	completed bool // Terraform reported it
}

// to names the environment for a heading.
func (a ApplyReport) to() string {
	if a.Environment == "" {
		return ""
	}
	return " to " + a.Environment
}

// Change is a change to one resource.
type Change struct {
	Address string         `json:"address"`
	Action  summary.Action `json:"action"`
	// ID is the resource's ID, if Terraform reported it.
	ID string `json:"id,omitempty"`
	// Seconds is how long the change took.
	Seconds float64 `json:"seconds,omitempty"`
	Error   string  `json:"error,omitempty"`
}

// progress is the state of one resource's change.
type progress struct {
	started, errored bool
	done             map[string]bool // completed actions
	id               string
	seconds          float64
}

// newApplyReport derives the report from the messages of terraform apply.
func newApplyReport(s summary.Summary, messages []terraform.Message, dir string) ApplyReport {
	a := ApplyReport{
		Applied: []Change{}, Failed: []Change{}, Unfinished: []Change{}, NotReached: []Change{}, Errors: []string{}, Outputs: terraform.Outputs{},
	}
	progressByAddress := map[string]*progress{}
	reasons := map[string]string{}
	for _, m := range messages {
		switch m.Type {
		case terraform.TypeApplyStart, terraform.TypeApplyComplete, terraform.TypeApplyErrored:
			if m.Hook != nil {
				record(progressByAddress, m)
			}
		case terraform.TypeChangeSummary:
			a.completed = m.Changes != nil && m.Changes.Operation == "apply"
		case terraform.TypeOutputs:
			a.Outputs = m.Outputs
		}
	}
	for _, d := range terraform.Errors(messages) {
		a.Errors = append(a.Errors, d.Line(dir))
		if d.Address != "" && reasons[d.Address] == "" {
			reasons[d.Address] = d.Message()
		}
	}
	for _, r := range s.Resources {
		if r.Action == summary.Move || r.Action == summary.Import || r.Action == summary.Forget {
			continue // these change only the state, together with all others
		}
		a.addChange(r, progressByAddress[r.Address], reasons[r.Address])
	}
	return a
}

func record(progressByAddress map[string]*progress, m terraform.Message) {
	p := progressByAddress[m.Hook.Resource.Address]
	if p == nil {
		p = &progress{done: map[string]bool{}}
		progressByAddress[m.Hook.Resource.Address] = p
	}
	p.started = true
	switch m.Type {
	case terraform.TypeApplyComplete:
		p.done[m.Hook.Action] = true
		p.id = cmp.Or(m.Hook.IDValue, p.id)
		p.seconds += m.Hook.Elapsed
	case terraform.TypeApplyErrored:
		p.errored = true
		p.seconds += m.Hook.Elapsed
	}
}

// addChange adds a planned change to its group.
func (a *ApplyReport) addChange(r summary.Resource, p *progress, reason string) {
	c := Change{Address: r.Address, Action: r.Action}
	if p != nil {
		c.ID, c.Seconds = p.id, p.seconds
	}
	switch {
	case p == nil && reason != "":
		c.Error = reason
		a.Failed = append(a.Failed, c)
	case p != nil && p.errored:
		c.Error = cmp.Or(reason, "see the errors")
		a.Failed = append(a.Failed, c)
	case a.completed: // not every change has its own messages
		a.Applied = append(a.Applied, c)
	case p == nil:
		a.NotReached = append(a.NotReached, c)
	case p.finished(r.Action):
		a.Applied = append(a.Applied, c)
	case reason != "":
		c.Error = reason
		a.Failed = append(a.Failed, c)
	default:
		a.Unfinished = append(a.Unfinished, c)
	}
}

// finished reports whether all parts of an action are complete.
func (p progress) finished(action summary.Action) bool {
	if action == summary.Replace {
		return p.done["delete"] && p.done["create"]
	}
	return len(p.done) > 0
}

// started reports whether the infrastructure may have changed.
func (a *ApplyReport) started() bool {
	return a.completed || len(a.Applied)+len(a.Failed)+len(a.Unfinished) > 0
}

func (a *ApplyReport) setNext(text string) {
	if a.Next == "" {
		a.Next = text
	}
}

// counts summarises the report in numbers.
func (a *ApplyReport) counts() string {
	text := fmt.Sprintf("%d applied, %d failed, %d not reached", len(a.Applied), len(a.Failed), len(a.NotReached))
	if n := len(a.Unfinished); n > 0 {
		text += fmt.Sprintf(", %d unfinished", n)
	}
	return text
}

// groups returns the changes by result, failures first.
func (a *ApplyReport) groups() []struct {
	title   string
	changes []Change
} {
	return []struct {
		title   string
		changes []Change
	}{
		{"Failed", a.Failed},
		{"Unfinished", a.Unfinished},
		{"Not reached", a.NotReached},
		{"Applied", a.Applied},
		{"Refreshed", a.Refreshed},
	}
}

// Text writes the report for a terminal.
func (a ApplyReport) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "apply%s %s: %s\n", a.to(), a.Result, a.counts())
	for _, group := range a.groups() {
		for _, c := range group.changes {
			fmt.Fprintf(&b, "  %-12s %-8s %s%s\n", strings.ToLower(group.title), c.Action, c.Address, c.details())
		}
	}
	if len(a.Outputs) > 0 {
		b.WriteString("\nOutputs:\n")
		for _, name := range slices.Sorted(maps.Keys(a.Outputs)) {
			fmt.Fprintf(&b, "  %s = %s\n", name, outputText(a.Outputs[name]))
		}
	}
	for _, warning := range a.Warnings {
		b.WriteString("\nwarning: " + warning + "\n")
	}
	if a.Next != "" {
		b.WriteString("\nNext: " + a.Next + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Markdown writes the report for a job summary.
func (a ApplyReport) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "### Apply%s %s: %s\n\n", a.to(), a.Result, a.counts())
	for _, group := range a.groups() {
		if len(group.changes) == 0 {
			continue
		}
		fmt.Fprintf(&b, "<details open><summary>%s (%d)</summary>\n\n", group.title, len(group.changes))
		for _, c := range group.changes {
			fmt.Fprintf(&b, "- %s <code>%s</code>%s\n", c.Action, report.Inline(c.Address), report.Inline(c.details()))
		}
		b.WriteString("\n</details>\n\n")
	}
	if len(a.Outputs) > 0 {
		b.WriteString("| output | value |\n|---|---|\n")
		for _, name := range slices.Sorted(maps.Keys(a.Outputs)) {
			fmt.Fprintf(&b, "| %s | <code>%s</code> |\n", name, report.Inline(outputText(a.Outputs[name])))
		}
		b.WriteString("\n")
	}
	for _, warning := range a.Warnings {
		b.WriteString("> [!WARNING]\n> " + report.Inline(warning) + "\n\n")
	}
	if a.Next != "" {
		b.WriteString("**Next**: " + report.Inline(a.Next) + "\n")
	}
	return report.WriteMarkdown(w, b.String())
}

// JSON writes the report as one document.
func (a ApplyReport) JSON(w io.Writer) error { return report.WriteJSON(w, a) }

func (c Change) details() string {
	var b strings.Builder
	if c.ID != "" {
		b.WriteString(" (" + c.ID + ")")
	}
	if c.Seconds > 0 {
		fmt.Fprintf(&b, " in %.0fs", c.Seconds)
	}
	if c.Error != "" {
		b.WriteString(": " + c.Error)
	}
	return b.String()
}

func outputText(o terraform.Output) string {
	if o.Sensitive || o.Value == nil {
		return "(sensitive value)"
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, o.Value); err != nil {
		return string(o.Value)
	}
	return compact.String()
}
