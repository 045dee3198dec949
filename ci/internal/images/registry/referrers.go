package registry

import (
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Attach pushes artifacts to the repository of their subject and returns their
// digests. Existing artifacts are not uploaded again. For a registry without the
// referrers API, OCI's fallback tag is written.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
func (r *Registry) Attach(ctx context.Context, repository string, artifacts ...v1.Image) ([]v1.Hash, error) {
	c, err := r.connect(ctx, repository)
	if err != nil {
		return nil, err
	}
	ctx = context.WithValue(ctx, counterKey{}, &uploadCounter{}) // not counted as the image's
	var digests []v1.Hash
	for _, artifact := range artifacts { // sequentially: all of them update the fallback tag of their subject
		digest, err := c.attach(ctx, artifact)
		if err != nil {
			return digests, err
		}
		digests = append(digests, digest)
	}
	return digests, nil
}

func (c *connection) attach(ctx context.Context, artifact v1.Image) (v1.Hash, error) {
	manifest, err := artifact.Manifest()
	if err != nil {
		return v1.Hash{}, fmt.Errorf("reading an artifact for %s: %w", c.name.RepositoryStr(), err)
	}
	digest, err := artifact.Digest()
	if err != nil {
		return v1.Hash{}, fmt.Errorf("reading an artifact for %s: %w", c.name.RepositoryStr(), err)
	}
	if manifest.Subject == nil {
		return digest, outcome.Usagef("artifact %s for %s has no subject, so it could not be found: set its subject", digest, c.name.RepositoryStr())
	}
	reference := c.name.Digest(digest.String())
	existing, err := c.resolve(ctx, reference)
	if err != nil {
		return digest, c.explain(ctx, "checking for an artifact", err)
	}
	if existing == digest {
		return digest, nil
	}
	err = c.pushBlobs(ctx, nil, artifact)
	if err == nil {
		err = c.pusher.Put(ctx, reference, artifact)
	}
	return digest, c.explain(ctx, "attaching an artifact", err)
}

// Referrers lists the artifacts of a type whose subject is the given image, or all
// if the type is "". Their content is read on use, within ctx.
func (r *Registry) Referrers(ctx context.Context, repository string, subject v1.Hash, artifactType string) ([]v1.Image, error) {
	c, err := r.connect(ctx, repository)
	if err != nil {
		return nil, err
	}
	var filter []remote.Option
	if artifactType != "" {
		filter = append(filter, remote.WithFilter("artifactType", artifactType))
	}
	found, err := c.referrers(ctx, subject, filter...)
	if err != nil {
		return nil, err
	}
	var artifacts []v1.Image
	for _, descriptor := range found {
		artifact, err := remote.Image(c.name.Digest(descriptor.Digest.String()), c.remote(ctx)...) // index.Image panics
		if err != nil {
			return nil, c.explain(ctx, "reading referrer "+descriptor.Digest.String(), err)
		}
		artifacts = append(artifacts, artifact)
	}
	return artifacts, nil
}

// referrers lists the artifacts whose subject is an image.
func (c *connection) referrers(ctx context.Context, subject v1.Hash, filter ...remote.Option) ([]v1.Descriptor, error) {
	index, err := remote.Referrers(c.name.Digest(subject.String()), append(c.remote(ctx), filter...)...)
	if err != nil {
		return nil, c.explain(ctx, "listing referrers", err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, c.explain(ctx, "listing referrers", err)
	}
	return manifest.Manifests, nil
}

// Index opens an image of the repository. Its content is read on use, within ctx.
func (r *Registry) Index(ctx context.Context, repository string, digest v1.Hash) (v1.ImageIndex, error) {
	c, err := r.connect(ctx, repository)
	if err != nil {
		return nil, err
	}
	index, err := remote.Index(c.name.Digest(digest.String()), c.remote(ctx)...)
	if err != nil {
		return nil, c.explain(ctx, "opening "+digest.String(), err)
	}
	return index, nil
}
