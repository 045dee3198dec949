package delivery

import (
	"fmt"
	"io"
	"strings"

	"dagger/slipway/internal/report"
)

// Verification is who has signed the images of a commit: `verify` returns it.
type Verification struct {
	SHA string `json:"sha"`
	// Trusts is whose signature was looked for.
	Trusts string          `json:"trusts"`
	Images []VerifiedImage `json:"images"`
}

// VerifiedImage is one image of a [Verification].
type VerifiedImage struct {
	Service string `json:"service"`
	Image   string `json:"image"`
	Trusted bool   `json:"trusted"`
	// Error says why the image is not trusted.
	Error string `json:"error,omitempty"`
}

// JSON writes the verification as one indented JSON document.
func (v Verification) JSON(w io.Writer) error {
	if v.Images == nil {
		v.Images = []VerifiedImage{}
	}
	return report.WriteJSON(w, v)
}

// Text writes the verification for a terminal.
func (v Verification) Text(w io.Writer) error {
	var b strings.Builder
	for _, img := range v.Images {
		state := "trusted"
		if !img.Trusted {
			state = "REFUSED"
		}
		fmt.Fprintf(&b, "%-12s %s  %s\n", img.Service, state, img.Image)
		if img.Trusted {
			fmt.Fprintf(&b, "  signed by %s\n", v.Trusts)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Markdown writes the verification for a job's summary.
func (v Verification) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## Signatures of `%s`\n\n| service | image | signed by %s |\n|---|---|---|\n", v.SHA, v.Trusts)
	for _, img := range v.Images {
		state := "yes"
		if !img.Trusted {
			state = "**no**: " + strings.ReplaceAll(img.Error, "|", "\\|")
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s |\n", img.Service, img.Image, state)
	}
	return report.WriteMarkdown(w, b.String())
}
