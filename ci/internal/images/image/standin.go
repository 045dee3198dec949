package image

import (
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
)

// StandInLabel is the label of an image that takes the place of one that cannot be
// built or pulled: see [Builder.Offline]. The embedded AWS runs its containers itself.
const StandInLabel = "dev.slipway.standin"

// standIn returns an empty image in place of a service's. The reason is why the image is
// missing.
func (b Builder) standIn(service platform.Service, reason string) (Image, error) {
	images := make([]v1.Image, len(b.Platforms))
	layer, err := newLayer(cache{b.Cache}, nil)
	if err != nil {
		return Image{}, err
	}
	for n, target := range b.Platforms {
		images[n], err = addLayer(scratch(), layer, target, func(c *v1.Config) {
			c.Labels = map[string]string{StandInLabel: "true"}
			c.ExposedPorts = exposedPorts(service)
		})
		if err != nil {
			return Image{}, err
		}
	}
	return Image{Service: service, Index: newIndex(b.Platforms, images, annotations(service)), MissingBase: reason}, nil
}

// WithoutBaseHint returns what an image with [Image.MissingBase] lacks, and where to build
// it.
func (i Image) WithoutBaseHint() string {
	if i.Service.Kind == platform.Nginx {
		return "has no web server: build it where the registry of its base image can be reached"
	}
	return "is only a stand-in: build it where it can be pulled or built"
}
