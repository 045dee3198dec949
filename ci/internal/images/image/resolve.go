package image

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// resolveTimeout limits the requests to a registry for one image.
const resolveTimeout = time.Minute

// Resolved compares an image's locked digest with its registry's current one.
type Resolved struct {
	// Image is the image's name in the lock file.
	Image     string `json:"image"`
	Reference string `json:"reference"`
	// Locked is the digest in the lock file; empty if it has none.
	Locked string `json:"locked,omitempty"`
	// Digest is the current digest in the registry.
	Digest    string   `json:"digest"`
	Platforms []string `json:"platforms"`
}

// Stale reports whether the current digest differs from the locked one.
func (r Resolved) Stale() bool { return r.Locked != r.Digest }

// Resolve resolves the references of the lock file and returns the updated lock and
// the results. Names select some of the images. The error joins all failures.
func (l Lock) Resolve(ctx context.Context, names ...string) (Lock, []Resolved, error) {
	known := slices.Sorted(maps.Keys(l.Images))
	if len(names) == 0 {
		names = known
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return l, nil, outcome.Usagef("no image %q in %s: %s", name, LockFile, outcome.Suggestion(name, known))
		}
	}
	renewals := make([]Resolved, len(names))
	failures := make([]error, len(names))
	rt := registry.NewTransport()
	defer rt.CloseIdleConnections()
	var group errgroup.Group
	for n, name := range names {
		group.Go(func() error {
			pin := l.Images[name]
			digest, platforms, err := resolve(ctx, rt, pin.Reference)
			renewals[n] = Resolved{name, pin.Reference, pin.Digest, digest, platforms}
			failures[n] = err
			return nil
		})
	}
	_ = group.Wait() // failures has all errors
	if err := errors.Join(failures...); err != nil {
		return l, nil, err
	}
	l.Images = maps.Clone(l.Images)
	for _, r := range renewals {
		if r.Stale() {
			l.Images[r.Image] = Pin{r.Reference, r.Digest, r.Platforms}
		}
	}
	return l, renewals, nil
}

// resolve returns the digest and the platforms of the index that a reference names.
func resolve(ctx context.Context, rt http.RoundTripper, reference string) (digest string, platforms []string, err error) {
	ref, err := name.NewTag(reference)
	if err != nil {
		return "", nil, invalidReference(reference)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, resolveTimeout, fmt.Errorf("no response within %s", resolveTimeout))
	defer cancel()
	desc, err := remote.Get(ref, remoteOptions(ctx, rt)...)
	if err != nil {
		return "", nil, resolveError(ctx, reference, err)
	}
	if !desc.MediaType.IsIndex() {
		return "", nil, fmt.Errorf("base %s has only one platform: choose an image with %s", reference, strings.Join(platformNames(DefaultPlatforms()), " and "))
	}
	index, err := desc.ImageIndex()
	if err != nil {
		return "", nil, resolveError(ctx, reference, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return "", nil, resolveError(ctx, reference, err)
	}
	var found []v1.Platform
	for _, descriptor := range manifest.Manifests {
		// Attestations have the platform unknown/unknown.
		if p := descriptor.Platform; p != nil && p.OS != "unknown" {
			found = append(found, *p)
		}
	}
	for _, wanted := range DefaultPlatforms() {
		if !slices.ContainsFunc(found, func(p v1.Platform) bool { return p.Satisfies(wanted) }) {
			return "", nil, fmt.Errorf("base %s has no image for %s: choose another one", reference, wanted)
		}
	}
	return desc.Digest.String(), slices.Compact(slices.Sorted(slices.Values(platformNames(found)))), nil
}

func platformNames(platforms []v1.Platform) []string {
	var names []string
	for _, p := range platforms {
		names = append(names, p.String())
	}
	return names
}

// resolveError explains in one line why a reference was not resolved.
func resolveError(ctx context.Context, reference string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("resolving base %s: %w", reference, context.Cause(ctx))
	}
	var response *transport.Error
	if !errors.As(err, &response) {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return fmt.Errorf("base %s: its registry %w: %s", reference, errUnreachable, first)
	}
	switch response.StatusCode {
	case http.StatusNotFound:
		return fmt.Errorf("base %s: its registry has no such image: correct the reference in %s", reference, LockFile)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("base %s: its registry requires a login or has no such image: run docker login, or correct the reference in %s", reference, LockFile)
	}
	return fmt.Errorf("base %s: its registry returned %d %s", reference, response.StatusCode, http.StatusText(response.StatusCode))
}
