package supplychain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/exec/tool"
	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// documentFormat identifies a document's format, by the names that its consumers
// use.
type documentFormat struct {
	mediaType types.MediaType
	predicate string // in-toto's name
	cosign    string // cosign's name
}

var (
	spdx = documentFormat{"application/spdx+json", "https://spdx.dev/Document", "spdxjson"}
	slsa = documentFormat{"application/vnd.in-toto+json", provenanceType, "slsaprovenance1"}
)

// Annotations of unsigned attachments: BuildKit's, by which other tools find them,
// and the file name that ORAS writes a layer to.
const predicateKey, titleKey = "in-toto.io/predicate-type", "org.opencontainers.image.title"

// document is a file about an image.
type document struct {
	documentFormat
	name, file string
}

// Attestor attaches bills of materials, provenance and signatures to images.
type Attestor struct {
	Tools
	Registry *registry.Registry
	// Signer signs them; if nil, they are attached unsigned.
	Signer *Signer
	// NoSBOM omits the bill of materials, for use without syft.
	NoSBOM bool
}

// Require checks that the required tools are installed. A missing tool is a usage
// error.
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

// Attest attaches a bill of materials for each platform and the provenance. With a
// signer, it signs both and the image. It returns what it attached, which is
// nothing if all is attached already.
func (a Attestor) Attest(ctx context.Context, s Subject, b Build) (attached []string, err error) {
	dir, cleanup, err := tempDir()
	if err != nil {
		return nil, err
	}
	defer cleanup()
	if a.Signer != nil {
		attached, err = a.signed(ctx, s, b, dir)
	} else {
		attached, err = a.unsigned(ctx, s, b, dir)
	}
	if err != nil {
		return attached, fmt.Errorf("attesting %s: %w", s.Service, err)
	}
	return attached, nil
}

// unsigned attaches the documents without a signature.
func (a Attestor) unsigned(ctx context.Context, s Subject, b Build, dir string) (attached []string, err error) {
	image, err := partial.Descriptor(s.Index)
	if err != nil {
		return nil, fmt.Errorf("reading the index: %w", err)
	}
	referrers, err := a.Registry.Referrers(ctx, s.Repository, image.Digest, "")
	if err != nil {
		return nil, err
	}
	existing := map[string]bool{}
	for _, referrer := range referrers {
		manifest, err := referrer.Manifest()
		if err != nil {
			return nil, fmt.Errorf("reading what is attached to %s: %w", image.Digest, err)
		}
		for _, layer := range manifest.Layers {
			existing[layer.Annotations[titleKey]] = true
		}
	}
	documents, err := a.documents(ctx, s, b, dir, existing)
	if err != nil {
		return nil, err
	}
	for _, d := range documents {
		content, err := os.ReadFile(filepath.Join(dir, d.file))
		if err != nil {
			return attached, fmt.Errorf("reading the %s: %w", d.name, err)
		}
		made, err := newArtifact(*image, d, content)
		if err == nil {
			_, err = a.Registry.Attach(ctx, s.Repository, made)
		}
		if err != nil {
			return attached, err
		}
		attached = append(attached, d.name)
	}
	return attached, nil
}

// signed attaches the documents in cosign bundles, then the signature: a signed
// image always has the documents.
func (a Attestor) signed(ctx context.Context, s Subject, b Build, dir string) (attached []string, err error) {
	digest, err := s.Index.Digest()
	if err != nil {
		return nil, fmt.Errorf("reading the index: %w", err)
	}
	c, err := newCosign(ctx, a.Tools, a.Registry, s.Repository, digest, dir)
	if err != nil {
		return nil, err
	}
	trust, err := c.useSigner(ctx, *a.Signer, b.Run)
	if err != nil {
		return nil, err
	}
	if err := c.verify(ctx, trust); err == nil || outcome.Of(err) != outcome.Refused {
		return nil, err
	}
	documents, err := a.documents(ctx, s, b, dir, nil)
	if err != nil {
		return nil, err
	}
	for _, d := range documents {
		if err := c.sign(ctx, "attest", d.file, "--type="+d.cosign, "--predicate="+step.Out+"/"+d.file); err != nil {
			return attached, err
		}
		attached = append(attached, "signed "+d.name)
	}
	if err := c.sign(ctx, "sign", ""); err != nil {
		return attached, err
	}
	if trust.Key != "" { // the exact identity of a job is known only from its certificate
		if err := c.verify(ctx, trust); err != nil {
			return attached, fmt.Errorf("cosign cannot verify its own signature with this key: create a key with cosign generate-key-pair: %w", err)
		}
	}
	return append(attached, "signature"), nil
}

