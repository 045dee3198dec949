package rehearsal

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/exec/step"
	"dagger/slipway/internal/images/image"
)

// saboteur is the program of a version that fails. It is kept as source
// because a rehearsal has a Go toolchain at hand, and no binary for every
// platform.
//
//go:embed faultyapp/main.go
var faultyAppSource []byte

// versions are the images of one rehearsal, by service.
type imageSets struct {
	previous, next []image.Image
}

// prepare makes both versions of each service: the next one from the tree, the
// previous one from the same files with another label, which is enough for
// another digest. In the scenarios where the new version fails, the victim's
// program is replaced.
func (r *rehearsal) prepareImages(ctx context.Context, built []image.Image) (imageSets, error) {
	v := imageSets{next: append([]image.Image(nil), built...)}
	for _, img := range built {
		previous, err := image.WithLabel(img, "dev.slipway.rehearsal", "previous")
		if err != nil {
			return imageSets{}, err
		}
		v.previous = append(v.previous, previous)
	}
	if !r.options.Scenario.usesFaultyApp() {
		return v, nil
	}
	program, err := r.compileFaultyApp(ctx)
	if err != nil {
		return imageSets{}, err
	}
	for n := range v.next {
		if v.next[n].Service.Name != r.target.Name {
			continue
		}
		v.next[n], err = image.Program(r.target, image.HostPlatform(), program, string(r.options.Scenario))
		if err != nil {
			return imageSets{}, err
		}
	}
	return v, nil
}

func (r *rehearsal) compileFaultyApp(ctx context.Context) ([]byte, error) {
	dir, err := os.MkdirTemp("", "slipway-saboteur-")
	if err != nil {
		return nil, fmt.Errorf("making room for the failing program: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "main.go"), faultyAppSource, 0o600); err != nil {
		return nil, fmt.Errorf("writing the failing program: %w", err)
	}
	host := step.Host{Source: dir}
	result, err := host.Run(ctx, step.Step{
		Name: "compile the failing program",
		Dir:  ".",
		Args: []string{"go", "build", "-trimpath", "-ldflags=-s -w", "-o", step.Out + "/saboteur", "main.go"},
		Env:  map[string]string{"CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "", "GOTMPDIR": step.Out},
	}, dir)
	if err != nil {
		return nil, err
	}
	if result.ExitCode != 0 {
		return nil, fmt.Errorf("compiling the failing program: %s", strings.TrimSpace(result.Stderr))
	}
	return os.ReadFile(filepath.Join(dir, "saboteur"))
}

// chooseVictim is the service that the scenario strikes: the first that has a
// program of its own, else the first.
func chooseTarget(services []platform.Service) platform.Service {
	for _, s := range services {
		if s.Kind == platform.Go {
			return s
		}
	}
	return services[0]
}
