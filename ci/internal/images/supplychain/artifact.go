package supplychain

import (
	"encoding/json"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// emptyType is that of a configuration that says nothing. go-containerregistry's
// own images have another, and no artifact type.
// https://github.com/opencontainers/image-spec/blob/main/manifest.md#guidelines-for-artifact-usage
const emptyType, emptyContent = "application/vnd.oci.empty.v1+json", "{}"

// layered is a manifest with its layers. It has no time in it: the same content
// gives the same digest.
type layered struct {
	manifest []byte
	layers   map[v1.Hash]v1.Layer
}

// artifact makes the artifact of a type with some content about an image.
func artifact(image v1.Descriptor, kind string, data []byte, file string, annotations map[string]string) (v1.Image, error) {
	made := &layered{layers: map[v1.Hash]v1.Layer{}}
	config, err := made.add([]byte(emptyContent), emptyType)
	if err != nil {
		return nil, err
	}
	layer, err := made.add(data, types.MediaType(kind))
	if err != nil {
		return nil, err
	}
	layer.Annotations = map[string]string{title: file}
	made.manifest, err = json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: kind, Config: config, Layers: []v1.Descriptor{layer},
		Subject: &v1.Descriptor{MediaType: image.MediaType, Digest: image.Digest, Size: image.Size}, Annotations: annotations,
	})
	if err != nil {
		return nil, fmt.Errorf("making an artifact: %w", err)
	}
	return partial.CompressedToImage(made)
}

func (l *layered) add(data []byte, kind types.MediaType) (v1.Descriptor, error) {
	layer := static.NewLayer(data, kind)
	digest, err := layer.Digest()
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("making an artifact: %w", err)
	}
	l.layers[digest] = layer
	return v1.Descriptor{MediaType: kind, Digest: digest, Size: int64(len(data))}, nil
}

// RawConfigFile and the rest fit partial.CompressedImageCore.
func (l *layered) RawConfigFile() ([]byte, error)      { return []byte(emptyContent), nil }
func (l *layered) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }
func (l *layered) RawManifest() ([]byte, error)        { return l.manifest, nil }
func (l *layered) LayerByDigest(digest v1.Hash) (partial.CompressedLayer, error) {
	layer, ok := l.layers[digest]
	if !ok {
		return nil, fmt.Errorf("the artifact has no layer %s", digest)
	}
	return layer, nil
}
