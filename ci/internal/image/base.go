package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"dagger/slipway/internal/outcome"
)

// LockFile is the lock file's place in the source tree.
const LockFile = "ci/images.lock.json"

// Lock pins the images that come from elsewhere.
type Lock struct {
	Images map[string]Pin `json:"images"`
	// Required refuses bases without a digest, as a build on a runner does:
	// what it ships must be what was reviewed.
	Required bool `json:"-"`
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

// checkLocked refuses the image of a tool that is not locked where that is
// required.
func (l Lock) checkLocked(tool string) error {
	if pin := l.Images[tool]; l.Required && pin.Digest == "" {
		return outcome.Refusedf("base %s is not locked to a digest in %s, and CI=true: run slipway lock and commit the file", pin.Reference, LockFile)
	}
	return nil
}

// errUnreachable marks a registry that gave no answer at all. One that answers
// "no" is another matter: then the lock file is wrong.
var errUnreachable = errors.New("cannot be reached")

// pullBases opens the base for each platform. Layers are read when they are
// needed.
func pullBases(ctx context.Context, reference string, platforms []v1.Platform, bases []v1.Image) error {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return outcome.Usagef("%s: %w", LockFile, err)
	}
	index, err := remote.Index(ref, remote.WithContext(ctx), remote.WithTransport(newTransport()),
		remote.WithRetryBackoff(remote.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Steps: 2}))
	if err != nil {
		return describePull(ctx, ref, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return describePull(ctx, ref, err)
	}
	for n, wanted := range platforms {
		for _, descriptor := range manifest.Manifests {
			if descriptor.Platform != nil && descriptor.Platform.Satisfies(wanted) {
				if bases[n], err = index.Image(descriptor.Digest); err != nil {
					return describePull(ctx, ref, err)
				}
				break
			}
		}
		if bases[n] == nil {
			return fmt.Errorf("base %s has no image for %s: build other platforms with --platform, or lock another base", ref, wanted)
		}
	}
	return nil
}

func describePull(ctx context.Context, ref name.Reference, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("pulling base %s: %w", ref, context.Cause(ctx))
	}
	var answer *transport.Error
	if errors.As(err, &answer) {
		return fmt.Errorf("pulling base %s: %w", ref, err)
	}
	return fmt.Errorf("base %s %w", ref.Context(), errUnreachable)
}
