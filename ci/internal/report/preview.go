package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Preview is the report of a preview's release: `preview up` returns it.
type Preview struct {
	// Number is the number of the pull request.
	Number int `json:"pr"`
	// ExpiresAt is when `preview sweep` removes the preview.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// Removed are the resources that were removed because the release failed.
	Removed []string `json:"removed,omitempty"`
	Release
}

// JSON writes the report as one indented JSON document.
func (p Preview) JSON(w io.Writer) error {
	p.Release = p.Normalize()
	return WriteJSON(w, p)
}

// Text writes the report for a terminal.
func (p Preview) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "preview of pull request %d, until %s\n", p.Number, formatTime(p.ExpiresAt))
	for _, resource := range p.Removed {
		fmt.Fprintf(&b, "  removed %s\n", resource)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	return p.Release.Text(w)
}

// Markdown writes the report for a comment of the pull request.
func (p Preview) Markdown(w io.Writer) error {
	page := NewPage(MarkdownLimit)
	page.Force(fmt.Sprintf("## Preview of #%d: %s\n\n", p.Number, p.Result))
	ran := p.ExitCode == outcome.Done
	switch {
	case ran && p.URL != "":
		page.Force(fmt.Sprintf("**<%s>** runs `%s` until %s.\n", p.URL, shortSHA(p.SHA), formatTime(p.ExpiresAt)))
	case ran:
		page.Force(fmt.Sprintf("It runs `%s` until %s, and has no address.\n", shortSHA(p.SHA), formatTime(p.ExpiresAt)))
	case len(p.Removed) > 0:
		page.Force("What did not run is removed.\n")
	}
	if ran {
		for _, note := range p.Notes {
			page.Force(fmt.Sprintf("\nNote: %s.\n", Inline(Shorten(note, 1000))))
		}
		return WriteMarkdown(w, page.String())
	}
	var release strings.Builder
	if err := p.Release.Markdown(&release); err != nil {
		return err
	}
	page.Add("\n" + release.String())
	return WriteMarkdown(w, page.String())
}

// Previews are the previews of an environment: `preview list` returns it.
type Previews struct {
	// Environment is the name of the environment, if the source tree has several.
	Environment string          `json:"environment,omitempty"`
	At          time.Time       `json:"at"`
	Previews    []PreviewStatus `json:"previews"`
}

// PreviewStatus is the state of a preview.
type PreviewStatus struct {
	// Number is the number of the pull request.
	Number int `json:"pr"`
	// SHA is the commit of the last successful release; empty before it.
	SHA string `json:"sha"`
	// URL is empty without a web service.
	URL       string    `json:"url,omitempty"`
	State     State     `json:"state"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Expired   bool      `json:"expired"`
	// Services are the names of the ECS services.
	Services []string `json:"services"`
}

// JSON writes the list as one indented JSON document.
func (p Previews) JSON(w io.Writer) error {
	p.Previews = slices.Clone(orEmpty(p.Previews))
	for n := range p.Previews {
		p.Previews[n].Services = orEmpty(p.Previews[n].Services)
	}
	return WriteJSON(w, p)
}

// Text writes the list for a terminal.
func (p Previews) Text(w io.Writer) error {
	var b strings.Builder
	if len(p.Previews) == 0 {
		b.WriteString("no previews\n")
	}
	for _, one := range p.Previews {
		fmt.Fprintf(&b, "#%-6d %-10s %-12s %-40s age %-8s %s\n", one.Number, one.State, Version{SHA: one.SHA}.Short(), cmp.Or(one.URL, "-"), one.age(p.At), one.expiry())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Markdown writes the list for a job summary.
func (p Previews) Markdown(w io.Writer) error {
	page := NewPage(MarkdownLimit)
	page.Force("## Previews\n\n")
	if len(p.Previews) == 0 {
		page.Force("None.\n")
		return WriteMarkdown(w, page.String())
	}
	page.Force("| request | state | commit | address | age | expiry |\n|---|---|---|---|---|---|\n")
	for _, one := range p.Previews {
		page.Add(fmt.Sprintf("| #%d | %s | `%s` | %s | %s | %s |\n", one.Number, one.State, Version{SHA: one.SHA}.Short(), cmp.Or(one.URL, "-"), one.age(p.At), one.expiry()))
	}
	return WriteMarkdown(w, page.String())
}

// age returns how old the preview is.
func (s PreviewStatus) age(at time.Time) string {
	if s.CreatedAt.IsZero() {
		return "-"
	}
	return at.Sub(s.CreatedAt).Round(time.Minute).String()
}

func (s PreviewStatus) expiry() string {
	if s.Expired {
		return "expired " + formatTime(s.ExpiresAt)
	}
	return "until " + formatTime(s.ExpiresAt)
}

// PreviewRemoval is the report of removed previews: `preview down` and `preview sweep`
// return it.
type PreviewRemoval struct {
	// Environment is the name of the environment, if the source tree has several.
	Environment string           `json:"environment,omitempty"`
	Previews    []RemovedPreview `json:"previews"`

	// ExitCode is the exit code of the command.
	ExitCode outcome.Code `json:"exit_code"`
}

// RemovedPreview is a preview that was removed, or in part if there is an error.
type RemovedPreview struct {
	// Number is the number of the pull request.
	Number int `json:"pr"`
	// Reason is why it was removed.
	Reason string `json:"reason"`
	// Removed are the resources.
	Removed []string `json:"removed"`
	// Error is why something was not removed, in one line.
	Error string `json:"error,omitempty"`
}

// JSON writes the report as one indented JSON document.
func (p PreviewRemoval) JSON(w io.Writer) error {
	p.Previews = slices.Clone(orEmpty(p.Previews))
	for n := range p.Previews {
		p.Previews[n].Removed = orEmpty(p.Previews[n].Removed)
	}
	return WriteJSON(w, p)
}

// Text writes the report for a terminal.
func (p PreviewRemoval) Text(w io.Writer) error {
	var b strings.Builder
	if len(p.Previews) == 0 {
		b.WriteString("no preview to remove\n")
	}
	for _, one := range p.Previews {
		fmt.Fprintf(&b, "preview of pull request %d (%s): %s\n", one.Number, one.Reason, one.summary())
		for _, resource := range one.Removed {
			fmt.Fprintf(&b, "  removed %s\n", resource)
		}
		if one.Error != "" {
			fmt.Fprintf(&b, "  %s\n", one.Error)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Markdown writes the report for a comment or a job summary.
func (p PreviewRemoval) Markdown(w io.Writer) error {
	page := NewPage(MarkdownLimit)
	if len(p.Previews) == 0 {
		page.Force("No preview to remove.\n")
	}
	for _, one := range p.Previews {
		page.Force(fmt.Sprintf("## Preview of #%d: %s\n\nReason: %s.\n", one.Number, one.summary(), Inline(one.Reason)))
		if one.Error != "" {
			page.Force("\n> " + Inline(Shorten(one.Error, errorShare)) + "\n")
		}
		for n, resource := range one.Removed {
			if n == 0 {
				page.Add("\n")
			}
			page.Add("- " + Inline(resource) + "\n")
		}
		page.Add("\n")
	}
	return WriteMarkdown(w, page.String())
}

func (r RemovedPreview) summary() string {
	switch {
	case r.Error != "":
		return "not removed completely"
	case len(r.Removed) == 0:
		return "nothing to remove"
	}
	return "removed"
}
