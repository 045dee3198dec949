package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Task is a standalone task.
type Task struct {
	Service string `json:"service"`
	// Task is the ARN, empty if no task was started.
	Task   string `json:"task"`
	Result Result `json:"result"`
	// ExitCode is the exit code of the container, null if it did not start.
	ExitCode   *int32 `json:"exit_code" jsonschema:"nullable"`
	DurationMS int64  `json:"duration_ms"`
}

// headline returns the task in one line.
func (t Task) headline() string {
	line := string(t.Result)
	if t.ExitCode != nil {
		line += fmt.Sprintf(" (exit code %d)", *t.ExitCode)
	}
	return line + " in " + millis(t.DurationMS)
}

// Run is the report of a standalone task: `run` returns it.
type Run struct {
	Result Result `json:"result"`
	// Environment is the name of the environment, if the source tree has several.
	Environment string `json:"environment,omitempty"`
	// TaskDefinition is the ARN of the revision.
	TaskDefinition string `json:"task_definition"`
	Container      string `json:"container"`
	// Task has the exit code of the container.
	Task   Task    `json:"task"`
	Causes []Cause `json:"causes"`
	Events []Event `json:"events"`

	// ExitCode is the exit code of the command.
	ExitCode outcome.Code `json:"exit_code"`
	// Error is why the task failed, in one line.
	Error string `json:"error,omitempty"`
}

// Normalize replaces nil lists by empty ones.
func (r Run) Normalize() Run {
	r.Causes, r.Events = orEmpty(r.Causes), orEmpty(r.Events)
	for i := range r.Causes {
		r.Causes[i].LogTail = orEmpty(r.Causes[i].LogTail)
	}
	return r
}

// JSON writes the report as one indented JSON document.
func (r Run) JSON(w io.Writer) error { return WriteJSON(w, r.Normalize()) }

// Text writes the report for a terminal. The task's output has been written before.
func (r Run) Text(w io.Writer) error {
	var b strings.Builder
	b.WriteString(suffixed(r.Environment, ": "))
	if r.Task.Task == "" {
		fmt.Fprintf(&b, "%s: no task was started\n", r.Task.Service)
	} else {
		fmt.Fprintf(&b, "%s: task %s of %s: %s\n", r.Task.Service, lastSegment(r.Task.Task), lastSegment(r.TaskDefinition), r.Task.headline())
	}
	if r.Error != "" {
		fmt.Fprintf(&b, "  %s\n", r.Error)
	}
	for _, cause := range r.Causes {
		cause.LogTail = nil // written already
		cause.text(&b)
	}
	_, err := io.WriteString(w, Printable(b.String()))
	return err
}

// Markdown writes the report for a job summary.
func (r Run) Markdown(w io.Writer) error {
	p := NewPage(MarkdownLimit)
	p.Force(fmt.Sprintf("## Task of %s%s: %s\n\n", Inline(r.Task.Service), prefixed(" in ", Inline(r.Environment)), r.Result))
	if r.Error != "" {
		p.Force("> " + Inline(Shorten(r.Error, errorShare)) + "\n\n")
	}
	p.Force("| service | task | task definition | result |\n|---|---|---|---|\n")
	p.Force(fmt.Sprintf("| %s | %s | %s | %s |\n", Inline(r.Task.Service), codeSpan(lastSegment(r.Task.Task)), codeSpan(lastSegment(r.TaskDefinition)), Inline(r.Task.headline())))
	for _, cause := range r.Causes {
		p.Add(cause.markdown(r.Task.Service))
	}
	return WriteMarkdown(w, p.String())
}
