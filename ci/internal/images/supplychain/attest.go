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

	"dagger/slipway/internal/exec/step"
	"dagger/slipway/internal/exec/tool"
	"dagger/slipway/internal/images/registry"
	"dagger/slipway/internal/report/outcome"
)

// format is how a document is written, as those name it who look for it.
type format struct {
	mediaType types.MediaType
	predicate string // in-toto's name
	cosign    string // cosign's name
}

var (
	spdx = format{"application/spdx+json", "https://spdx.dev/Document", "spdxjson"}
	slsa = format{"application/vnd.in-toto+json", provenanceType, "slsaprovenance1"}
)

// The annotations of what is attached unsigned: BuildKit's, by which others find the
// right one, and the name of the file that ORAS writes a layer to.
const predicateKey, titleKey = "in-toto.io/predicate-type", "org.opencontainers.image.title"

// document is a file about an image.
type document struct {
	format
	name, file string
}

// Attestor attaches what there is to say about images.
type Attestor struct {
	Tools
	Registry *registry.Registry
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
// where it is there already.
func (a Attestor) Attest(ctx context.Context, s Subject, b Build) (attached []string, err error) {
	dir, done, err := room()
	if err != nil {
		return nil, err
	}
	defer done()
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

// unsigned attaches the documents as they are.
func (a Attestor) unsigned(ctx context.Context, s Subject, b Build, dir string) (attached []string, err error) {
	image, err := partial.Descriptor(s.Index)
	if err != nil {
		return nil, fmt.Errorf("reading the index: %w", err)
	}
	held, err := a.Registry.Referrers(ctx, s.Repository, image.Digest, "")
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, one := range held {
		manifest, err := one.Manifest()
		if err != nil {
			return nil, fmt.Errorf("reading what is attached to %s: %w", image.Digest, err)
		}
		for _, layer := range manifest.Layers {
			there[layer.Annotations[titleKey]] = true
		}
	}
	documents, err := a.documents(ctx, s, b, dir, there)
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

// signed attaches the documents in bundles of cosign's, and the signature: last, so
// that a signed image has the rest.
func (a Attestor) signed(ctx context.Context, s Subject, b Build, dir string) (attached []string, err error) {
	digest, err := s.Index.Digest()
	if err != nil {
		return nil, fmt.Errorf("reading the index: %w", err)
	}
	c, err := newCosign(ctx, a.Tools, a.Registry, s.Repository, digest, dir)
	if err != nil {
		return nil, err
	}
	own, err := c.signAs(ctx, *a.Signer, b.Run)
	if err != nil {
		return nil, err
	}
	if err := c.verify(ctx, own); err == nil || outcome.Of(err) != outcome.Refused {
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
	if own.Key != "" { // who a job is, only its certificate tells for certain
		if err := c.verify(ctx, own); err != nil {
			return attached, fmt.Errorf("cosign does not find what it has signed with this key: make one with cosign generate-key-pair: %w", err)
		}
	}
	return append(attached, "signature"), nil
}

// documents writes the documents about an image to files in dir, but for those that
// are there: syft describes each platform.
func (a Attestor) documents(ctx context.Context, s Subject, b Build, dir string, there map[string]bool) (all []document, err error) {
	images, err := s.platforms()
	if err != nil {
		return nil, err
	}
	platforms := []string{}
	write := sync.OnceValue(func() error { return s.write(dir) })
	for _, one := range images {
		platform := one.Platform.String()
		platforms = append(platforms, platform)
		d := document{spdx, "sbom of " + platform, s.Service + "-" + fileOf(one) + ".spdx.json"}
		if a.NoSBOM || there[d.file] {
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
			return nil, errors.Join(fmt.Errorf("syft left no bill of materials for %s", platform), err)
		}
		all = append(all, d)
	}
	d := document{slsa, "provenance", s.Service + ".intoto.json"}
	if there[d.file] {
		return all, nil
	}
	said := b.provenance(s.Service, platforms)
	if a.Signer == nil { // cosign makes the statement itself
		digest, err := s.Index.Digest()
		if err != nil {
			return nil, fmt.Errorf("reading the index: %w", err)
		}
		said = statement(s.Service, digest, said)
	}
	content, err := json.Marshal(said)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, d.file), content, 0o644) //nolint:gosec // it is published
	}
	if err != nil {
		return nil, fmt.Errorf("writing the provenance: %w", err)
	}
	return append(all, d), nil
}

// artifact is a document as the registry has it. It has no time in it: the same
// content gives the same digest.
type artifact struct {
	manifest []byte
	layer    v1.Layer
}

// The configuration of an artifact says nothing. go-containerregistry's own images have
// another, and no artifact type.
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

// RawConfigFile and the rest fit partial.CompressedImageCore.
func (a artifact) RawConfigFile() ([]byte, error)                         { return []byte(emptyContent), nil }
func (a artifact) MediaType() (types.MediaType, error)                    { return types.OCIManifestSchema1, nil }
func (a artifact) RawManifest() ([]byte, error)                           { return a.manifest, nil }
func (a artifact) LayerByDigest(v1.Hash) (partial.CompressedLayer, error) { return a.layer, nil }
