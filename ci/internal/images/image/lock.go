package image

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// LockFile is the path of the lock file in the source tree. It is optional: its images
// replace those of [BuiltInLock].
const LockFile = "ci/images.lock.json"

// builtInLockFile is the path of builtIn in slipway's own source tree, a copy of its lock
// file: Go embeds no file of a parent folder.
const builtInLockFile = "ci/internal/images/image/images.lock.json"

//go:embed images.lock.json
var builtIn []byte

// Lock pins base and build images by digest.
type Lock struct {
	Images map[string]Pin `json:"images"`
}

// Pin is one image of the lock file.
type Pin struct {
	Reference string `json:"reference"`
	// Digest is the digest of the multi-platform index; empty if not yet resolved.
	Digest string `json:"digest,omitempty"`
	// Platforms lists the index's platforms when it was locked.
	Platforms []string `json:"platforms,omitempty"`
}

// BuiltInLock returns the images of this build of slipway.
func BuiltInLock() (lock Lock, err error) {
	return lock, json.Unmarshal(builtIn, &lock)
}

// ReadLock returns the images of this build of slipway, with those of the lock file of the
// source tree at dir instead, if it has one.
func ReadLock(dir string) (Lock, error) {
	lock, err := BuiltInLock()
	if err != nil {
		return Lock{}, err
	}
	own, err := ReadLockFile(dir)
	maps.Copy(lock.Images, own.Images)
	return lock, err
}

// ReadLockFile reads the lock file of the source tree at dir. Without one, the lock has no
// images.
func ReadLockFile(dir string) (lock Lock, err error) {
	data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(LockFile)))
	if errors.Is(err, fs.ErrNotExist) {
		return Lock{}, nil
	}
	if err != nil {
		return Lock{}, outcome.Usagef("reading %s: %w", LockFile, source.WithoutPath(err))
	}
	if err := json.Unmarshal(data, &lock); err != nil {
		return Lock{}, outcome.Usagef("reading %s: %w", LockFile, err)
	}
	for _, tool := range slices.Sorted(maps.Keys(lock.Images)) {
		if lock.Images[tool].Reference == "" {
			return Lock{}, outcome.Usagef("%s has no reference for image %q: add it, or remove the image to use slipway's", LockFile, tool)
		}
		if _, err := name.ParseReference(lock.Reference(tool)); err != nil {
			return Lock{}, invalidReference(lock.Reference(tool))
		}
	}
	return lock, nil
}

func invalidReference(reference string) error {
	return outcome.Usagef("%s: invalid reference %q: want an image with a tag, such as docker.io/library/golang:1.26.8", LockFile, reference)
}

// Reference returns the reference of a tool's image, with its digest if it is
// pinned.
func (l Lock) Reference(tool string) string {
	pin := l.Images[tool]
	if pin.Digest == "" {
		return pin.Reference
	}
	return pin.Reference + "@" + pin.Digest
}

// UnlockedBase returns a message if the base image of a service is not locked to a
// digest; "" if it is locked or the service has no base image.
func (l Lock) UnlockedBase(service platform.Service) string {
	pin := l.Images["nginx"]
	if service.Kind != platform.Nginx || pin.Digest != "" {
		return ""
	}
	return fmt.Sprintf("base %s is not locked to a digest in %s: run slipway lock and commit the file", pin.Reference, LockFile)
}

// Write atomically replaces the lock file of the source tree at dir, and the built-in one
// if the tree is slipway's.
func (l Lock) Write(dir string) error {
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", LockFile, err)
	}
	if err := os.MkdirAll(filepath.Join(dir, filepath.FromSlash(path.Dir(LockFile))), 0o755); err != nil {
		return fmt.Errorf("writing %s: %w", LockFile, source.WithoutPath(err))
	}
	names := []string{LockFile}
	if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(builtInLockFile))); err == nil {
		names = append(names, builtInLockFile)
	}
	for _, name := range names {
		if err := source.WriteFileAtomic(filepath.Join(dir, filepath.FromSlash(name)), append(data, '\n'), 0o644); err != nil {
			return fmt.Errorf("writing %s: %w: the file is unchanged", name, source.WithoutPath(err))
		}
	}
	return nil
}
