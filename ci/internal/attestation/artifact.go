package attestation

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dagger/slipway/internal/outcome"
)

// Annotations by which others find the right one of several artifacts without
// reading them.
const (
	// BuildKit's. https://docs.docker.com/build/metadata/attestations/attestation-storage/
	predicateAnnotation = "in-toto.io/predicate-type"
	// cosign's and GitHub's.
	// https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md
	bundleContentAnnotation   = "dev.sigstore.bundle.content"
	bundlePredicateAnnotation = "dev.sigstore.bundle.predicateType"
	// ORAS writes a layer to a file of this name.
	titleAnnotation = "org.opencontainers.image.title"
)

const (
	// emptyType is that of a configuration that says nothing.
	// https://github.com/opencontainers/image-spec/blob/main/manifest.md#guidelines-for-artifact-usage
	emptyType    = "application/vnd.oci.empty.v1+json"
	emptyContent = "{}"
	// contentLimit is the size in bytes of the largest bundle that is read.
	contentLimit = 64 << 20
	// bundlePrefix begins the types of bundles of all versions.
	bundlePrefix = "application/vnd.dev.sigstore.bundle"
)

// artifact is a manifest with one layer about another image. It has no time in it:
// the same content gives the same digest.
type artifact struct {
	manifest []byte
	layers   map[v1.Hash]v1.Layer
}

// newArtifact makes the artifact of a type with some content about an image.
func newArtifact(image v1.Descriptor, kind string, data []byte, file string, annotations map[string]string) (v1.Image, error) {
	made := &artifact{layers: map[v1.Hash]v1.Layer{}}
	config, err := made.add([]byte(emptyContent), emptyType)
	if err != nil {
		return nil, err
	}
	layer, err := made.add(data, types.MediaType(kind))
	if err != nil {
		return nil, err
	}
	if file != "" {
		layer.Annotations = map[string]string{titleAnnotation: file}
	}
	made.manifest, err = json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: kind, Config: config, Layers: []v1.Descriptor{layer},
		Subject: &v1.Descriptor{MediaType: image.MediaType, Digest: image.Digest, Size: image.Size}, Annotations: annotations,
	})
	if err != nil {
		return nil, fmt.Errorf("making an artifact: %w", err)
	}
	return partial.CompressedToImage(made)
}

func (a *artifact) add(data []byte, kind types.MediaType) (v1.Descriptor, error) {
	layer := static.NewLayer(data, kind)
	digest, err := layer.Digest()
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("making an artifact: %w", err)
	}
	a.layers[digest] = layer
	return v1.Descriptor{MediaType: kind, Digest: digest, Size: int64(len(data))}, nil
}

// RawConfigFile and the rest fit partial.CompressedImageCore.
func (a *artifact) RawConfigFile() ([]byte, error)      { return []byte(emptyContent), nil }
func (a *artifact) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }
func (a *artifact) RawManifest() ([]byte, error)        { return a.manifest, nil }
func (a *artifact) LayerByDigest(digest v1.Hash) (partial.CompressedLayer, error) {
	layer, ok := a.layers[digest]
	if !ok {
		return nil, fmt.Errorf("the artifact has no layer %s", digest)
	}
	return layer, nil
}

// artifactType is the type of an artifact; of an older one it is that of its
// configuration.
func artifactType(manifest *v1.Manifest) string {
	if manifest.ArtifactType != "" {
		return manifest.ArtifactType
	}
	return string(manifest.Config.MediaType)
}

func isBundle(kind string) bool { return strings.HasPrefix(kind, bundlePrefix) }

// content reads an artifact's only layer.
func content(image v1.Image) ([]byte, error) {
	layers, err := image.Layers()
	if err != nil {
		return nil, fmt.Errorf("reading an artifact: %w", err)
	}
	if len(layers) != 1 {
		return nil, outcome.Refusedf("it has %d layers and not one", len(layers))
	}
	stream, err := layers[0].Compressed()
	if err != nil {
		return nil, fmt.Errorf("reading an artifact: %w", err)
	}
	defer stream.Close()
	data, err := io.ReadAll(io.LimitReader(stream, contentLimit+1))
	if err != nil {
		return nil, fmt.Errorf("reading an artifact: %w", err)
	}
	if len(data) > contentLimit {
		return nil, outcome.Refusedf("it has more than %d bytes", contentLimit)
	}
	return data, nil
}

// describe is the descriptor of an index.
func describe(index v1.ImageIndex) (v1.Descriptor, error) {
	found, err := partial.Descriptor(index)
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("reading the index: %w", err)
	}
	return *found, nil
}
