package attestation

import (
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dagger/slipway/internal/provenance"
	"dagger/slipway/internal/sbom"
	"dagger/slipway/internal/signature"
)

// want is one artifact that an image should have.
type want struct {
	kind   string
	signed bool
}

// held is what an image has. A signed artifact counts only if this very signer
// signed it: anybody who may push can attach one that says nothing.
func (a Attestor) held(ctx context.Context, repository string, image v1.Hash) (map[want]bool, error) {
	artifacts, err := a.Registry.Referrers(ctx, repository, image, "")
	if err != nil {
		return nil, err
	}
	there := map[want]bool{}
	var bundles []v1.Image
	for _, artifact := range artifacts {
		manifest, err := artifact.Manifest()
		if err != nil {
			return nil, fmt.Errorf("reading what is attached to %s: %w", image, err)
		}
		switch kind := artifactType(manifest); {
		case kind == sbom.MediaType:
			there[want{SBOM, false}] = true
		case kind == provenance.MediaType:
			there[want{Provenance, false}] = true
		case isBundle(kind):
			bundles = append(bundles, artifact)
		}
	}
	if a.Signer == nil || len(bundles) == 0 {
		return there, nil
	}
	own, err := a.Signer.Verifier(ctx)
	if err != nil {
		return nil, err
	}
	for _, artifact := range bundles {
		data, err := content(artifact)
		if err != nil {
			continue // it will not help anybody else, either
		}
		if good, err := own.Verify(data, image); err == nil {
			there[want{kinds[good.PredicateType], true}] = true
		}
	}
	return there, nil
}

// kinds by the predicates of their statements.
var kinds = map[string]string{
	sbom.PredicateType: SBOM, provenance.PredicateType: Provenance, signature.PredicateType: Signature,
}

// missing is what is to be attached, in order.
func (a Attestor) missing(there map[want]bool) []want {
	all := []want{{SBOM, false}, {Provenance, false}}
	if a.Signer != nil {
		all = []want{{SBOM, false}, {SBOM, true}, {Provenance, true}, {Signature, true}}
	}
	var lacks []want
	for _, w := range all {
		if !there[w] {
			lacks = append(lacks, w)
		}
	}
	return lacks
}
