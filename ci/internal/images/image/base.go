package image

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// errUnreachable marks a registry that did not respond. If it responds with an
// error, the lock file is wrong instead.
var errUnreachable = errors.New("cannot be reached")

// pullBases opens the base image for each platform. Layers are read when needed.
func pullBases(ctx context.Context, reference string, platforms []v1.Platform, bases []v1.Image) error {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return outcome.Usagef("%s: %w", LockFile, err)
	}
	index, err := remote.Index(ref, remoteOptions(ctx, registry.NewTransport())...)
	if err != nil {
		return pullError(ctx, ref, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return pullError(ctx, ref, err)
	}
	for n, platform := range platforms {
		for _, descriptor := range manifest.Manifests {
			if descriptor.Platform != nil && descriptor.Platform.Satisfies(platform) {
				if bases[n], err = index.Image(descriptor.Digest); err != nil {
					return pullError(ctx, ref, err)
				}
				break
			}
		}
		if bases[n] == nil {
			return fmt.Errorf("base %s has no image for %s: build other platforms, or lock another base", ref, platform)
		}
	}
	return nil
}

// remoteOptions returns options that use Docker's credentials and retry once after
// a network error.
func remoteOptions(ctx context.Context, rt http.RoundTripper) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx), remote.WithTransport(rt), remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithRetryBackoff(remote.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Steps: 2}),
	}
}

func pullError(ctx context.Context, ref name.Reference, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("pulling base %s: %w", ref, context.Cause(ctx))
	}
	if _, ok := errors.AsType[*transport.Error](err); ok {
		return fmt.Errorf("pulling base %s: %w", ref, err)
	}
	return fmt.Errorf("base %s %w", ref.Context(), errUnreachable)
}
