package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Publication is an image to publish.
type Publication struct {
	Repository string
	// Tag is the image's immutable tag.
	Tag   string
	Index v1.ImageIndex
	// Inputs is a further tag, by which [Registry.FindIndex] finds an image of the same
	// inputs; it may be empty. If it names another image already, it stays.
	Inputs string
	// Siblings are other repositories of the registry that may hold layers of the
	// base image.
	Siblings []string
	// Latest specifies whether to move the tag latest.
	Latest LatestPolicy
	// BeforeTag, if set, is called when the image can be pulled by digest and
	// before it is tagged. After an error the image stays untagged.
	BeforeTag func(context.Context) error
}

// Published is the result of [Registry.Publish].
type Published struct {
	Repository string `json:"repository"`
	// Image is the reference by digest, which deployments use.
	Image  string `json:"image"`
	Digest string `json:"digest"`
	Tag    string `json:"tag"`
	// Pushed is false if the registry already had the image under the tag.
	Pushed bool `json:"pushed"`
	UploadStats
	Latest LatestResult `json:"latest"`
}

// Publish pushes an image to its repository and tags it. Only missing content is
// uploaded. A tag is never moved: if it names the same digest, nothing is done; if
// it names another, Publish refuses. The tag is written last, when everything it
// refers to is stored.
func (r *Registry) Publish(ctx context.Context, p Publication) (Published, error) {
	published := Published{Repository: r.path(p.Repository), Tag: p.Tag}
	digest, err := p.Index.Digest()
	if err != nil {
		return published, fmt.Errorf("reading the image for %s: %w", p.Repository, err)
	}
	published.Digest, published.Image = digest.String(), r.Reference(p.Repository, digest)
	c, err := r.connect(ctx, p.Repository)
	if err != nil {
		return published, err
	}
	var t uploadCounter
	ctx = context.WithValue(ctx, counterKey{}, &t)
	published.Pushed, err = c.publish(ctx, p, digest)
	if err == nil {
		published.Latest, err = c.latest(ctx, p, digest, published.Pushed)
	}
	published.UploadStats = t.stats()
	return published, err
}

// publish pushes the image and its tag if the tag does not exist.
func (c *connection) publish(ctx context.Context, p Publication, digest v1.Hash) (pushed bool, err error) {
	tag := c.name.Tag(p.Tag)
	if exists, err := c.tagExists(ctx, tag, digest); err != nil || exists {
		return false, err
	}
	existing, err := c.resolve(ctx, c.name.Digest(digest.String()))
	if err != nil {
		return false, c.explain(ctx, "checking for the image", err)
	}
	if existing != digest {
		if err := c.pushChildren(ctx, p, p.Index); err != nil {
			return false, c.explain(ctx, "pushing", err)
		}
		if exists, err := c.tagExists(ctx, tag, digest); err != nil || exists { // a concurrent publication was faster
			return false, err
		}
	}
	if err := c.beforeTag(ctx, p, digest, existing == digest); err != nil {
		return false, err
	}
	if err := c.tagInputs(ctx, p); err != nil {
		return false, err
	}
	err = c.putTag(ctx, tag, digest, p.Index, "publish again")
	return err == nil, err
}

// putTag writes an image's own tag, when everything that it refers to is stored. again is
// what to do if the registry does not have it then.
func (c *connection) putTag(ctx context.Context, tag name.Tag, digest v1.Hash, image remote.Taggable, again string) error {
	failed := c.pusher.Put(ctx, tag, image)
	exists, err := c.tagExists(ctx, tag, digest)
	switch {
	case err != nil && (failed == nil || outcome.Of(err) == outcome.Refused):
		return err
	case failed != nil && !exists:
		return c.explain(ctx, "tagging", failed)
	case !exists:
		return fmt.Errorf("the registry %s accepted tag %s of %s but does not have it: %s; if that does not help, the registry is faulty", c.registry.Host, tag.TagStr(), c.name.RepositoryStr(), again)
	}
	return nil
}

// beforeTag pushes the image by digest and calls BeforeTag.
func (c *connection) beforeTag(ctx context.Context, p Publication, digest v1.Hash, exists bool) error {
	if p.BeforeTag == nil {
		return nil
	}
	if !exists {
		if err := c.pusher.Put(ctx, c.name.Digest(digest.String()), p.Index); err != nil {
			return c.explain(ctx, "pushing", err)
		}
	}
	return p.BeforeTag(ctx)
}

