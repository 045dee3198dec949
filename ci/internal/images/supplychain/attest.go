package supplychain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"

	"dagger/slipway/internal/exec/step"
	"dagger/slipway/internal/exec/tool"
	"dagger/slipway/internal/report/outcome"
)

// The media types of what is attached unsigned.
const (
	spdxType   = "application/spdx+json"          // https://www.iana.org/assignments/media-types/application/spdx+json
	intotoType = "application/vnd.in-toto+json"   // https://github.com/in-toto/attestation/blob/main/spec/v1/envelope.md
	spdxAbout  = "https://spdx.dev/Document"      // https://github.com/in-toto/attestation/blob/main/spec/predicates/spdx.md
	about      = "in-toto.io/predicate-type"      // BuildKit's annotation, by which others find the right one
	title      = "org.opencontainers.image.title" // ORAS writes a layer to a file of this name
)

// Registry is what is asked of the registry that has the image.
type Registry interface {
	// Attach brings artifacts to the repository of the image that each of them
	// names as its subject, and returns their digests.
	Attach(ctx context.Context, repository string, artifacts ...v1.Image) ([]v1.Hash, error)
	// Referrers lists the artifacts of a type that name subject as theirs, all of
	// them if the type is "".
	Referrers(ctx context.Context, repository string, subject v1.Hash, artifactType string) ([]v1.Image, error)
	// Reference names an image by its digest.
	Reference(repository string, digest v1.Hash) string
	// Login is the login for another program; ok is false where that finds it by
	// itself.
	Login(ctx context.Context) (login authn.AuthConfig, ok bool, err error)
}

// Subject is a published image, and what is known of its build.
type Subject struct {
	Repository string
	Index      v1.ImageIndex
	// Build is what the provenance says; its platforms are read from the image.
	Build Build
}

// Attestor attaches what there is to say about images.
type Attestor struct {
	Tools
	Registry Registry
	// Signer signs it; nil leaves it unsigned.
	Signer *Signer
	// NoSBOM leaves out the bill of materials, where syft cannot be had.
	NoSBOM bool
}

// Require is a usage error where a tool is missing.
func (a Attestor) Require(ctx context.Context) error {
	var tools []tool.Tool
	if !a.NoSBOM {
		tools = append(tools, tool.Syft)
	}
	if a.Signer != nil {
		tools = append(tools, tool.Cosign)
	}
	return a.Tools.Require(ctx, tools...)
}

// Attest attaches a bill of materials for each platform, and the provenance; with a
// signer both are signed, and the image is. It says what was attached: nothing
// where it is there already. The signature comes last, so that a signed image has
// the rest.
func (a Attestor) Attest(ctx context.Context, s Subject) (attached []string, err error) {
	attached, err = a.attest(ctx, s)
	if err != nil {
		return attached, fmt.Errorf("attesting %s: %w", s.Build.Service, err)
	}
	return attached, nil
}

func (a Attestor) attest(ctx context.Context, s Subject) ([]string, error) {
	image, err := partial.Descriptor(s.Index)
	if err != nil {
		return nil, fmt.Errorf("reading the index: %w", err)
	}
	dir, done, err := room()
	if err != nil {
		return nil, err
	}
	defer done()
	if a.Signer != nil {
		return a.signed(ctx, s, image.Digest, dir)
	}
	return a.unsigned(ctx, s, *image, dir)
}

