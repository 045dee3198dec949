package report

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Logs are lines of containers' logs, by time: `logs` returns them.
type Logs struct {
	Lines []LogLine `json:"lines"`
	// Notes are what is missing.
	Notes []string `json:"notes,omitempty"`
}

// LogLine is a line of a container's log.
type LogLine struct {
	At        time.Time `json:"at"`
	Service   string    `json:"service"`
	Container string    `json:"container"`
	Task      string    `json:"task"` // id
	Text      string    `json:"text"`
	// Main is set for the main container.
	Main bool `json:"-"`
}

// String returns the line with a short prefix, printable.
func (l LogLine) String() string {
	prefix := l.Service
	if !l.Main {
		prefix += "/" + l.Container
	}
	return Printable(fmt.Sprintf("%s/%s  %s", prefix, l.Task[:min(8, len(l.Task))], l.Text))
}

// JSON writes the logs as one indented JSON document.
func (l Logs) JSON(w io.Writer) error {
	l.Lines = orEmpty(l.Lines)
	return WriteJSON(w, l)
}

// Text writes the lines.
func (l Logs) Text(w io.Writer) error {
	_, err := io.WriteString(w, joinLines(l.printable()))
	return err
}

// printable returns the lines as they are printed.
func (l Logs) printable() []string {
	lines := make([]string, len(l.Lines))
	for n, line := range l.Lines {
		lines[n] = line.String()
	}
	return lines
}

// joinLines returns the lines, each with a newline.
func joinLines(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(line + "\n")
	}
	return b.String()
}

// Markdown writes the last lines that fit.
func (l Logs) Markdown(w io.Writer) error {
	p := NewPage(MarkdownLimit)
	p.Force("## Logs\n")
	for _, note := range l.Notes {
		p.Add(fmt.Sprintf("\nNote: %s.\n", Inline(Shorten(note, 1000))))
	}
	lines := l.printable()
	first := firstOfLast(lines, MarkdownLimit-10_000)
	if first > 0 {
		p.Force(fmt.Sprintf("\n%d lines before these are omitted.\n", first))
	}
	text := joinLines(lines[first:])
	fence := Fence(text)
	p.Force(fmt.Sprintf("\n%stext\n%s%s\n", fence, text, fence))
	return WriteMarkdown(w, p.String())
}
