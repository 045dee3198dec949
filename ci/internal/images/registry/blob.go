package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// maxSiblings is the maximum number of other repositories to check for a layer.
const maxSiblings = 8

// errCorrupt is the error of content that does not match its digest.
var errCorrupt = errors.New("its content does not match its digest")

// knownBlobs records which repositories hold a blob, and locks blobs during their
// transfer.
type knownBlobs struct {
	locks sync.Map // of v1.Hash to chan struct{}
	repos sync.Map // of v1.Hash to name.Repository
}

// lock locks a blob: while it is pushed to one repository, others wait and then
// mount it from there.
func (h *knownBlobs) lock(ctx context.Context, digest v1.Hash) (unlock func(), err error) {
	turn, _ := h.locks.LoadOrStore(digest, make(chan struct{}, 1))
	lock := turn.(chan struct{})
	select {
	case lock <- struct{}{}:
		return func() { <-lock }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// pushBlob makes sure that the repository has a layer: it mounts the layer from
// another repository of the registry or uploads it. Siblings are repositories that
// may have it.
func (c *connection) pushBlob(ctx context.Context, layer v1.Layer, siblings []string) error {
	digest, err := layer.Digest()
	if err != nil {
		return err
	}
	unlock, err := c.registry.blobs.lock(ctx, digest)
	if err != nil {
		return err
	}
	defer unlock()
	layer, err = c.withMountSource(ctx, layer, digest, siblings)
	if err == nil {
		err = c.upload(ctx, layer)
	}
	if err != nil {
		return &blobError{digest.String(), err}
	}
	c.registry.blobs.repos.LoadOrStore(digest, c.name)
	return nil
}

// withMountSource returns the layer with a repository to mount it from, if the
// registry is known to have it or a sibling has it.
func (c *connection) withMountSource(ctx context.Context, layer v1.Layer, digest v1.Hash, siblings []string) (v1.Layer, error) {
	if pulled, ok := layer.(*remote.MountableLayer); ok {
		if pulled.Reference.Context().Registry == c.name.Registry {
			return layer, nil
		}
		layer = pulled.Layer
	}
	from := func(repository name.Repository) v1.Layer {
		return &remote.MountableLayer{Layer: layer, Reference: repository.Digest(digest.String())}
	}
	if known, ok := c.registry.blobs.repos.Load(digest); ok {
		return from(known.(name.Repository)), nil
	}
	if len(siblings) == 0 {
		return layer, nil
	}
	if exists, err := c.hasBlob(ctx, digest); err != nil || exists {
		return layer, err
	}
	for _, sibling := range siblings[:min(len(siblings), maxSiblings)] {
		other, err := c.registry.connect(ctx, sibling)
		if err != nil || other == c {
			continue
		}
		if exists, err := other.hasBlob(ctx, digest); err == nil && exists { // without read access it cannot be mounted either
			return from(other.name), nil
		}
	}
	return layer, nil
}

// hasBlob reports whether the repository has a blob.
func (c *connection) hasBlob(ctx context.Context, digest v1.Hash) (bool, error) {
	layer, err := remote.Layer(c.name.Digest(digest.String()), c.remote(ctx)...)
	if err != nil {
		return false, err
	}
	return partial.Exists(layer)
}

// upload uploads a missing blob, and restarts an upload that was interrupted.
func (c *connection) upload(ctx context.Context, layer v1.Layer) error {
	select {
	case c.registry.uploadSlots <- struct{}{}:
		defer func() { <-c.registry.uploadSlots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for failed := 1; ; failed++ {
		err := c.pusher.Upload(ctx, c.name, layer)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if !isPulled(layer) { // the library verifies what it reads
			if corrupt := verifyContent(layer); corrupt != nil {
				return corrupt
			}
		}
		var upload *uploadError
		if failed >= maxAttempts || !errors.As(err, &upload) {
			return err
		}
		if err := c.registry.options.Clock.Sleep(ctx, max(backoff(failed), upload.wait)); err != nil {
			return err
		}
	}
}

// verifyContent reports whether a failed upload is due to the content. Content is
// not hashed during the upload, which would double its cost; the registry verifies
// it.
func verifyContent(layer v1.Layer) error {
	digest, err := layer.Digest()
	if err != nil {
		return err
	}
	reader, err := layer.Compressed()
	if err != nil {
		return fmt.Errorf("reading it: %w", err)
	}
	defer reader.Close()
	actual, _, err := v1.SHA256(reader)
	if err != nil {
		return fmt.Errorf("reading it: %w", err)
	}
	if actual != digest {
		return errCorrupt
	}
	return nil
}
