package registry

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"
)

// CopyRequest is an image to copy to a repository of another registry, or to another
// repository of the same one.
type CopyRequest struct {
	From           *Registry
	FromRepository string
	Repository     string
	Digest         v1.Hash
	// Tag is the image's immutable tag, which the copy gets too.
	Tag string
}

// Copied is the result of [Registry.Copy].
type Copied struct {
	// Image is the reference by digest.
	Image string
	// Present is true if the repository had the image under the tag, with all that is
	// attached to it.
	Present bool
	// Attached is how many attached artifacts were copied.
	Attached int
	UploadStats
}

// cosignTags are the suffixes of the tags to which older versions of cosign attach
// signatures, attestations and bills of materials.
// https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
var cosignTags = []string{".sig", ".att", ".sbom"}

// Copy copies an image with its children, what is attached to it, and its tag, all by
// digest. Only missing content is sent; in one registry it is mounted. As in
// [Registry.Publish], a tag is never moved, and is written last, when everything it refers
// to is stored: a copy that was interrupted continues where it ended.
func (r *Registry) Copy(ctx context.Context, request CopyRequest) (Copied, error) {
	copied := Copied{Image: r.Reference(request.Repository, request.Digest)}
	from, err := request.From.connect(ctx, request.FromRepository)
	if err != nil {
		return copied, err
	}
	to, err := r.connect(ctx, request.Repository)
	if err != nil {
		return copied, err
	}
	if from.name == to.name {
		copied.Present = true
		return copied, nil
	}
	var t uploadCounter
	ctx = context.WithValue(ctx, counterKey{}, &t)
	c := copier{from: from, to: to}
	tagged, err := c.copy(ctx, request)
	copied.Attached, copied.UploadStats = int(c.attached.Load()), t.stats()
	copied.Present = err == nil && tagged && copied.Attached == 0
	return copied, err
}

// copier copies from a repository to another.
type copier struct {
	from, to *connection
	attached atomic.Int64
}

// copy copies what is missing. It reports whether the tag existed.
func (c *copier) copy(ctx context.Context, request CopyRequest) (tagged bool, err error) {
	tag, digest := c.to.name.Tag(request.Tag), request.Digest
	if tagged, err = c.to.tagExists(ctx, tag, digest); err != nil {
		return tagged, err
	}
	var desc *remote.Descriptor
	if !tagged {
		if desc, err = c.get(ctx, digest); err != nil {
			return false, err
		}
		existing, err := c.to.resolve(ctx, c.to.name.Digest(digest.String()))
		if err != nil {
			return false, c.to.explain(ctx, "checking for the image", err)
		}
		if existing != digest {
			if err := c.push(ctx, desc); err != nil {
				return false, err
			}
		}
	}
	if err := c.referrers(ctx, digest); err != nil {
		return tagged, err
	}
	if err := c.cosignArtifacts(ctx, digest); err != nil || tagged {
		return tagged, err
	}
	return false, c.to.putTag(ctx, tag, digest, desc, "promote again")
}

// get reads a manifest of the source.
func (c *copier) get(ctx context.Context, digest v1.Hash) (*remote.Descriptor, error) {
	desc, err := remote.Get(c.from.name.Digest(digest.String()), c.from.remote(ctx)...)
	if err != nil {
		return nil, c.from.explain(ctx, "reading "+digest.String(), err)
	}
	return desc, nil
}

// manifest copies an image or index.
func (c *copier) manifest(ctx context.Context, digest v1.Hash) error {
	desc, err := c.get(ctx, digest)
	if err != nil {
		return err
	}
	return c.push(ctx, desc)
}

// push copies an image or index that was read, its content first.
func (c *copier) push(ctx context.Context, desc *remote.Descriptor) (err error) {
	if desc.MediaType.IsIndex() {
		err = c.children(ctx, desc)
	} else {
		err = c.blobs(ctx, desc)
	}
	if err != nil {
		return err
	}
	return c.to.explain(ctx, "pushing", c.to.pusher.Put(ctx, c.to.name.Digest(desc.Digest.String()), desc))
}

