package supplychain

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Report is the result of a scan, returned by the scan command.
type Report struct {
	Result string   `json:"result"` // "succeeded" or "failed"
	FailOn Severity `json:"fail_on"`
	// Images are the scanned images.
	Images   []Image   `json:"images"`
	Findings []Finding `json:"findings"`
	Notes    []string  `json:"notes"`
}

// Image is one scanned image.
type Image struct {
	Service   string   `json:"service"`
	Digest    string   `json:"digest"`
	Platforms []string `json:"platforms"`
}

func (r Report) failing() []Finding {
	return slices.DeleteFunc(slices.Clone(r.Findings), func(f Finding) bool { return !f.fails(r.FailOn) })
}

// Err returns an error if a finding reaches the threshold, else nil.
func (r Report) Err() error {
	failing := r.failing()
	if len(failing) == 0 {
		return nil
	}
	noun := "vulnerabilities are"
	if len(failing) == 1 {
		noun = "vulnerability is"
	}
	err := fmt.Errorf("%d %s of severity %s or worse, the first %s in %s of %s: update it, or accept it temporarily in %s",
		len(failing), noun, r.FailOn, failing[0].ID, failing[0].Package, failing[0].Service, ExceptionsFile)
	return outcome.With(outcome.Failed, err)
}

// JSON writes the report as one indented JSON document.
func (r Report) JSON(w io.Writer) error { return report.WriteJSON(w, r) }

// Text writes the report for a terminal.
func (r Report) Text(w io.Writer) error {
	var b strings.Builder
	for _, i := range r.Images {
		fmt.Fprintf(&b, "%s %s (%s)\n", i.Service, i.Digest, strings.Join(i.Platforms, ", "))
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "  %-4s  %-13s %-16s %s %s in %s%s%s\n", r.verdict(f), f.Severity, f.ID, f.Package, f.Version, f.Service, f.fixed(), f.accepted())
		if f.Title != "" && f.Title != f.ID {
			fmt.Fprintf(&b, "        %s\n", outcome.OneLine(f.Title))
		}
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "  note: %s\n", note)
	}
	fmt.Fprintf(&b, "%s: %d found, %d fail the scan (--fail-on %s)\n", r.Result, len(r.Findings), len(r.failing()), r.FailOn)
	_, err := io.WriteString(w, b.String())
	return err
}

// verdict returns FAIL for a finding that fails the scan.
func (r Report) verdict(f Finding) string {
	if f.fails(r.FailOn) {
		return "FAIL"
	}
	return "ok"
}

func (f Finding) fixed() string    { return prefixed(", fixed in ", f.Fixed) }
func (f Finding) accepted() string { return prefixed(", accepted: ", outcome.OneLine(f.Exception)) }

// prefixed returns prefix and text, or "" without a text.
func prefixed(lead, text string) string {
	if text == "" {
		return ""
	}
	return lead + text
}

// Markdown writes the report for a job's summary.
func (r Report) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## Vulnerabilities: %s\n\n", r.Result)
	if len(r.Findings) > 0 {
		b.WriteString("| | severity | id | package | service | |\n|---|---|---|---|---|---|\n")
	}
	for _, f := range r.Findings {
		id := f.ID
		if f.URL != "" {
			id = "[" + f.ID + "](" + f.URL + ")"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | `%s` %s%s | %s | %s |\n", r.verdict(f), f.Severity, id, f.Package, f.Version, f.fixed(), f.Service,
			report.Inline(outcome.OneLine(f.Title+f.accepted())))
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "\n- %s\n", outcome.OneLine(note))
	}
	return report.WriteMarkdown(w, b.String())
}
