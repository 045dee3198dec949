package delivery

import (
	"fmt"
	"io"
	"strings"
	"time"

	"dagger/slipway/internal/report"
	"dagger/slipway/internal/signature"
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
	// Statements are the good ones.
	Statements []signature.Verified `json:"statements"`
	// Error says why the image is not trusted.
	Error string `json:"error,omitempty"`
}

// JSON writes the verification as one indented JSON document.
func (v Verification) JSON(w io.Writer) error {
	if v.Images == nil {
		v.Images = []VerifiedImage{}
	}
	for n := range v.Images {
		if v.Images[n].Statements == nil {
			v.Images[n].Statements = []signature.Verified{}
		}
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
		for _, said := range img.Statements {
			fmt.Fprintf(&b, "  %s by %s%s\n", said.PredicateType, said.Signer, at(said))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func at(said signature.Verified) string {
	if said.At.IsZero() {
		return ""
	}
	return " at " + said.At.Format(time.RFC3339)
}

// Markdown writes the verification for a job's summary.
func (v Verification) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## Signatures of `%s`\n\n| service | image | trusted | signed by |\n|---|---|---|---|\n", v.SHA)
	for _, img := range v.Images {
		var signers []string
		for _, said := range img.Statements {
			signers = append(signers, said.PredicateType+" by "+said.Signer)
		}
		state := "yes"
		if !img.Trusted {
			state = "**no**: " + strings.ReplaceAll(img.Error, "|", "\\|")
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", img.Service, img.Image, state, strings.Join(signers, "<br>"))
	}
	return report.WriteMarkdown(w, b.String())
}
