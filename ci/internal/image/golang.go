package image

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"dagger/slipway/internal/platform"
	"dagger/slipway/internal/step"
)

// nobody is the numeric user and group that Go services run as, the one of
// the distroless images.
const nobody = "65532:65532"

// goImage compiles the service for each platform and puts the static binary,
// alone, on an empty base.
func (b Builder) goImage(ctx context.Context, service platform.Service) (Image, error) {
	images := make([]v1.Image, len(b.Platforms))
	group, ctx := errgroup.WithContext(ctx)
	for n, target := range b.Platforms {
		group.Go(func() error {
			binary, err := b.compile(ctx, service, target)
			if err != nil {
				return err
			}
			images[n], err = programImage(service, target, binary, nil)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Image{}, err
	}
	return Image{Service: service.Name, Index: newIndex(b.Platforms, images, annotations(service))}, nil
}

// programImage is a static binary alone on an empty base.
func programImage(service platform.Service, target v1.Platform, binary []byte, args []string) (v1.Image, error) {
	layer, err := newLayer([]file{{path: "server", mode: 0o555, data: binary, time: time.Unix(0, 0)}})
	if err != nil {
		return nil, err
	}
	return addLayer(scratch(), layer, target, func(c *v1.Config) {
		c.Entrypoint, c.Cmd = []string{"/server"}, args
		c.User = nobody
		c.WorkingDir = "/"
		c.ExposedPorts = map[string]struct{}{strconv.Itoa(service.Port) + "/tcp": {}}
	})
}

// CompileStep is the one definition of how a Go service is compiled: static,
// without paths or revision, alone in its module, so that nothing but the
// service's folder and the toolchain decides the bytes.
func (b Builder) CompileStep(service platform.Service, target v1.Platform) step.Step {
	return step.Step{
		Name:  fmt.Sprintf("compile %s for %s", service.Name, target),
		Image: b.Lock.Reference("go"),
		Dir:   service.Path,
		Args: []string{
			"go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w",
			"-o", step.Out + "/server", b.mainPackage(service),
		},
		Env: map[string]string{
			"CGO_ENABLED":  "0",
			"GOOS":         target.OS,
			"GOARCH":       target.Architecture,
			"GOAMD64":      "v1",
			"GOARM64":      "v8.0",
			"GOWORK":       "off",
			"GOFLAGS":      "-mod=readonly",
			"GOEXPERIMENT": "",
			// Removed with the outputs, when go is killed, too.
			"GOTMPDIR": step.Out,
		},
		Caches:  step.GoCaches(),
		Include: []string{service.Path},
	}
}

// mainPackage is cmd/server where the service has it, else its root.
func (b Builder) mainPackage(service platform.Service) string {
	folder := filepath.Join(b.Source.Dir, filepath.FromSlash(path.Join(service.Path, "cmd/server")))
	if info, err := os.Stat(folder); err == nil && info.IsDir() {
		return "./cmd/server"
	}
	return "."
}

func (b Builder) compile(ctx context.Context, service platform.Service, target v1.Platform) ([]byte, error) {
	out, err := os.MkdirTemp("", "slipway-build-")
	if err != nil {
		return nil, fmt.Errorf("making room for the build: %w", err)
	}
	defer os.RemoveAll(out)
	invocation := b.CompileStep(service, target)
	result, err := b.Exec.Run(ctx, invocation, out)
	if err != nil {
		return nil, err
	}
	if result.ExitCode != 0 {
		return nil, fmt.Errorf("go build for %s ended with exit code %d:\n%s", target, result.ExitCode, strings.TrimSpace(result.Stderr))
	}
	binary, err := os.ReadFile(filepath.Join(out, "server"))
	if err != nil {
		return nil, fmt.Errorf("reading what go build made for %s: %w", target, err)
	}
	return binary, nil
}
