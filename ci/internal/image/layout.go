package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// WriteLayouts writes one OCI image layout per image below dir, named by
// service. A layout that is there already is replaced whole, once the new one
// is complete; a failure leaves it as it was.
// https://github.com/opencontainers/image-spec/blob/main/image-layout.md
func WriteLayouts(dir string, images []Image) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the output directory: %w: name another directory with --out", err)
	}
	for _, img := range images {
		if err := writeLayout(dir, img); err != nil {
			return fmt.Errorf("writing the layout of %s: %w: make room, or name another directory with --out", img.Service, err)
		}
	}
	return nil
}

func writeLayout(dir string, img Image) (err error) {
	partial, err := os.MkdirTemp(dir, "."+img.Service+"-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(partial)) }()
	if err := os.Chmod(partial, 0o755); err != nil {
		return err
	}
	target, err := layout.Write(partial, empty.Index)
	if err != nil {
		return err
	}
	if err := target.AppendIndex(img.Index); err != nil {
		return err
	}
	final := filepath.Join(dir, img.Service)
	if err := os.RemoveAll(final); err != nil {
		return err
	}
	return os.Rename(partial, final)
}

// ReadLayout opens the layout that WriteLayouts wrote for service below dir.
func ReadLayout(dir, service string) (Image, error) {
	index, err := layout.ImageIndexFromPath(filepath.Join(dir, service))
	if err != nil {
		return Image{}, fmt.Errorf("opening the layout of %s: %w", service, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return Image{}, fmt.Errorf("opening the layout of %s: %w", service, err)
	}
	if len(manifest.Manifests) != 1 {
		return Image{}, fmt.Errorf("opening the layout of %s: it has %d images where one is expected", service, len(manifest.Manifests))
	}
	child, err := index.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		return Image{}, fmt.Errorf("opening the layout of %s: %w", service, err)
	}
	return Image{Service: service, Index: child, Baseless: baselessOf(child)}, nil
}

// baselessOf finds in the index itself whether its images lack their base: a
// site that nothing serves.
func baselessOf(index v1.ImageIndex) string {
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) == 0 {
		return ""
	}
	img, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		return ""
	}
	file, err := img.ConfigFile()
	if err != nil || file.Config.Labels[SiteLabel] == "" || len(file.Config.Entrypoint) > 0 {
		return ""
	}
	return "it was built without its base"
}
