// Package task runs container images as processes of this machine, without a container
// engine: it unpacks the image, gives the task its own network where possible, and
// starts and stops its processes.
package task

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/slipway-cd/slipway/ci/internal/clock"
)

// Mode is how tasks are isolated from one another.
type Mode string

const (
	// ModeAuto uses namespaces if the process may create them, otherwise ports.
	ModeAuto Mode = ""
	// ModePort gives every task a free loopback port of the machine in the
	// environment variable PORT, like the dynamic port mapping of bridge mode.
	// It needs no privilege.
	ModePort Mode = "port"
	// ModeNamespace gives every task network, host name, process and mount
	// namespaces, like awsvpc mode. It needs root with CAP_SYS_ADMIN on Linux.
	ModeNamespace Mode = "namespace"
)

// Images provides the images of a registry.
type Images interface {
	// ParseReference returns the repository and the tag or digest of a reference. ok is
	// false if it is not of this registry.
	ParseReference(ref string) (repo, reference string, ok bool)
	// Image opens an image, for the first of the platforms that it has.
	Image(repo, reference string, platforms []v1.Platform) (v1.Image, error)
}

// Config of a runtime.
type Config struct {
	Dir    string // for unpacked images
	Mode   Mode
	Images Images
	Clock  *clock.Scaled
}

// Runtime unpacks images and runs tasks.
type Runtime struct {
	cfg    Config
	mode   Mode
	chroot bool
	thread *osThread // parent of every process in ModePort
	ports  portAllocator

	mu       sync.Mutex
	unpacked map[v1.Hash]*unpackState
}

// unpackState is the state of an image's root file system, which its first task unpacks.
type unpackState struct {
	mu    sync.Mutex
	ready bool
}

// ErrNamespacesUnavailable reports that ModeNamespace is not possible.
var ErrNamespacesUnavailable = errors.New("namespaces need root with CAP_SYS_ADMIN on Linux")

// NewRuntime returns a runtime, in the best mode that this process may use if
// cfg.Mode is ModeAuto.
func NewRuntime(cfg Config) (*Runtime, error) {
	for _, sub := range []string{"rootfs", "sandboxes"} {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("creating the tasks' directory: %w", err)
		}
	}
	mode := cfg.Mode
	if mode != ModePort {
		err := probeNamespaces()
		switch {
		case err == nil:
			mode = ModeNamespace
		case mode == ModeNamespace:
			return nil, fmt.Errorf("%w: %w", ErrNamespacesUnavailable, err)
		default:
			mode = ModePort
		}
	}
	t, err := startOSThread(func() error { return nil })
	if err != nil {
		return nil, err
	}
	return &Runtime{
		cfg: cfg, mode: mode, chroot: probeChroot(cfg.Dir) == nil, thread: t, unpacked: map[v1.Hash]*unpackState{},
		// Another embedded AWS on this machine probably starts at another port.
		ports: portAllocator{next: rand.IntN(lastPort - firstPort)},
	}, nil
}

// Mode returns the mode in use: ModePort or ModeNamespace.
func (rt *Runtime) Mode() Mode { return rt.mode }

// RunsImages reports whether tasks run in the root file systems of their images, so that
// any program of an image runs. Otherwise only static ones do.
func (rt *Runtime) RunsImages() bool { return rt.chroot }

// Close ends the runtime. All sandboxes must have been closed before.
func (rt *Runtime) Close() { rt.thread.close() }

// Image is an unpacked image.
type Image struct {
	Digest v1.Hash // of the manifest, not of its index
	Root   string  // its root file system
	Config v1.Config
}

// PullError reports an image that could not be pulled, with Fargate's message.
type PullError struct{ text string }

func (e *PullError) Error() string { return "CannotPullContainerError: " + e.text }

// Pull unpacks the image of a reference, once for each digest. Of several platforms it
// takes this machine's; architecture is the task definition's, x86_64 or arm64.
func (rt *Runtime) Pull(ctx context.Context, ref, architecture string) (*Image, error) {
	repo, reference, ok := rt.cfg.Images.ParseReference(ref)
	if !ok {
		full := normalizeReference(ref)
		return nil, resolveError(full, full+": not found")
	}
	img, err := rt.cfg.Images.Image(repo, reference, preferredPlatforms(architecture))
	if err != nil {
		return nil, toPullError(ref, err)
	}
	digest, err := img.Digest()
	if err != nil {
		return nil, toPullError(ref, err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, toPullError(ref, err)
	}
	dir := filepath.Join(rt.cfg.Dir, "rootfs", digest.Hex)
	if err := rt.unpackOnce(ctx, digest, img, dir); err != nil {
		return nil, &PullError{fmt.Sprintf("failed to extract layers of %s: %v", ref, err)}
	}
	return &Image{Digest: digest, Root: dir, Config: config.Config}, nil
}

func (rt *Runtime) unpackOnce(ctx context.Context, digest v1.Hash, img v1.Image, dir string) error {
	rt.mu.Lock()
	u, ok := rt.unpacked[digest]
	if !ok {
		u = &unpackState{}
		rt.unpacked[digest] = u
	}
	rt.mu.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ready {
		return nil
	}
	partial := dir + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return fmt.Errorf("removing a partly unpacked image: %w", err)
	}
	if err := unpack(ctx, img, partial); err != nil {
		return err
	}
	if rt.chroot && rt.mode == ModePort { // in ModeNamespace every container has a /dev of its own
		makeDevices(partial)
	}
	if err := os.Rename(partial, dir); err != nil {
		return fmt.Errorf("moving the unpacked image into place: %w", err)
	}
	u.ready = true
	return nil
}
