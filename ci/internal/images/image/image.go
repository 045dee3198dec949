// Package image assembles the services' OCI images from files, without a
// Dockerfile and without a Docker daemon.
//
// The same source gives the same digest on every machine: entries are sorted,
// times are fixed, owners are numeric, and no revision is inside. "Unchanged"
// is therefore a fact that costs one comparison of digests.
package image

import (
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
)

// SiteLabel is the label of a static site's image. Its value is the folder with the
// site's files.
const SiteLabel = "dev.slipway.site"

// Image is the image of one service for all its platforms.
type Image struct {
	Service platform.Service
	Index   v1.ImageIndex
	// MissingBase is why the image lacks its base image; empty if it is complete.
	// Without its base, the image has the service's files and no server for them:
	// use it for rehearsals only.
	MissingBase string
	// Bases are the images that it was made from, as far as they are known by digest.
	Bases []Pin
	// Note is why this build's digest differs from that of another machine; empty
	// if it does not.
	Note string
}

// Digest returns the digest of the index.
func (i Image) Digest() (v1.Hash, error) { return i.Index.Digest() }

// Platforms lists the platforms, such as "linux/amd64", in the index's order.
func (i Image) Platforms() ([]string, error) {
	manifest, err := i.Index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("reading the index of %s: %w", i.Service.Name, err)
	}
	var platforms []string
	for _, descriptor := range manifest.Manifests {
		platforms = append(platforms, descriptor.Platform.String())
	}
	return platforms, nil
}

// Size returns the number of bytes that the image takes in a registry: compressed
// layers, configurations and manifests of all platforms, shared ones once.
func (i Image) Size() (int64, error) {
	total, err := i.Index.Size()
	if err != nil {
		return 0, err
	}
	manifest, err := i.Index.IndexManifest()
	if err != nil {
		return 0, err
	}
	seen := map[v1.Hash]bool{}
	for _, descriptor := range manifest.Manifests {
		child, err := i.Index.Image(descriptor.Digest)
		if err != nil {
			return 0, err
		}
		parts, err := child.Manifest()
		if err != nil {
			return 0, err
		}
		total += descriptor.Size
		for _, blob := range append(parts.Layers, parts.Config) {
			if !seen[blob.Digest] {
				seen[blob.Digest] = true
				total += blob.Size
			}
		}
	}
	return total, nil
}

// newIndex returns an index of the images of several platforms.
func newIndex(platforms []v1.Platform, images []v1.Image, annotations map[string]string) v1.ImageIndex {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for n, img := range images {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        img,
			Descriptor: v1.Descriptor{Platform: &platforms[n]},
		})
	}
	return mutate.Annotations(index, annotations).(v1.ImageIndex)
}

// addLayer adds a layer and configuration to base. History and time are fixed, so
// that the same input gives the same digest.
func addLayer(base v1.Image, layer v1.Layer, platform v1.Platform, configure func(*v1.Config)) (v1.Image, error) {
	img, err := mutate.Append(base, mutate.Addendum{
		Layer:   layer,
		History: v1.History{CreatedBy: "slipway build"},
	})
	if err != nil {
		return nil, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Variant = platform.OS, platform.Architecture, platform.Variant
	configure(&file.Config)
	return mutate.ConfigFile(img, file)
}

// scratch returns the empty image with OCI media types.
func scratch() v1.Image {
	return mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
}

// WithLabel returns img with a further label on each platform's image: the same
// files with another digest.
func WithLabel(img Image, label, value string) (Image, error) {
	return img.transform("labelling", func(child v1.Image, _ v1.Platform) (v1.Image, error) {
		file, err := child.ConfigFile()
		if err != nil {
			return nil, err
		}
		file = file.DeepCopy()
		file.Config.Labels = withLabel(file.Config.Labels, label, value)
		return mutate.ConfigFile(child, file)
	})
}

// WithProgram returns img with a further program at its root. With arguments, it is the entry
// point of its containers, with these before their own, and a stand-in becomes an image.
func WithProgram(img Image, name string, program []byte, args ...string) (Image, error) {
	layer, err := newLayer(cache{}, []file{{path: name, mode: 0o555, data: program, time: time.Unix(0, 0)}})
	if err != nil {
		return Image{}, fmt.Errorf("adding %s to %s: %w", name, img.Service.Name, err)
	}
	return img.transform("adding "+name+" to", func(child v1.Image, platform v1.Platform) (v1.Image, error) {
		return addLayer(child, layer, platform, func(c *v1.Config) {
			if len(args) > 0 {
				c.Entrypoint = append([]string{"/" + name}, args...)
				delete(c.Labels, StandInLabel)
			}
		})
	})
}

// transform returns img with a change to each platform's image.
func (i Image) transform(doing string, change func(v1.Image, v1.Platform) (v1.Image, error)) (Image, error) {
	manifest, err := i.Index.IndexManifest()
	if err != nil {
		return Image{}, fmt.Errorf("%s %s: %w", doing, i.Service.Name, err)
	}
	var platforms []v1.Platform
	var images []v1.Image
	for _, descriptor := range manifest.Manifests {
		child, err := i.Index.Image(descriptor.Digest)
		if err != nil {
			return Image{}, fmt.Errorf("%s %s: %w", doing, i.Service.Name, err)
		}
		changed, err := change(child, *descriptor.Platform)
		if err != nil {
			return Image{}, fmt.Errorf("%s %s: %w", doing, i.Service.Name, err)
		}
		platforms, images = append(platforms, *descriptor.Platform), append(images, changed)
	}
	i.Index = newIndex(platforms, images, manifest.Annotations)
	return i, nil
}
