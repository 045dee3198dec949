package image

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// prebuiltImage returns an image of another registry, to be copied: the images of all
// platforms, unchanged, in a new index. The index of the registry may have more
// platforms and attestations, whose changes are not the service's. Layers are read when
// needed.
func (b Builder) prebuiltImage(ctx context.Context, service platform.Service) (Image, error) {
	if b.Offline {
		return b.standIn(service, "a rehearsal does not pull "+service.Image)
	}
	ref, err := name.ParseReference(service.Image)
	if err != nil {
		return Image{}, outcome.Usagef("image %q in %s: %w", service.Image, platform.ServicesFile, err)
	}
	found, digest, err := pullPrebuilt(ctx, ref)
	if err != nil {
		return Image{}, prebuiltError(ctx, ref, err)
	}
	var platforms []v1.Platform
	var images []v1.Image
	for _, target := range b.Platforms {
		n := slices.IndexFunc(found, func(p platformImage) bool { return p.platform.Satisfies(target) })
		if n >= 0 {
			platforms, images = append(platforms, target), append(images, found[n].Image)
		}
	}
	img := Image{Service: service, Index: newIndex(platforms, images, annotations(service)), Bases: []Pin{{Reference: service.Image, Digest: digest.String()}}}
	has := make([]v1.Platform, len(found))
	for n, one := range found {
		has[n] = one.platform
	}
	if err := b.checkArchitectures(service, platforms, "image "+service.Image+" is for "+strings.Join(platformNames(has), ", ")); err != nil {
		return Image{}, err
	}
	img.Note = b.missingPlatforms(platforms, "the registry has no others")
	return img, nil
}

// platformImage is the image of one platform.
type platformImage struct {
	v1.Image
	platform v1.Platform
}

// pullPrebuilt opens the images that a reference names, and returns its digest.
func pullPrebuilt(ctx context.Context, ref name.Reference) (found []platformImage, digest v1.Hash, err error) {
	desc, err := remote.Get(ref, remoteOptions(ctx, registry.NewTransport())...)
	if err != nil {
		return nil, digest, err
	}
	if !desc.MediaType.IsIndex() {
		img, err := desc.Image()
		if err != nil {
			return nil, digest, err
		}
		config, err := img.ConfigFile()
		if err != nil {
			return nil, digest, err
		}
		return []platformImage{{img, v1.Platform{OS: config.OS, Architecture: config.Architecture}}}, desc.Digest, nil
	}
	index, err := desc.ImageIndex()
	if err != nil {
		return nil, digest, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, digest, err
	}
	for _, descriptor := range manifest.Manifests {
		// Attestations have the platform unknown/unknown.
		if descriptor.Platform == nil || descriptor.Platform.OS == "unknown" || !descriptor.MediaType.IsImage() {
			continue
		}
		img, err := index.Image(descriptor.Digest)
		if err != nil {
			return nil, digest, err
		}
		found = append(found, platformImage{img, *descriptor.Platform})
	}
	return found, desc.Digest, nil
}

// prebuiltError explains in one line why an image was not pulled.
func prebuiltError(ctx context.Context, ref name.Reference, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("pulling image %s: %w", ref, context.Cause(ctx))
	}
	var response *transport.Error
	if !errors.As(err, &response) {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return fmt.Errorf("pulling image %s: its registry %w: %s: check the network and the proxy", ref, errUnreachable, first)
	}
	switch response.StatusCode {
	case http.StatusNotFound:
		return fmt.Errorf("pulling image %s: its registry has no such image: correct image in %s", ref, platform.ServicesFile)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("pulling image %s: its registry requires a login or has no such image: run docker login %s, or correct image in %s", ref, ref.Context().RegistryStr(), platform.ServicesFile)
	}
	return fmt.Errorf("pulling image %s: its registry returned %d %s", ref, response.StatusCode, http.StatusText(response.StatusCode))
}

// architectures maps AWS's names of architectures to platforms.
var architectures = map[string]v1.Platform{"X86_64": DefaultPlatforms()[0], "ARM64": DefaultPlatforms()[1]}

// required reports whether the entries of an image need it for a platform.
func required(service platform.Service, target v1.Platform) bool {
	return slices.ContainsFunc(service.ImageOf().Architectures, func(a string) bool { return architectures[a].Satisfies(target) })
}

// checkArchitectures refuses an image that lacks the platform of an entry. has describes
// the platforms that it has.
func (b Builder) checkArchitectures(service platform.Service, platforms []v1.Platform, has string) error {
	lacks := func(target v1.Platform) bool {
		return !slices.ContainsFunc(platforms, func(p v1.Platform) bool { return p.Satisfies(target) })
	}
	for _, target := range b.Platforms {
		if required(service, target) && lacks(target) {
			return outcome.Usagef("%s, but %s runs on %s: correct architecture in %s, or choose another image", has, service.Name, target, platform.ServicesFile)
		}
	}
	if len(platforms) == 0 {
		return outcome.Usagef("%s, but not for %s: choose another image", has, strings.Join(platformNames(b.Platforms), " or "))
	}
	return nil
}

// missingPlatforms returns a note if an image lacks platforms that were to be built.
func (b Builder) missingPlatforms(platforms []v1.Platform, reason string) string {
	if len(platforms) == len(b.Platforms) {
		return ""
	}
	return fmt.Sprintf("for %s only: %s", strings.Join(platformNames(platforms), ", "), reason)
}
