package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"

	"dagger/slipway/internal/dagger"
	"dagger/slipway/internal/image"
)

// Build builds the images of the services.
//
// It returns one OCI image layout per service, in a folder of its name, and images.json with
// the digests. The same source gives the same digests as on any other machine.
func (m *Slipway) Build(
	ctx context.Context,
	// Build only these services.
	//
	// +optional
	services []string,
	// Platforms to build for, such as linux/arm64; linux/amd64 and linux/arm64
	// by default.
	//
	// +optional
	platforms []string,
) (*dagger.Directory, error) {
	w, err := m.open(ctx)
	if err != nil {
		return nil, err
	}
	defer w.close()
	selected, err := w.platform.Select(services...)
	if err != nil {
		return nil, err
	}
	builder := image.Builder{Source: w.tree, Exec: containers{m.Source}, Lock: w.lock}
	if builder.Platforms, err = image.ParsePlatforms(platforms); err != nil {
		return nil, err
	}
	images, err := builder.Build(ctx, selected)
	if err != nil {
		return nil, err
	}
	const out = "build"
	if err := image.WriteLayouts(out, images); err != nil {
		return nil, err
	}
	descriptions, err := image.Describe(images)
	if err != nil {
		return nil, err
	}
	summary, err := json.MarshalIndent(image.Summary{Images: descriptions}, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(out, "images.json"), summary, 0o644); err != nil {
		return nil, err
	}
	return dag.CurrentModule().Workdir(out), nil
}
