// Package attestation attaches to a published image what there is to say about it
// (bill of materials, provenance, signature), and finds whether somebody trusted
// has signed it.
//
// All of it is attached as OCI referrers of the image's index, in the form that
// cosign 3, GitHub's attestations and ORAS have, so that cosign verify, cosign
// verify-attestation, gh attestation verify --bundle-from-oci and oras discover
// find it. https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md
package attestation

import (
	"bytes"
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dagger/slipway/internal/provenance"
	"dagger/slipway/internal/sbom"
	"dagger/slipway/internal/signature"
)

// Registry is what is asked of the registry that has the image.
type Registry interface {
	// Attach brings artifacts to the repository of the image that each of them
	// names as its subject, and returns their digests.
	Attach(ctx context.Context, repository string, artifacts ...v1.Image) ([]v1.Hash, error)
	// Referrers lists the artifacts of a type that name subject as theirs, all of
	// them if the type is "".
	Referrers(ctx context.Context, repository string, subject v1.Hash, artifactType string) ([]v1.Image, error)
}

// Subject is a published image, and what is known of its build.
type Subject struct {
	Repository string
	// Name is what statements call the image.
	Name  string
	Index v1.ImageIndex
	// Build is what the provenance says. Its platforms, toolchains and byproducts
	// are read from the image.
	Build provenance.Build
}

// Attestor attaches what there is to say about images.
type Attestor struct {
	Registry Registry
	// Signer signs it; nil leaves it unsigned.
	Signer signature.Signer
}

// The kinds of what is attached.
const (
	SBOM       = "sbom"
	Provenance = "provenance"
	Signature  = "signature"
)

// Attached is one artifact about an image.
type Attached struct {
	Kind   string `json:"kind"`
	Digest string `json:"digest"`
	Signed bool   `json:"signed"`
}

// Attest attaches a bill of materials and the provenance, and with a signer signs
// both, and the image. What is there is left as it is, and returned is what was
// attached: of a second run nothing, though a signature or the run's number would
// be another one. The signature comes last, so that a signed image has the rest.
func (a Attestor) Attest(ctx context.Context, s Subject) ([]Attached, error) {
	attached, err := a.attest(ctx, s)
	if err != nil {
		return attached, fmt.Errorf("attesting %s: %w", s.Name, err)
	}
	return attached, nil
}

func (a Attestor) attest(ctx context.Context, s Subject) ([]Attached, error) {
	image, err := describe(s.Index)
	if err != nil {
		return nil, err
	}
	there, err := a.held(ctx, s.Repository, image.Digest)
	if err != nil {
		return nil, err
	}
	wanted := a.missing(there)
	if len(wanted) == 0 {
		return nil, nil
	}
	document, err := sbom.New(ctx, s.Name, s.Index)
	if err != nil {
		return nil, err
	}
	statements, err := write(s, image.Digest, document)
	if err != nil {
		return nil, err
	}
	var attached []Attached
	for _, w := range wanted {
		artifact, err := a.artifact(ctx, image, w, statements)
		if err != nil {
			return attached, err
		}
		digests, err := a.Registry.Attach(ctx, s.Repository, artifact)
		if err != nil {
			return attached, err
		}
		attached = append(attached, Attached{Kind: w.kind, Digest: digests[0].String(), Signed: w.signed})
	}
	return attached, nil
}

// statement is one of the things that are said about an image: the plain
// document, and the in-toto statement that is signed.
type statement struct {
	plain, statement         []byte
	mediaType, predicateType string
	file                     string
}

// write says all that there is to say.
func write(s Subject, digest v1.Hash, document sbom.Document) (map[string]statement, error) {
	bill, err := document.JSON()
	if err != nil {
		return nil, err
	}
	about, err := provenance.Statement(s.Name, digest, sbom.PredicateType, bill)
	if err != nil {
		return nil, err
	}
	build := s.Build
	build.Toolchains, build.Platforms = document.Toolchains(), document.Platforms()
	hash, _, err := v1.SHA256(bytes.NewReader(bill))
	if err != nil {
		return nil, err
	}
	build.Byproducts = []provenance.Byproduct{{Name: SBOM, MediaType: sbom.MediaType, Digest: hash}}
	origin, err := build.Statement(s.Name, digest)
	if err != nil {
		return nil, err
	}
	stands, err := provenance.Statement(s.Name, digest, signature.PredicateType, []byte("{}"))
	if err != nil {
		return nil, err
	}
	return map[string]statement{
		SBOM:       {plain: bill, statement: about, mediaType: sbom.MediaType, predicateType: sbom.PredicateType, file: s.Name + ".spdx.json"},
		Provenance: {plain: origin, statement: origin, mediaType: provenance.MediaType, predicateType: provenance.PredicateType, file: s.Name + ".intoto.json"},
		Signature:  {statement: stands, predicateType: signature.PredicateType},
	}, nil
}

// artifact is what is attached of one of the things to say.
func (a Attestor) artifact(ctx context.Context, image v1.Descriptor, w want, statements map[string]statement) (v1.Image, error) {
	said := statements[w.kind]
	if !w.signed {
		return newArtifact(image, said.mediaType, said.plain, said.file, map[string]string{predicateAnnotation: said.predicateType})
	}
	bundle, err := a.Signer.Sign(ctx, said.statement)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.kind, err)
	}
	return newArtifact(image, signature.MediaType, bundle, "", map[string]string{
		bundleContentAnnotation: "dsse-envelope", bundlePredicateAnnotation: said.predicateType,
	})
}