// children copies the manifests of an index.
func (c *copier) children(ctx context.Context, desc *remote.Descriptor) error {
	index, err := desc.ImageIndex()
	if err != nil {
		return c.from.explain(ctx, "reading "+desc.Digest.String(), err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return c.from.explain(ctx, "reading "+desc.Digest.String(), err)
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, child := range manifest.Manifests {
		group.Go(func() error {
			existing, err := c.to.resolve(ctx, c.to.name.Digest(child.Digest.String()))
			if err != nil {
				return c.to.explain(ctx, "checking for the image", err)
			}
			if existing == child.Digest {
				return nil
			}
			return c.manifest(ctx, child.Digest)
		})
	}
	return group.Wait()
}

// blobs copies the configuration and the layers of an image.
func (c *copier) blobs(ctx context.Context, desc *remote.Descriptor) error {
	img, err := desc.Image()
	if err != nil {
		return c.from.explain(ctx, "reading "+desc.Digest.String(), err)
	}
	layers, err := img.Layers()
	if err != nil {
		return c.from.explain(ctx, "reading "+desc.Digest.String(), err)
	}
	config, err := partial.ConfigLayer(img)
	if err != nil {
		return c.from.explain(ctx, "reading "+desc.Digest.String(), err)
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, layer := range append(layers, config) {
		digest, err := layer.Digest()
		if err != nil {
			return c.from.explain(ctx, "reading "+desc.Digest.String(), err)
		}
		if c.from.name.Registry == c.to.name.Registry {
			c.to.registry.blobs.repos.LoadOrStore(digest, c.from.name) // to mount it from there
		}
		group.Go(func() error {
			if err := c.to.pushBlob(ctx, &pulledLayer{Layer: layer, from: c.from, ctx: ctx}, nil); err != nil {
				return c.to.explain(ctx, "pushing", err)
			}
			return nil
		})
	}
	return group.Wait()
}

// referrers copies the artifacts whose subject is the image.
func (c *copier) referrers(ctx context.Context, subject v1.Hash) error {
	wanted, err := c.from.referrers(ctx, subject)
	if err != nil || len(wanted) == 0 {
		return err
	}
	present, err := c.to.referrers(ctx, subject)
	if err != nil {
		return err
	}
	existing := map[v1.Hash]bool{}
	for _, d := range present {
		existing[d.Digest] = true
	}
	for _, d := range wanted { // sequentially: all of them update the fallback tag of their subject
		if !existing[d.Digest] {
			if err := c.manifest(ctx, d.Digest); err != nil {
				return err
			}
			c.attached.Add(1)
		}
	}
	return nil
}

// cosignArtifacts copies the artifacts that older versions of cosign attach by a tag.
func (c *copier) cosignArtifacts(ctx context.Context, subject v1.Hash) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, suffix := range cosignTags {
		group.Go(func() error { return c.cosignArtifact(ctx, subject.Algorithm+"-"+subject.Hex+suffix) })
	}
	return group.Wait()
}

// cosignArtifact copies the artifact of a tag, unless the target has the tag.
func (c *copier) cosignArtifact(ctx context.Context, tag string) error {
	digest, err := c.from.tagDigest(ctx, tag)
	if err != nil || digest == (v1.Hash{}) {
		return err
	}
	existing, err := c.to.tagDigest(ctx, tag)
	if err != nil || existing != (v1.Hash{}) {
		return err
	}
	desc, err := c.get(ctx, digest)
	if err != nil {
		return err
	}
	if err := c.push(ctx, desc); err != nil {
		return err
	}
	c.attached.Add(1)
	return c.to.explain(ctx, "tagging", c.to.pusher.Put(ctx, c.to.name.Tag(tag), desc))
}

// pulledLayer is a layer that is read from another repository. Its errors are explained
// as those of that repository.
type pulledLayer struct {
	v1.Layer
	from *connection
	ctx  context.Context //nolint:containedctx // of the copy, for the explanation of errors
}

// isPulled reports whether a layer is read from another repository.
func isPulled(layer v1.Layer) bool {
	if mounted, ok := layer.(*remote.MountableLayer); ok {
		layer = mounted.Layer
	}
	_, ok := layer.(*pulledLayer)
	return ok
}

// sourceError is an error of the repository that is read.
type sourceError struct{ error }

func (e *sourceError) Unwrap() error { return e.error }

func (l *pulledLayer) explain(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	digest, _ := l.Digest() // it is in the manifest
	return &sourceError{l.from.explain(l.ctx, "reading blob "+digest.String(), err)}
}

// Compressed implements v1.Layer. The library verifies the digest while it reads.
func (l *pulledLayer) Compressed() (io.ReadCloser, error) {
	reader, err := l.Layer.Compressed()
	if err != nil {
		return nil, l.explain(err)
	}
	return &pulledContent{reader, l}, nil
}

type pulledContent struct {
	io.ReadCloser
	layer *pulledLayer
}

func (p *pulledContent) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	return n, p.layer.explain(err)
}
