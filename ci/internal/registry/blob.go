package registry

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// maxSiblings is how many other repositories are asked for a layer at most.
const maxSiblings = 8

// holdings is what the repositories of a registry are known to hold, and who is
// at work on which blob.
type holdings struct {
	locks sync.Map // of string to chan struct{}

	mu    sync.Mutex
	repos map[v1.Hash][]string
	// apart says that the registry did not mount a blob that it had: one upload
	// waiting for another would gain nothing.
	apart bool
	// likely is the sibling that had a layer last: bases come as a whole.
	likely string
}

// lock waits for its turn to work on something.
func (h *holdings) lock(ctx context.Context, key string) (unlock func(), err error) {
	turn, _ := h.locks.LoadOrStore(key, make(chan struct{}, 1))
	lock := turn.(chan struct{})
	select {
	case lock <- struct{}{}:
		return func() { <-lock }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// add notes that a repository holds a blob.
func (h *holdings) add(digest v1.Hash, repository string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.repos == nil {
		h.repos = map[v1.Hash][]string{}
	}
	if !slices.Contains(h.repos[digest], repository) {
		h.repos[digest] = append(h.repos[digest], repository)
	}
}

// of lists the repositories that are known to hold a blob.
func (h *holdings) of(digest v1.Hash) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.repos[digest])
}

// turn waits for its turn to bring a blob to a repository: no blob is sent to one
// twice, and, while the registry mounts blobs, none is sent to two at a time.
func (h *holdings) turn(ctx context.Context, digest v1.Hash, repository string) (end func(), err error) {
	here, err := h.lock(ctx, digest.String()+" "+repository)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	apart := h.apart
	h.mu.Unlock()
	if apart {
		return here, nil
	}
	anywhere, err := h.lock(ctx, digest.String())
	if err != nil {
		here()
		return nil, err
	}
	return func() { anywhere(); here() }, nil
}

// putBlob brings a layer to the repository: it is there, is mounted from another
// repository of the registry, or is sent. base says that the layer is of the
// image's base, which others may have, too.
func (c *connection) putBlob(ctx context.Context, layer v1.Layer, siblings []string, base bool, t *tally) error {
	kind, err := layer.MediaType()
	if err != nil {
		return err
	}
	if !kind.IsDistributable() {
		return nil
	}
	digest, err := layer.Digest()
	if err != nil {
		return err
	}
	size, err := layer.Size()
	if err != nil {
		return err
	}
	held, repository := &c.registry.held, c.name.RepositoryStr()
	end, err := held.turn(ctx, digest, repository)
	if err != nil {
		return err
	}
	defer end()
	if slices.Contains(held.of(digest), repository) {
		return nil
	}
	there, err := c.hasBlob(ctx, digest)
	if err == nil && !there {
		u := &upload{connection: c, layer: layer, digest: digest, size: size, from: c.source(ctx, layer, digest, siblings, base), tally: t}
		err = u.run(ctx)
	}
	if err != nil {
		return &blobError{digest.String(), err}
	}
	held.add(digest, repository)
	return nil
}

// hasBlob asks whether the repository holds a blob.
func (c *connection) hasBlob(ctx context.Context, digest v1.Hash) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, c.url("/blobs/"+digest.String()), nil)
	if err != nil {
		return false, err
	}
	answer, err := c.do(req)
	if err != nil {
		return false, err
	}
	defer discard(answer)
	return answer.StatusCode == http.StatusOK, transport.CheckError(answer, http.StatusOK, http.StatusNotFound)
}

func (c *connection) url(path string) string {
	return c.name.Scheme() + "://" + c.name.RegistryStr() + "/v2/" + c.name.RepositoryStr() + path
}

// source is a repository of the registry to mount a blob from; "" if none is known
// to hold it.
//
// To ask is one short exchange, which pays for layers of a base alone: what a
// service adds to it nobody else has.
func (c *connection) source(ctx context.Context, layer v1.Layer, digest v1.Hash, siblings []string, base bool) string {
	held := &c.registry.held
	if known := held.of(digest); len(known) > 0 {
		return known[0]
	}
	if pulled, ok := layer.(*remote.MountableLayer); ok && pulled.Reference.Context().RegistryStr() == c.name.RegistryStr() {
		return pulled.Reference.Context().RepositoryStr()
	}
	if !base {
		return ""
	}
	held.mu.Lock()
	likely := held.likely
	held.mu.Unlock()
	siblings = slices.Clone(siblings)
	slices.SortStableFunc(siblings, func(a, b string) int {
		switch c.registry.path(likely) {
		case c.registry.path(a):
			return -1
		case c.registry.path(b):
			return 1
		}
		return 0
	})
	for _, sibling := range siblings[:min(len(siblings), maxSiblings)] {
		other, err := c.registry.connect(ctx, sibling)
		if err != nil || other == c {
			continue
		}
		if there, err := other.hasBlob(ctx, digest); err == nil && there { // who may not look may not mount
			held.add(digest, other.name.RepositoryStr())
			held.mu.Lock()
			held.likely = sibling
			held.mu.Unlock()
			return other.name.RepositoryStr()
		}
	}
	return ""
}

// errCorrupt is the error of content that does not have its digest.
var errCorrupt = errors.New("its content is not what its digest says")
