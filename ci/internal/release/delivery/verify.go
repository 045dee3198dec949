package delivery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/exec/tool"
	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Verification reports which images of a commit have a trusted signature: `verify`
// returns it.
type Verification struct {
	SHA string `json:"sha"`
	// Trusts describes the signer that was required.
	Trusts string          `json:"trusts"`
	Images []VerifiedImage `json:"images"`
}

// VerifiedImage is an image of a [Verification].
type VerifiedImage struct {
	Service string `json:"service"`
	Image   string `json:"image"`
	Trusted bool   `json:"trusted"`
	// Error is the reason why the image is not trusted.
	Error string `json:"error,omitempty"`
}

// requireCosign fails if signatures are to be verified and cosign is not installed.
// It is called before anything is changed.
func (d Delivery) requireCosign(ctx context.Context, trust *supplychain.Trust) error {
	if trust == nil {
		return nil
	}
	if err := trust.Check(); err != nil {
		return err
	}
	return d.tools().Require(ctx, tool.Cosign)
}

// requireSigned refuses images without a trusted signature. The error names all of
// them.
func (d Delivery) requireSigned(ctx context.Context, images map[string]string, trust *supplychain.Trust) error {
	if trust == nil {
		return nil
	}
	return d.stage("verify", func() error {
		checked, err := d.verify(ctx, images, *trust)
		if err != nil {
			return err
		}
		return checked.err()
	})
}

// Verify reports which images of a commit have a trusted signature. Images without
// one are in the result and in the error, whose exit code is that of a refusal.
func (d Delivery) Verify(ctx context.Context, o Options) (Verification, error) {
	if err := d.requireCosign(ctx, o.Trust); err != nil {
		return Verification{}, err
	}
	sha, err := d.commit(ctx, o)
	if err != nil {
		return Verification{}, err
	}
	images, err := d.requirePublished(ctx, sha, "publish it first")
	if err != nil {
		return Verification{SHA: sha}, awsauth.Explain(err)
	}
	checked, err := d.verify(ctx, images, *o.Trust)
	if err != nil { // could not verify: not a refusal
		return Verification{SHA: sha}, awsauth.Explain(err)
	}
	checked.SHA = sha
	return checked, checked.err()
}

// verify verifies the signatures of images, given by reference.
func (d Delivery) verify(ctx context.Context, images map[string]string, trust supplychain.Trust) (Verification, error) {
	from, err := d.Account.registry().Login(ctx)
	if err != nil {
		return Verification{}, err
	}
	defer from.Close()
	entries := d.imageEntries()
	checked := Verification{Trusts: trust.String(), Images: make([]VerifiedImage, len(entries))}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(publishJobs)
	first := map[string]int{}
	for n, service := range entries {
		if _, shared := first[images[service.Name]]; shared {
			continue
		}
		first[images[service.Name]] = n
		group.Go(func() (err error) {
			checked.Images[n], err = d.verifyOne(ctx, from, service, images[service.Name], trust)
			return err
		})
	}
	err = group.Wait()
	for n, service := range entries {
		checked.Images[n] = checked.Images[first[images[service.Name]]]
		checked.Images[n].Service = service.Name
	}
	return checked, err
}

func (d Delivery) verifyOne(ctx context.Context, from *registry.Registry, service platform.Service, reference string, trust supplychain.Trust) (VerifiedImage, error) {
	v := VerifiedImage{Service: service.Name, Image: reference}
	digest, err := digestOf(reference)
	if err != nil {
		return v, err
	}
	err = d.tools().Verify(ctx, from, service.Repository(), digest, trust)
	switch {
	case err == nil:
		v.Trusted = true
	case outcome.Of(err) != outcome.Refused:
		return v, err
	default:
		v.Error = err.Error()
	}
	return v, nil
}

func digestOf(reference string) (v1.Hash, error) {
	parsed, err := name.NewDigest(reference)
	if err != nil {
		return v1.Hash{}, fmt.Errorf("parsing image reference %s: %w", reference, err)
	}
	digest, err := v1.NewHash(parsed.DigestStr())
	if err != nil {
		return v1.Hash{}, fmt.Errorf("parsing image reference %s: %w", reference, err)
	}
	return digest, nil
}

// err returns a refusal for all images that are not trusted.
func (v Verification) err() error {
	var refusals []error
	for _, img := range v.Images {
		if !img.Trusted {
			refusals = append(refusals, errors.New(img.Error))
		}
	}
	return outcome.With(outcome.Refused, errors.Join(refusals...))
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

// Markdown writes the verification for a job summary.
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
