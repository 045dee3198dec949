package image

import (
	"fmt"
	"io"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/report"
)

// Summary describes the images that a build made.
type Summary struct {
	Images []Description `json:"images"`
}

// Description is one image of a [Summary].
type Description struct {
	Service   string   `json:"service"`
	Digest    string   `json:"digest"`
	Platforms []string `json:"platforms"`
	// Size is in bytes: see [Image.Size].
	Size int64 `json:"size"`
	// MissingBase is why the image lacks its base image; empty if it is complete.
	MissingBase string `json:"baseless,omitempty"`
	// Note is why the digest differs from that of another machine's build; empty if
	// it does not.
	Note string `json:"note,omitempty"`
}

// Describe returns the summary of images.
func Describe(images []Image) (Summary, error) {
	var descriptions Summary
	for _, img := range images {
		digest, err := img.Digest()
		if err != nil {
			return Summary{}, fmt.Errorf("describing the image of %s: %w", img.Service.Name, err)
		}
		platforms, err := img.Platforms()
		if err != nil {
			return Summary{}, err
		}
		size, err := img.Size()
		if err != nil {
			return Summary{}, fmt.Errorf("describing the image of %s: %w", img.Service.Name, err)
		}
		descriptions.Images = append(descriptions.Images, Description{img.Service.Name, digest.String(), platforms, size, img.MissingBase, img.Note})
	}
	return descriptions, nil
}

// Notes returns a line for each image that differs from what another machine would
// build.
func (s Summary) Notes() []string {
	var remarks []string
	for _, d := range s.Images {
		if d.MissingBase != "" {
			remarks = append(remarks, d.Service+" was built without its base image, for rehearsals only: "+d.MissingBase)
		}
		if d.Note != "" {
			remarks = append(remarks, d.Service+" is "+d.Note)
		}
	}
	return remarks
}

// JSON writes the summary for programs.
func (s Summary) JSON(w io.Writer) error { return report.WriteJSON(w, s) }

// Text writes the summary for a terminal.
func (s Summary) Text(w io.Writer) error {
	var b strings.Builder
	for _, d := range s.Images {
		fmt.Fprintf(&b, "%-12s %s  %s  %.1f MB\n", d.Service, d.Digest, strings.Join(d.Platforms, ","), float64(d.Size)/1e6)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Markdown writes the summary for a job summary.
func (s Summary) Markdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| service | digest | platforms | size |\n|---|---|---|---|\n")
	for _, d := range s.Images {
		fmt.Fprintf(&b, "| %s | `%s` | %s | %.1f MB |\n", d.Service, d.Digest, strings.Join(d.Platforms, ", "), float64(d.Size)/1e6)
	}
	return report.WriteMarkdown(w, b.String())
}
