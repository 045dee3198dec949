package image

import (
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"dagger/slipway/internal/config/platform"
)

// WithLabel is img with one more label on each platform's image: the same
// files under another digest.
func WithLabel(img Image, label, value string) (Image, error) {
	manifest, err := img.Index.IndexManifest()
	if err != nil {
		return Image{}, fmt.Errorf("labelling %s: %w", img.Service.Name, err)
	}
	var platforms []v1.Platform
	var images []v1.Image
	for _, descriptor := range manifest.Manifests {
		child, err := img.Index.Image(descriptor.Digest)
		if err != nil {
			return Image{}, fmt.Errorf("labelling %s: %w", img.Service.Name, err)
		}
		file, err := child.ConfigFile()
		if err != nil {
			return Image{}, fmt.Errorf("labelling %s: %w", img.Service.Name, err)
		}
		file = file.DeepCopy()
		file.Config.Labels = withLabel(file.Config.Labels, label, value)
		labelled, err := mutate.ConfigFile(child, file)
		if err != nil {
			return Image{}, fmt.Errorf("labelling %s: %w", img.Service.Name, err)
		}
		platforms, images = append(platforms, *descriptor.Platform), append(images, labelled)
	}
	img.Index = newIndex(platforms, images, manifest.Annotations)
	return img, nil
}

// Program is the image of a Go service for one platform with the given binary
// and arguments.
func Program(service platform.Service, target v1.Platform, binary []byte, args ...string) (Image, error) {
	child, err := programImage(cache{}, service, target, binary, args)
	if err != nil {
		return Image{}, fmt.Errorf("building %s: %w", service.Name, err)
	}
	index := newIndex([]v1.Platform{target}, []v1.Image{child}, annotations(service))
	return Image{Service: service, Index: index}, nil
}
