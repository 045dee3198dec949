package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
)

// builtImage is an image whose layers are open files, so that its directory can be
// removed.
type builtImage struct {
	manifest, config []byte
	mediaType        types.MediaType
	layers           map[v1.Hash]builtLayer
}

// builtLayer is a layer in an open file.
type builtLayer struct {
	descriptor v1.Descriptor
	file       *os.File // closed by the garbage collector
}

// openBuilt opens the image that a builder wrote to a directory: an OCI layout, or an
// archive.
func openBuilt(dir string) (v1.Image, error) {
	place := filepath.Join(dir, LayoutName)
	if _, err := os.Stat(place); err != nil {
		if err := unpackArchive(filepath.Join(dir, ArchiveName), place); err != nil {
			return nil, err
		}
	}
	index, err := layout.ImageIndexFromPath(place)
	if err != nil {
		return nil, err
	}
	img, err := onlyImage(index)
	if err != nil {
		return nil, err
	}
	manifest, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	b := &builtImage{mediaType: manifest.MediaType, layers: map[v1.Hash]builtLayer{}}
	if b.mediaType == "" {
		b.mediaType = types.OCIManifestSchema1
	}
	if b.manifest, err = img.RawManifest(); err != nil {
		return nil, err
	}
	if b.config, err = img.RawConfigFile(); err != nil {
		return nil, err
	}
	for _, descriptor := range manifest.Layers {
		file, err := os.Open(filepath.Join(place, "blobs", descriptor.Digest.Algorithm, descriptor.Digest.Hex))
		if err != nil {
			return nil, fmt.Errorf("opening layer %s: %w", descriptor.Digest, source.WithoutPath(err))
		}
		b.layers[descriptor.Digest] = builtLayer{descriptor, file}
	}
	return partial.CompressedToImage(b)
}

// onlyImage returns the one image of an index, or of an index in it.
func onlyImage(index v1.ImageIndex) (v1.Image, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var images []v1.Image
	for _, descriptor := range manifest.Manifests {
		var img v1.Image
		switch {
		case descriptor.Platform != nil && descriptor.Platform.OS == "unknown": // an attestation
			continue
		case descriptor.MediaType.IsIndex():
			var inner v1.ImageIndex
			if inner, err = index.ImageIndex(descriptor.Digest); err == nil {
				img, err = onlyImage(inner)
			}
		default:
			img, err = index.Image(descriptor.Digest)
		}
		if err != nil {
			return nil, err
		}
		images = append(images, img)
	}
	if len(images) != 1 {
		return nil, fmt.Errorf("the builder wrote %d images where one is expected", len(images))
	}
	return images[0], nil
}

// unpackArchive writes the image of an archive as an OCI layout.
func unpackArchive(archive, place string) error {
	img, err := tarball.ImageFromPath(archive, nil)
	if err == nil { // the format of docker save
		target, err := layout.Write(place, empty.Index)
		if err != nil {
			return err
		}
		return target.AppendImage(img)
	}
	file, openErr := os.Open(archive)
	if openErr != nil {
		return errors.New("the builder wrote no image")
	}
	defer file.Close()
	if err := os.Mkdir(place, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(place)
	if err != nil {
		return err
	}
	defer root.Close()
	for reader := tar.NewReader(file); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		name := filepath.FromSlash(path.Clean(header.Name))
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		to, err := root.Create(name)
		if err != nil {
			return err
		}
		_, err = io.Copy(to, reader) //nolint:gosec // a builder of this machine wrote it
		if err := errors.Join(err, to.Close()); err != nil {
			return err
		}
	}
}

func (b *builtImage) RawManifest() ([]byte, error)        { return b.manifest, nil }
func (b *builtImage) RawConfigFile() ([]byte, error)      { return b.config, nil }
func (b *builtImage) MediaType() (types.MediaType, error) { return b.mediaType, nil }
func (b *builtImage) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	if layer, ok := b.layers[h]; ok {
		return layer, nil
	}
	return nil, fmt.Errorf("the image has no layer %s", h)
}

func (l builtLayer) Digest() (v1.Hash, error)            { return l.descriptor.Digest, nil }
func (l builtLayer) Size() (int64, error)                { return l.descriptor.Size, nil }
func (l builtLayer) MediaType() (types.MediaType, error) { return l.descriptor.MediaType, nil }
func (l builtLayer) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(l.file, 0, l.descriptor.Size)), nil
}
