package image

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/config/source"
	"dagger/slipway/internal/report/outcome"
)

// LockFile is the lock file's place in the source tree.
const LockFile = "ci/images.lock.json"

// Lock pins the images that come from elsewhere.
type Lock struct {
	Images map[string]Pin `json:"images"`
}

// Pin is one image from elsewhere.
type Pin struct {
	Reference string `json:"reference"`
	// Digest is that of the index over all platforms; empty when not resolved yet.
	Digest string `json:"digest,omitempty"`
	// Platforms that the index had when it was locked.
	Platforms []string `json:"platforms,omitempty"`
}

// ReadLock reads the lock file of the source tree at dir.
func ReadLock(dir string) (Lock, error) {
	data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(LockFile)))
	if err != nil {
		return Lock{}, outcome.Usagef("reading the lock file of the base images: %w", err)
	}
	var lock Lock
	if err := json.Unmarshal(data, &lock); err != nil {
		return Lock{}, outcome.Usagef("reading %s: %w", LockFile, err)
	}
	for _, tool := range []string{"go", "nginx"} {
		if lock.Images[tool].Reference == "" {
			return Lock{}, outcome.Usagef("%s has no image %q: add its reference", LockFile, tool)
		}
	}
	return lock, nil
}

// Reference names the image of a tool, by digest where it is pinned.
func (l Lock) Reference(tool string) string {
	pin := l.Images[tool]
	if pin.Digest == "" {
		return pin.Reference
	}
	return pin.Reference + "@" + pin.Digest
}

// Unlocked says that the base of a service is not locked to a digest; "" where it is,
// and where there is no base.
func (l Lock) Unlocked(service platform.Service) string {
	pin := l.Images["nginx"]
	if service.Kind != platform.Nginx || pin.Digest != "" {
		return ""
	}
	return fmt.Sprintf("base %s is not locked to a digest in %s: run slipway lock and commit the file", pin.Reference, LockFile)
}

// Write writes the lock file of the source tree at dir: whole, or not at all.
func (l Lock) Write(dir string) error {
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", LockFile, err)
	}
	if err := source.WriteFileAtomic(filepath.Join(dir, filepath.FromSlash(LockFile)), append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing %s: %w: it is as it was", LockFile, cause(err))
	}
	return nil
}
