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

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/config/source"
	"dagger/slipway/internal/exec/step"
	"dagger/slipway/internal/report/outcome"
)

// Builder builds images from a source tree.
type Builder struct {
	Source source.Tree
	Exec   step.Executor
	Lock   Lock
	// Platforms of each image. None means [DefaultPlatforms].
	Platforms []v1.Platform
	// Offline assembles sites without their base instead of asking the base's
	// registry.
	Offline bool
	// Whole refuses a site whose base cannot be reached, which is assembled without it
	// otherwise.
	Whole bool
	// Exact refuses whatever is not the commit's. Otherwise only those differences
	// are refused that git status does not tell.
	Exact bool
	// Cache is a folder that keeps binaries and layers between builds, such as
	// [CacheDir]; empty keeps nothing. It never decides what is built.
	Cache string
}

// DefaultPlatforms are those that Fargate runs.
func DefaultPlatforms() []v1.Platform {
	return []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}
}

// HostPlatform is the one that runs as processes of this machine.
func HostPlatform() v1.Platform {
	return v1.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH}
}

// ParsePlatforms reads platforms such as "linux/arm64". One that Fargate does
// not run is a usage error.
func ParsePlatforms(names []string) ([]v1.Platform, error) {
	var platforms []v1.Platform
	for _, name := range names {
		n := slices.IndexFunc(DefaultPlatforms(), func(p v1.Platform) bool { return p.String() == name })
		if n < 0 {
			return nil, outcome.Usagef("platform %q: take linux/amd64, linux/arm64 or both, which Fargate runs", name)
		}
		platforms = append(platforms, DefaultPlatforms()[n])
	}
	return platforms, nil
}

// Build builds the images of services, in their order. All are tried: the
// error joins what went wrong with each.
func (b Builder) Build(ctx context.Context, services []platform.Service) ([]Image, error) {
	if len(b.Platforms) == 0 {
		b.Platforms = DefaultPlatforms()
	}
	images := make([]Image, len(services))
	failures := make([]error, len(services))
	var group errgroup.Group
	group.SetLimit(max(2, runtime.NumCPU()))
	for n, service := range services {
		group.Go(func() error {
			images[n], failures[n] = b.build(ctx, service)
			return nil
		})
	}
	_ = group.Wait() // failures has the errors, all of them
	return images, errors.Join(failures...)
}

func (b Builder) build(ctx context.Context, service platform.Service) (Image, error) {
	if err := b.checkLineEndings(ctx, service); err != nil {
		return Image{}, fmt.Errorf("building %s: %w", service.Name, err)
	}
	assemble := b.goImage
	if service.Kind == platform.Nginx {
		assemble = b.nginxImage
	}
	img, err := assemble(ctx, service)
	if err != nil {
		return Image{}, fmt.Errorf("building %s: %w", service.Name, err)
	}
	return img, nil
}

// checkLineEndings refuses a service whose files are not what the repository
// holds: its image would be another one than on other machines.
func (b Builder) checkLineEndings(ctx context.Context, service platform.Service) error {
	name, err := b.Source.Converted(ctx, service.Path)
	if err != nil || name == "" {
		return err
	}
	return outcome.Usagef("git has changed the line endings of %s here (core.autocrlf), and the image would differ from everybody else's: put \"* -text\" into .gitattributes, or set core.autocrlf to false, and check the files out again", source.Display(path.Join(service.Path, name)))
}

// deciding are the files beside its own that decide what the image of a service is,
// relative to the tree.
func deciding(service platform.Service) []string {
	return []string{platform.ServicesFile, LockFile, path.Join(service.Path, IgnoreFile)}
}

// annotations do not vary from commit to commit.
func annotations(service platform.Service) map[string]string {
	return map[string]string{"org.opencontainers.image.title": service.Name}
}
