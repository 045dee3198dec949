package image

import (
	"context"
	"errors"
	"fmt"
	"path"
	"runtime"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Builder builds images from a source tree.
type Builder struct {
	Source source.Tree
	Exec   step.Executor
	Lock   Lock
	// Platforms lists the platforms of each image; if empty, [DefaultPlatforms].
	Platforms []v1.Platform
	// Offline builds sites without their base image, replaces prebuilt images by
	// stand-ins, and sends no request to their registries. A Dockerfile that cannot be
	// built without a builder or a registry gets a stand-in, too.
	Offline bool
	// RequireBase refuses a site whose base image cannot be reached. Otherwise it is
	// built without.
	RequireBase bool
	// RequireCommitted refuses any file that differs from the commit. Otherwise
	// only differences that git status does not show are refused.
	RequireCommitted bool
	// Published, if set, returns the image that a tag names in a repository, so that a
	// Dockerfile whose inputs are unchanged is not built again; nil without one.
	Published func(ctx context.Context, repository, tag string) (v1.ImageIndex, error)
	// Cache is a directory that keeps binaries and layers between builds, such as
	// [CacheDir]. If empty, nothing is kept. It never affects the result.
	Cache string
}

// DefaultPlatforms returns the platforms that Fargate runs.
func DefaultPlatforms() []v1.Platform {
	return []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}
}

// HostPlatform returns the platform of this machine.
func HostPlatform() v1.Platform {
	return v1.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH}
}

// ParsePlatforms parses platforms such as "linux/arm64", in any order. It returns them in
// the order of [DefaultPlatforms], because the order changes the digest. A platform that
// Fargate does not run is a usage error.
func ParsePlatforms(names []string) ([]v1.Platform, error) {
	for _, name := range names {
		if !slices.ContainsFunc(DefaultPlatforms(), func(p v1.Platform) bool { return p.String() == name }) {
			return nil, outcome.Usagef("invalid platform %q: want linux/amd64, linux/arm64 or both", name)
		}
	}
	return slices.DeleteFunc(DefaultPlatforms(), func(p v1.Platform) bool { return !slices.Contains(names, p.String()) }), nil
}

// Build builds the images of services, in their order. Services with equal builds share
// one, which is built once. A failure does not stop the others: the error joins all of
// them.
func (b Builder) Build(ctx context.Context, services []platform.Service) ([]Image, error) {
	if len(b.Platforms) == 0 {
		b.Platforms = DefaultPlatforms()
	}
	images := make([]Image, len(services))
	failures := make([]error, len(services))
	first := map[string]int{}
	var group errgroup.Group
	group.SetLimit(max(2, runtime.NumCPU()))
	for n, service := range services {
		if _, shared := first[service.Key()]; shared {
			continue
		}
		first[service.Key()] = n
		group.Go(func() error {
			images[n], failures[n] = b.build(ctx, service)
			return nil
		})
	}
	_ = group.Wait() // failures has all errors
	for n, service := range services {
		images[n] = images[first[service.Key()]]
		images[n].Service = service
	}
	return images, errors.Join(failures...)
}

func (b Builder) build(ctx context.Context, service platform.Service) (Image, error) {
	assemble := map[platform.Kind]func(context.Context, platform.Service) (Image, error){
		platform.Go: b.goImage, platform.Nginx: b.nginxImage, platform.Dockerfile: b.dockerfileImage, platform.Prebuilt: b.prebuiltImage,
	}[service.Kind]
	if err := b.checkLineEndings(ctx, service); err != nil {
		return Image{}, fmt.Errorf("building %s: %w", service.Name, err)
	}
	img, err := assemble(ctx, service)
	if err != nil {
		return Image{}, fmt.Errorf("building %s: %w", service.Name, err)
	}
	return img, nil
}

// checkLineEndings refuses a service whose line endings git converted on checkout:
// its image would differ from one built on another machine.
func (b Builder) checkLineEndings(ctx context.Context, service platform.Service) error {
	if service.Kind == platform.Prebuilt {
		return nil
	}
	name, err := b.Source.ConvertedLineEndings(ctx, service.Path)
	if err != nil || name == "" {
		return err
	}
	return outcome.Usagef("git converted the line endings of %s (core.autocrlf), so the image would differ from that of other machines: put \"* -text\" in .gitattributes or set core.autocrlf to false, then check the files out again", source.Display(path.Join(service.Path, name)))
}

// inputFiles returns the files outside the service's own that affect its image,
// relative to the tree.
func inputFiles(service platform.Service) []string {
	return []string{platform.ServicesFile, LockFile, path.Join(service.Path, IgnoreFile)}
}

// annotations returns the annotations of a service's image, which are the same for
// every commit.
func annotations(service platform.Service) map[string]string {
	return map[string]string{"org.opencontainers.image.title": service.ImageOf().Name}
}