// tagInputs writes the tag for the inputs, unless it exists.
func (c *connection) tagInputs(ctx context.Context, p Publication) error {
	if p.Inputs == "" {
		return nil
	}
	existing, err := c.tagDigest(ctx, p.Inputs)
	if err != nil || existing != (v1.Hash{}) {
		return err
	}
	tag := c.name.Tag(p.Inputs)
	failed := c.pusher.Put(ctx, tag, p.Index)
	if failed == nil {
		return nil
	}
	if existing, err = c.resolve(ctx, tag); err != nil || existing == (v1.Hash{}) { // not written by a concurrent publication either
		return c.explain(ctx, "tagging", failed)
	}
	return nil
}

// tagExists reports whether the tag names the digest. It refuses a tag that names
// another.
func (c *connection) tagExists(ctx context.Context, tag name.Tag, digest v1.Hash) (bool, error) {
	current, err := c.tagDigest(ctx, tag.TagStr())
	switch {
	case err != nil:
		return false, err
	case current == digest:
		return true, nil
	case current == (v1.Hash{}):
		return false, nil
	}
	return false, outcome.Refusedf("tag %s already names %s in %s, not %s: a tag is never moved; commit the change and publish that commit", tag.TagStr(), current, c.name.RepositoryStr(), digest)
}

// tagDigest returns the digest that a tag names, or the zero digest if it does not exist.
func (c *connection) tagDigest(ctx context.Context, tag string) (v1.Hash, error) {
	digest, err := c.resolve(ctx, c.name.Tag(tag))
	return digest, c.explain(ctx, "checking for tag "+tag, err)
}

// resolve returns the digest of a reference, or the zero digest if it does not
// exist.
func (c *connection) resolve(ctx context.Context, reference name.Reference) (v1.Hash, error) {
	desc, err := remote.Head(reference, c.remote(ctx)...)
	switch response, ok := errors.AsType[*transport.Error](err); {
	case ok && response.StatusCode == http.StatusNotFound:
		return v1.Hash{}, nil
	case err != nil && strings.Contains(err.Error(), "response did not include"): // the response header is optional
		full, err := remote.Get(reference, c.remote(ctx)...)
		if err != nil {
			return v1.Hash{}, err
		}
		return full.Digest, nil
	case err != nil:
		return v1.Hash{}, err
	}
	return desc.Digest, nil
}

// pushChildren pushes everything that an index refers to.
func (c *connection) pushChildren(ctx context.Context, p Publication, index v1.ImageIndex) error {
	children, err := partial.Manifests(index)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, child := range children {
		group.Go(func() error {
			digest, err := child.Digest()
			if err != nil {
				return err
			}
			reference := c.name.Digest(digest.String())
			if existing, err := c.resolve(ctx, reference); err != nil || existing == digest {
				return err
			}
			switch child := child.(type) {
			case v1.ImageIndex:
				err = c.pushChildren(ctx, p, child)
			case v1.Image:
				err = c.pushBlobs(ctx, p.Siblings, child)
			default:
				err = fmt.Errorf("the image refers to %s, which is neither an image nor an index", digest)
			}
			if err != nil {
				return err
			}
			return c.pusher.Put(ctx, reference, child.(remote.Taggable))
		})
	}
	return group.Wait()
}

// pushBlobs pushes the layers and the configuration of an image.
func (c *connection) pushBlobs(ctx context.Context, siblings []string, img v1.Image) error {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	config, err := partial.ConfigLayer(img)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for n, layer := range layers {
		from := siblings
		if n == len(layers)-1 {
			from = nil // no other repository has the service's own layer
		}
		group.Go(func() error { return c.pushBlob(ctx, layer, from) })
	}
	group.Go(func() error { return c.pushBlob(ctx, config, nil) })
	return group.Wait()
}

// FindIndex returns the index that a tag names, or nil if the repository has no such
// tag.
func (r *Registry) FindIndex(ctx context.Context, repository, tag string) (v1.ImageIndex, error) {
	c, err := r.connect(ctx, repository)
	if err != nil {
		return nil, err
	}
	digest, err := c.tagDigest(ctx, tag)
	if err != nil || digest == (v1.Hash{}) {
		return nil, err
	}
	return r.Index(ctx, repository, digest)
}

// Find returns the image that a tag names, as a reference by digest; ok is false if
// the repository has no such tag.
func (r *Registry) Find(ctx context.Context, repository, tag string) (reference string, ok bool, err error) {
	c, err := r.connect(ctx, repository)
	if err != nil {
		return "", false, err
	}
	digest, err := c.tagDigest(ctx, tag)
	if err != nil || digest == (v1.Hash{}) {
		return "", false, err
	}
	return r.Reference(repository, digest), true, nil
}
