package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// WriteLayouts writes one OCI image layout per image below dir, named by service.
// It replaces an existing layout once the new one is complete; after a failure the
// old one is unchanged. Any other existing file is a usage error and is not
// touched.
// https://github.com/opencontainers/image-spec/blob/main/image-layout.md
func WriteLayouts(dir string, images []Image) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the output directory: %w: choose another directory with --out", err)
	}
	for _, img := range images {
		if place := filepath.Join(dir, img.Service.Name); !replaceable(place) {
			return outcome.Usagef("%s is not an OCI layout and is left unchanged: choose another directory with --out", place)
		}
	}
	for _, img := range images {
		if err := writeLayout(dir, img); err != nil {
			return fmt.Errorf("writing the layout of %s: %w: free disk space, or choose another directory with --out", img.Service.Name, err)
		}
	}
	return nil
}

func writeLayout(dir string, img Image) (err error) {
	partial, err := os.MkdirTemp(dir, "."+img.Service.Name+"-")
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
	return replace(partial, filepath.Join(dir, img.Service.Name))
}

// replaceable reports whether a layout can be written to a path: it is free, empty
// or has another layout.
func replaceable(place string) bool {
	before, err := os.Lstat(place)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	entries, err := os.ReadDir(place)
	if err == nil && len(entries) == 0 || slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == "oci-layout" }) {
		return true
	}
	// A concurrent build may just have removed it.
	after, err := os.Lstat(place)
	return err != nil || !os.SameFile(before, after)
}

// replaceTries is how often replace retries when another build writes to the same
// path.
const replaceTries = 10

// replace renames the directory partial to final. An existing directory is first
// renamed and then removed, so that the path is free for an instant only. Of
// several concurrent processes the last one wins, and the result is always
// complete.
func replace(partial, final string) error {
	err := os.Rename(partial, final)
	for n := 0; n < replaceTries && (errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTDIR)); n++ {
		old := fmt.Sprintf("%s.old-%d", partial, n)
		if err := os.Rename(final, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.RemoveAll(old); err != nil {
			return err
		}
		err = os.Rename(partial, final)
	}
	return err
}

// ReadLayout opens the layout of a service that WriteLayouts wrote below dir.
func ReadLayout(dir string, service platform.Service) (Image, error) {
	index, err := layout.ImageIndexFromPath(filepath.Join(dir, service.Name))
	if err != nil {
		return Image{}, fmt.Errorf("opening the layout of %s: %w", service.Name, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return Image{}, fmt.Errorf("opening the layout of %s: %w", service.Name, err)
	}
	if len(manifest.Manifests) != 1 {
		return Image{}, fmt.Errorf("opening the layout of %s: it has %d images where one is expected", service.Name, len(manifest.Manifests))
	}
	child, err := index.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		return Image{}, fmt.Errorf("opening the layout of %s: %w", service.Name, err)
	}
	return Image{Service: service, Index: child, MissingBase: missingBaseOf(child)}, nil
}

// missingBaseOf returns why the images of an index are incomplete; "" if they are not. It
// recognises a stand-in, and a site that has no server.
func missingBaseOf(index v1.ImageIndex) string {
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) == 0 {
		return ""
	}
	img, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		return ""
	}
	file, err := img.ConfigFile()
	switch {
	case err != nil:
		return ""
	case file.Config.Labels[StandInLabel] != "":
		return "it is a stand-in"
	case file.Config.Labels[SiteLabel] != "" && len(file.Config.Entrypoint) == 0:
		return "it was built without its base image"
	}
	return ""
}
