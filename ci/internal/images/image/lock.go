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

// LockFile is the path of the lock file in the source tree.
const LockFile = "ci/images.lock.json"

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

// Write atomically replaces the lock file of the source tree at dir.
func (l Lock) Write(dir string) error {
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", LockFile, err)
	}
	if err := source.WriteFileAtomic(filepath.Join(dir, filepath.FromSlash(LockFile)), append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing %s: %w: the file is unchanged", LockFile, withoutPath(err))
	}
	return nil
}
