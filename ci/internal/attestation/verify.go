package attestation

import (
	"context"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/provenance"
	"dagger/slipway/internal/signature"
)

// Trusted is an image that somebody trusted has signed, and what they said.
type Trusted struct {
	// Statements are the good ones, the newest last as far as their time is known.
	Statements []signature.Verified `json:"statements"`
}

// stands are the statements by which a signer stands for an image: cosign's plain
// signature, and provenance, all that GitHub's attestations have.
var stands = []string{signature.PredicateType, provenance.PredicateType}

// Verify finds out whether somebody trusted has signed an image. One that nobody
// trusted has signed is refused, in one line; what cannot be read is another
// error.
func Verify(ctx context.Context, registry Registry, repository string, image v1.Hash, verifier *signature.Verifier) (Trusted, error) {
	artifacts, err := registry.Referrers(ctx, repository, image, "")
	if err != nil {
		return Trusted{}, fmt.Errorf("looking for signatures of %s@%s: %w", repository, image, err)
	}
	var trusted Trusted
	var reasons []string
	for _, artifact := range artifacts {
		manifest, err := artifact.Manifest()
		if err != nil {
			return Trusted{}, fmt.Errorf("looking for signatures of %s@%s: %w", repository, image, err)
		}
		if !isBundle(artifactType(manifest)) {
			continue
		}
		data, err := content(artifact)
		if err != nil && outcome.Of(err) != outcome.Refused {
			return Trusted{}, fmt.Errorf("reading a signature of %s@%s: %w", repository, image, err)
		}
		var good signature.Verified
		if err == nil {
			good, err = verifier.Verify(data, image)
		}
		if err != nil {
			reasons = append(reasons, err.Error())
			continue
		}
		trusted.Statements = append(trusted.Statements, good)
	}
	slices.SortStableFunc(trusted.Statements, func(a, b signature.Verified) int { return a.At.Compare(b.At) })
	return trusted, trusted.judge(repository, image, verifier, reasons)
}

func (t Trusted) judge(repository string, image v1.Hash, verifier *signature.Verifier, reasons []string) error {
	for _, said := range t.Statements {
		if slices.Contains(stands, said.PredicateType) {
			return nil
		}
	}
	subject := repository + "@" + image.String()
	slices.Sort(reasons)
	reasons = slices.Compact(reasons)
	switch {
	case len(t.Statements) > 0:
		return outcome.Refusedf("%s: %s signed something about it, and neither the image nor its provenance", subject, verifier.Trusts())
	case len(reasons) == 0:
		return outcome.Refusedf("%s: it is not signed: publish it with --sign-key, or from a job that may ask for its identity", subject)
	default:
		return outcome.Refusedf("%s: %s has not signed it: %s", subject, verifier.Trusts(), strings.Join(reasons, "; "))
	}
}
