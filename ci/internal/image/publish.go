package image

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"dagger/slipway/internal/outcome"
)

// pushJobs is how many blobs go up at a time: enough to fill a line, and far
// below ECR's 100 InitiateLayerUpload a second.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html
const pushJobs = 4

// Registry is where images are published.
type Registry struct {
	// Host is the registry's host and port, such as
	// "123456789012.dkr.ecr.us-east-1.amazonaws.com".
	Host string
	Auth authn.Authenticator
	// Rehearsal takes images without their base, too.
	Rehearsal bool
}

// Published is what a registry holds after Publish.
type Published struct {
	Service string `json:"service"`
	// Image is the reference by digest, the only one that deployments use.
	Image  string `json:"image"`
	Digest string `json:"digest"`
	Tag    string `json:"tag"`
	// Pushed is false when the registry held the image under the tag already.
	Pushed bool `json:"pushed"`
}

// Publish pushes img to the repository under tag. A tag is never moved: if it
// names the same digest there is nothing to do, if it names another the push
// is refused. The tag is written last, when everything below it has arrived.
func (r Registry) Publish(ctx context.Context, repository, tag string, img Image) (Published, error) {
	published := Published{Service: img.Service, Tag: tag}
	if img.Baseless != "" && !r.Rehearsal {
		return published, outcome.Refusedf("publishing %s: %s, so nothing in it can serve the site: build where the base's registry answers", img.Service, img.Baseless)
	}
	target, err := r.repository(repository)
	if err != nil {
		return published, err
	}
	digest, err := img.Digest()
	if err != nil {
		return published, fmt.Errorf("publishing %s: %w", img.Service, err)
	}
	published.Digest = digest.String()
	published.Image = target.Digest(digest.String()).String()

	carrier := newTransport()
	defer carrier.CloseIdleConnections()
	options := r.options(ctx, carrier)
	held, err := remote.Head(target.Tag(tag), options...)
	switch {
	case err == nil && held.Digest == digest:
		return published, nil
	case err == nil:
		return published, outcome.Refusedf("publishing %s: tag %s already names %s in %s, not %s: a tag is never moved; commit the change and publish that commit", img.Service, tag, held.Digest, repository, digest)
	case !isNotFound(err):
		return published, fmt.Errorf("asking %s for tag %s: %w", repository, tag, shorten(ctx, err))
	}
	if err := remote.WriteIndex(target.Tag(tag), img.Index, options...); err != nil {
		return published, fmt.Errorf("pushing %s to %s: %w", img.Service, repository, shorten(ctx, err))
	}
	published.Pushed = true
	return published, nil
}

// Find tells what tag names in the repository, as a reference by digest; ok is
// false when the repository has no such tag.
func (r Registry) Find(ctx context.Context, repository, tag string) (reference string, ok bool, err error) {
	target, err := r.repository(repository)
	if err != nil {
		return "", false, err
	}
	carrier := newTransport()
	defer carrier.CloseIdleConnections()
	held, err := remote.Head(target.Tag(tag), r.options(ctx, carrier)...)
	if isNotFound(err) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("asking %s for tag %s: %w", repository, tag, shorten(ctx, err))
	}
	return target.Digest(held.Digest.String()).String(), true, nil
}

func (r Registry) repository(repository string) (name.Repository, error) {
	target, err := name.NewRepository(r.Host + "/" + repository)
	if err != nil {
		return target, fmt.Errorf("naming repository %s: %w", repository, err)
	}
	return target, nil
}

func (r Registry) options(ctx context.Context, carrier http.RoundTripper) []remote.Option {
	auth := r.Auth
	if auth == nil {
		auth = authn.Anonymous
	}
	return []remote.Option{
		remote.WithContext(ctx), remote.WithAuth(auth), remote.WithJobs(pushJobs),
		remote.WithTransport(carrier),
	}
}

func isNotFound(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}

// shorten prefers the reason of a cancelled context to the error of the
// request that it broke.
func shorten(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
