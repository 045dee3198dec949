package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// Document is the result of a command.
type Document interface {
	Text(io.Writer) error
	JSON(io.Writer) error
	Markdown(io.Writer) error
}

// JSON writes the report as one indented JSON document.
func (r Release) JSON(w io.Writer) error { return WriteJSON(w, r.Normalize()) }

// WriteJSON writes a document as indented JSON.
func WriteJSON(w io.Writer, document any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(document)
}

// Text writes the report for a terminal.
func (r Release) Text(w io.Writer) error {
	var b strings.Builder
	if r.Staging != nil {
		if err := r.Staging.Text(&b); err != nil {
			return err
		}
	}
	fmt.Fprintf(&b, "%s%s: %s in %s (exit code %d)\n", suffixed(r.Environment, ": "), shortSHA(r.SHA), r.Result, millis(r.DurationMS), r.ExitCode)
	if r.Error != "" {
		fmt.Fprintf(&b, "  %s\n", strings.ReplaceAll(r.Error, "\n", "\n  "))
	}
	if r.Pause != nil {
		fmt.Fprintf(&b, "  %s\n  continue: %s\n  abort: %s\n", r.Pause.text(), r.Pause.Continue, r.Pause.Abort)
	}
	if r.PromotedFrom != nil {
		fmt.Fprintf(&b, "  %s\n", r.PromotedFrom.text())
	}
	for _, image := range r.Images {
		fmt.Fprintf(&b, "  image of %s: %s\n", image.Service, image.text())
	}
	for _, s := range r.Services {
		fmt.Fprintf(&b, "  %-12s %-10s %s -> %s  %s\n", s.Name, s.Result, s.From.Short(), s.To.Short(), millis(s.DurationMS))
		if shift := s.shift(); shift != "" {
			fmt.Fprintf(&b, "    %s\n", shift)
		}
		if s.Error != "" {
			fmt.Fprintf(&b, "    %s\n", s.Error)
		}
		for _, cause := range s.Causes {
			cause.text(&b)
		}
	}
	for _, task := range r.Tasks {
		fmt.Fprintf(&b, "  release task of %s: %s\n", task.Service, task.headline())
	}
	if r.Traffic != nil {
		fmt.Fprintf(&b, "  requests during the release: %d served, %d failed\n", r.Traffic.Served, r.Traffic.Failed)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "  note: %s\n", note)
	}
	if r.URL != "" {
		fmt.Fprintf(&b, "  %s\n", r.URL)
	}
	if r.Next != "" && r.Pause == nil {
		fmt.Fprintf(&b, "  next: %s\n", r.Next)
	}
	_, err := io.WriteString(w, Printable(b.String()))
	return err
}

func (c Cause) text(b *strings.Builder) {
	fmt.Fprintf(b, "    %d × %s\n", c.Count, c.Headline())
	if c.Hint != "" {
		fmt.Fprintf(b, "      hint: %s\n", c.Hint)
	}
	for _, line := range c.LogTail {
		fmt.Fprintf(b, "      | %s\n", line)
	}
}

// Same reports whether two causes differ only by task.
func (c Cause) Same(other Cause) bool { return c.Headline() == other.Headline() }

// Headline returns the cause in one line.
func (c Cause) Headline() string {
	line := c.Reason
	if c.ExitCode != nil {
		line += fmt.Sprintf(" (exit code %d%s)", *c.ExitCode, prefixed(", ", c.Signal))
	}
	line += prefixed(", target ", c.Health)
	if c.StopCode != "" {
		line += " [" + c.StopCode + "]"
	}
	return line
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

func suffixed(text, suffix string) string {
	if text == "" {
		return ""
	}
	return text + suffix
}

// Short returns the abbreviated commit or, without one, digest.
func (v Version) Short() string {
	if v.SHA != "" {
		return shortSHA(v.SHA)
	}
	if _, digest, ok := strings.Cut(v.Image, "@sha256:"); ok && len(digest) > 12 {
		return digest[:12]
	}
	return "-"
}

func shortSHA(sha string) string {
	if sha == "" {
		return "release"
	}
	if commit, _, _ := strings.Cut(sha, "-"); len(commit) == 40 {
		return commit[:12] + sha[40:]
	}
	return sha
}

func lastSegment(arn string) string { return arn[strings.LastIndex(arn, "/")+1:] }

func millis(ms int64) string { return seconds(time.Duration(ms) * time.Millisecond) }