// unsigned attaches the documents as they are.
func (a Attestor) unsigned(ctx context.Context, s Subject, image v1.Descriptor, dir string) (attached []string, err error) {
	held, err := a.Registry.Referrers(ctx, s.Repository, image.Digest, "")
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, artifact := range held {
		manifest, err := artifact.Manifest()
		if err != nil {
			return nil, fmt.Errorf("reading what is attached to %s: %w", image.Digest, err)
		}
		there[manifest.ArtifactType] = true
	}
	attach := func(kind, mediaType, predicate, file string, content []byte) error {
		made, err := artifact(image, mediaType, content, file, map[string]string{about: predicate})
		if err == nil {
			_, err = a.Registry.Attach(ctx, s.Repository, made)
		}
		if err == nil {
			attached = append(attached, kind)
		}
		return err
	}
	if !a.NoSBOM && !there[spdxType] {
		bills, err := a.describe(ctx, s, dir)
		if err != nil {
			return attached, err
		}
		for _, bill := range bills {
			content, err := os.ReadFile(filepath.Join(dir, bill.file))
			if err == nil {
				err = attach("sbom of "+bill.platform, spdxType, spdxAbout, bill.file, content)
			}
			if err != nil {
				return attached, err
			}
		}
	}
	if there[intotoType] {
		return attached, nil
	}
	statement, err := s.build().statement(image.Digest)
	if err == nil {
		err = attach("provenance", intotoType, provenanceType, s.Build.Service+".intoto.json", statement)
	}
	return attached, err
}

// signed attaches the documents in bundles of cosign's, and the signature.
func (a Attestor) signed(ctx context.Context, s Subject, image v1.Hash, dir string) (attached []string, err error) {
	c, err := newCosign(ctx, a.Tools, a.Registry, s.Repository, image, dir)
	if err != nil {
		return nil, err
	}
	own, err := a.Signer.prepare(ctx, &c, s.Build.Run)
	if err != nil {
		return nil, err
	}
	err = c.verify(ctx, own)
	if err == nil || outcome.Of(err) != outcome.Refused {
		return nil, err
	}
	if !a.NoSBOM {
		bills, err := a.describe(ctx, s, dir)
		if err != nil {
			return nil, err
		}
		for _, bill := range bills {
			if err := c.sign(ctx, "attest", bill.file, "--type=spdxjson", "--predicate="+step.Out+"/"+bill.file); err != nil {
				return attached, err
			}
			attached = append(attached, "signed sbom of "+bill.platform)
		}
	}
	const file = "provenance.json"
	predicate, err := json.Marshal(s.build().provenance())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, file), predicate, 0o644)
	}
	if err == nil {
		err = c.sign(ctx, "attest", file, "--type=slsaprovenance1", "--predicate="+step.Out+"/"+file)
	}
	if err != nil {
		return attached, err
	}
	attached = append(attached, "signed provenance")
	if err := c.sign(ctx, "sign", ""); err != nil {
		return attached, err
	}
	if own.Key != "" { // who a job is, only its certificate tells for certain
		if err := c.verify(ctx, own); err != nil {
			return attached, fmt.Errorf("cosign does not find what it has signed with this key: make one with cosign generate-key-pair: %w", err)
		}
	}
	return append(attached, "signature"), nil
}

// build is the build with the platforms of the image.
func (s Subject) build() Build {
	build := s.Build
	build.Platforms = []string{}
	if manifest, err := s.Index.IndexManifest(); err == nil {
		for _, child := range manifest.Manifests {
			if child.Platform != nil {
				build.Platforms = append(build.Platforms, child.Platform.String())
			}
		}
	}
	return build
}

// bill is a bill of materials in a file.
type bill struct{ platform, file string }

// describe has syft write the bill of materials of each platform.
func (a Attestor) describe(ctx context.Context, s Subject, dir string) ([]bill, error) {
	images, err := layouts(s.Index, dir)
	if err != nil {
		return nil, err
	}
	var bills []bill
	for _, one := range images {
		b := bill{one.platform, s.Build.Service + "-" + one.place + ".spdx.json"}
		describe := step.Step{Inputs: []string{one.place}, Keep: []string{one.place}, Env: map[string]string{"SYFT_CHECK_FOR_APP_UPDATE": "false"}}
		err := a.run(ctx, tool.Syft, describe, dir, "scan", "oci-dir:"+step.Out+"/"+one.place, "--quiet",
			"--output=spdx-json="+step.Out+"/"+b.file, "--source-name="+s.Build.Service, "--source-version="+one.platform)
		if err != nil {
			return nil, err
		}
		content, err := os.ReadFile(filepath.Join(dir, b.file))
		if err != nil || !json.Valid(content) {
			return nil, errors.Join(fmt.Errorf("syft left no bill of materials for %s", one.platform), err)
		}
		bills = append(bills, b)
	}
	return bills, nil
}
