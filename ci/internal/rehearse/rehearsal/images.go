package rehearsal

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
)

// faultyAppSource is the source of the program of a faulty version. A rehearsal has a Go
// toolchain to compile it with.
//
//go:embed faultyapp/main.go
var faultyAppSource []byte

// imageSets are the images of both versions in a rehearsal, one for each service, and the
// stand-ins of the images of sidecars.
type imageSets struct {
	previous, next, sidecars []image.Image
}

// isStandIn reports whether an image takes the place of one that could not be built or
// pulled here.
func isStandIn(img image.Image) bool {
	return img.MissingBase != "" && img.Service.Kind != platform.Nginx
}

// standIn returns a stand-in for an image that was built and that this machine cannot run.
func standIn(ctx context.Context, builder image.Builder, service platform.Service) (image.Image, error) {
	images, err := builder.Build(ctx, []platform.Service{{Name: service.Name, Build: platform.Build{Kind: platform.Prebuilt, Image: service.Name}}})
	if err != nil {
		return image.Image{}, err
	}
	images[0].Service, images[0].MissingBase = service, "it is built, but only root on Linux runs the programs of any image"
	return images[0], nil
}

// sidecarImages returns an entry of kind image for each image of the services' sidecars.
func sidecarImages(services []platform.Service) []platform.Service {
	var entries []platform.Service
	for _, s := range services {
		for _, sidecar := range s.Sidecars {
			entry := platform.Service{Name: fmt.Sprintf("sidecar-%d", len(entries)+1), Build: platform.Build{Kind: platform.Prebuilt, Image: sidecar.Image}}
			if sidecar.Image != "" && !slices.ContainsFunc(entries, func(e platform.Service) bool { return e.Image == sidecar.Image }) {
				entries = append(entries, entry)
			}
		}
	}
	return entries
}

// prepareImages returns the images of both versions. The next one is built from the
// tree; the previous one has the same files and another label, and so another digest. In
// scenarios with a faulty version, the faulty app runs instead of the target's program.
func (r *rehearsal) prepareImages(ctx context.Context, built []image.Image) (imageSets, error) {
	v := imageSets{next: append([]image.Image(nil), built...)}
	for _, img := range built {
		previous, err := image.WithLabel(img, "dev.slipway.rehearsal", "previous")
		if err != nil {
			return imageSets{}, err
		}
		v.previous = append(v.previous, previous)
	}
	if r.options.Scenario.fault() == "" {
		return v, nil
	}
	program, err := r.compileFaultyApp(ctx)
	if err != nil {
		return imageSets{}, err
	}
	for n := range v.next {
		if v.next[n].Service.Repository() != r.target.Repository() {
			continue
		}
		arguments := []string{r.options.Scenario.fault(), strings.Join(r.target.Command, " ")}
		if r.faultByTaskDefinition {
			arguments = nil
		}
		v.next[n], err = image.WithProgram(v.next[n], "faultyapp", program, arguments...)
		if err != nil {
			return imageSets{}, err
		}
	}
	return v, nil
}

func (r *rehearsal) compileFaultyApp(ctx context.Context) ([]byte, error) {
	dir, err := os.MkdirTemp("", "slipway-faultyapp-")
	if err != nil {
		return nil, fmt.Errorf("creating a directory for the faulty app: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "main.go"), faultyAppSource, 0o600); err != nil {
		return nil, fmt.Errorf("writing the faulty app: %w", err)
	}
	host := step.Host{Source: dir}
	result, err := host.Run(ctx, step.Step{
		Name: "compile the faulty app",
		Dir:  ".",
		Args: []string{"go", "build", "-trimpath", "-ldflags=-s -w", "-o", step.Out + "/faultyapp", "main.go"},
		Env:  map[string]string{"CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "", "GOTMPDIR": step.Out},
	}, dir)
	if err != nil {
		return nil, err
	}
	if result.ExitCode != 0 {
		return nil, fmt.Errorf("compiling the faulty app: %s", strings.TrimSpace(result.Stderr))
	}
	return os.ReadFile(filepath.Join(dir, "faultyapp"))
}

// sidecarNotes returns a note for each sidecar with a stand-in.
func sidecarNotes(services []platform.Service) (notes []string) {
	for _, s := range services {
		for _, name := range slices.Sorted(maps.Keys(s.Sidecars)) {
			if image := s.Sidecars[name].Image; image != "" {
				notes = append(notes, fmt.Sprintf("a stand-in runs in place of the image of sidecar %s of %s: a rehearsal does not pull %s", name, s.Name, image))
			}
		}
	}
	return notes
}

// chooseTarget returns the service that faults are injected into: the first web service of
// kind Go, otherwise the first web service, the first worker, or the first entry. One whose
// traffic is shifted comes before others.
func chooseTarget(services []platform.Service) platform.Service {
	for _, suits := range []func(platform.Service) bool{
		func(s platform.Service) bool { return s.ShiftsTraffic() && s.Kind == platform.Go },
		platform.Service.ShiftsTraffic,
		func(s platform.Service) bool { return s.IsWeb() && s.Kind == platform.Go },
		platform.Service.IsWeb,
		func(s platform.Service) bool { return !s.IsJob() },
	} {
		if n := slices.IndexFunc(services, suits); n >= 0 {
			return services[n]
		}
	}
	return services[0]
}