// documents writes the documents about an image to files in dir, except for
// existing ones. syft describes each platform.
func (a Attestor) documents(ctx context.Context, s Subject, b Build, dir string, existing map[string]bool) (all []document, err error) {
	images, err := s.platforms()
	if err != nil {
		return nil, err
	}
	platforms := []string{}
	write := sync.OnceValue(func() error { return s.writeLayout(dir) })
	for _, one := range images {
		platform := one.Platform.String()
		platforms = append(platforms, platform)
		d := document{spdx, "sbom of " + platform, s.Service + "-" + platformFileName(one) + ".spdx.json"}
		if a.NoSBOM || existing[d.file] {
			continue
		}
		if err := write(); err != nil {
			return nil, err
		}
		describe := step.Step{Inputs: []string{layoutFolder}, Intermediate: []string{layoutFolder}, Env: map[string]string{"SYFT_CHECK_FOR_APP_UPDATE": "false"}}
		err := a.run(ctx, tool.Syft, describe, dir, "scan", "oci-dir:"+step.Out+"/"+layoutFolder, "--quiet", "--output=spdx-json="+step.Out+"/"+d.file,
			"--platform="+platform, "--source-name="+s.Service, "--source-version="+platform)
		if err != nil {
			return nil, err
		}
		content, err := os.ReadFile(filepath.Join(dir, d.file))
		if err != nil || !json.Valid(content) {
			return nil, errors.Join(fmt.Errorf("syft wrote no bill of materials for %s", platform), err)
		}
		all = append(all, d)
	}
	d := document{slsa, "provenance", s.Service + ".intoto.json"}
	if existing[d.file] {
		return all, nil
	}
	provenance := b.provenance(s.Service, platforms)
	if a.Signer == nil { // cosign creates the statement itself
		digest, err := s.Index.Digest()
		if err != nil {
			return nil, fmt.Errorf("reading the index: %w", err)
		}
		provenance = statement(s.Service, digest, provenance)
	}
	content, err := json.Marshal(provenance)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, d.file), content, 0o644)
	}
	if err != nil {
		return nil, fmt.Errorf("writing the provenance: %w", err)
	}
	return append(all, d), nil
}

// artifact is a document in the registry. It contains no time: the same content
// gives the same digest.
type artifact struct {
	manifest []byte
	layer    v1.Layer
}

// The empty configuration of an artifact. go-containerregistry's own images have
// another one and no artifact type.
// https://github.com/opencontainers/image-spec/blob/main/manifest.md#guidelines-for-artifact-usage
const emptyType, emptyContent = "application/vnd.oci.empty.v1+json", "{}"

func newArtifact(subject v1.Descriptor, d document, content []byte) (v1.Image, error) {
	digest, size, err := v1.SHA256(strings.NewReader(emptyContent))
	if err != nil {
		return nil, fmt.Errorf("making an artifact: %w", err)
	}
	made := artifact{layer: static.NewLayer(content, d.mediaType)}
	layer, err := partial.Descriptor(made.layer)
	if err != nil {
		return nil, fmt.Errorf("making an artifact: %w", err)
	}
	layer.Annotations = map[string]string{titleKey: d.file}
	made.manifest, err = json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: string(d.mediaType),
		Config: v1.Descriptor{MediaType: emptyType, Digest: digest, Size: size}, Layers: []v1.Descriptor{*layer},
		Subject:     &v1.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
		Annotations: map[string]string{predicateKey: d.predicate},
	})
	if err != nil {
		return nil, fmt.Errorf("making an artifact: %w", err)
	}
	return partial.CompressedToImage(made)
}

// RawConfigFile and the following methods implement partial.CompressedImageCore.
func (a artifact) RawConfigFile() ([]byte, error) { return []byte(emptyContent), nil }

func (a artifact) MediaType() (types.MediaType, error)                    { return types.OCIManifestSchema1, nil }
func (a artifact) RawManifest() ([]byte, error)                           { return a.manifest, nil }
func (a artifact) LayerByDigest(v1.Hash) (partial.CompressedLayer, error) { return a.layer, nil }
