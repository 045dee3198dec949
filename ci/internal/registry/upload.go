package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// upload is a blob on its way to a repository. Its content is streamed, whatever
// its size, and where the way breaks off the registry is asked how far it came.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-a-blob-in-chunks
type upload struct {
	*connection
	layer  v1.Layer
	digest v1.Hash
	size   int64
	from   string // repository to mount it from, if not ""
	tally  *tally

	location string // where to go on; "" before the start
	offset   int64  // what the registry has
	resumed  bool   // whether what it has came in several parts
	// whole gives up going on, because what the registry says of its part is wrong:
	// ECR's does not advance.
	// https://github.com/aws/containers-roadmap/issues/2831
	whole bool
}

// broken is a failure after which the upload may go on.
type broken struct {
	err   error
	after time.Duration // how long the registry asks to be left alone
}

func (b *broken) Error() string { return b.err.Error() }

// progress is what an upload must have gained for a failure not to count.
const progress = 1 << 20

// run brings the blob there. Failures in a row without progress are bounded.
func (u *upload) run(ctx context.Context) error {
	select {
	case u.registry.slots <- struct{}{}:
		defer func() { <-u.registry.slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for failed := 0; ; {
		before := u.offset
		err := u.attempt(ctx)
		var b *broken
		if err == nil || ctx.Err() != nil || !errors.As(err, &b) {
			return err
		}
		if failed++; failed >= tries || b.after > patience {
			return b.err
		}
		if err := u.registry.options.Clock.Sleep(ctx, max(pause(failed), b.after)); err != nil {
			return err
		}
		if there, err := u.hasBlob(ctx, u.digest); err != nil || there { // its answer alone was lost
			return err
		}
		if u.locate(ctx); u.offset >= before+progress {
			failed = 0
		}
	}
}

// attempt starts the upload, or goes on with it, to its end.
func (u *upload) attempt(ctx context.Context) error {
	if u.location == "" {
		if mounted, err := u.start(ctx); err != nil || mounted {
			return err
		}
	}
	if u.offset < u.size || u.size == 0 {
		if err := u.send(ctx); err != nil {
			return err
		}
	}
	return u.finish(ctx)
}

// start opens an upload, or mounts the blob. A registry that cannot mount it opens
// an upload instead.
func (u *upload) start(ctx context.Context) (mounted bool, err error) {
	address := u.url("/blobs/uploads/")
	if u.from != "" {
		address += "?" + url.Values{"mount": {u.digest.String()}, "from": {u.from}}.Encode()
	}
	answer, err := u.request(ctx, http.MethodPost, address)
	if err != nil {
		return false, err
	}
	defer discard(answer)
	switch answer.StatusCode {
	case http.StatusCreated:
		u.tally.mounted.Add(1)
		return true, nil
	case http.StatusAccepted:
		if u.from != "" {
			u.registry.held.unmounted()
		}
		u.offset, u.resumed = 0, false
		return false, u.moved(answer)
	}
	if u.from != "" { // some refuse the question instead of answering it
		u.from = ""
		return u.start(ctx)
	}
	return false, transport.CheckError(answer, http.StatusAccepted)
}

// unmounted notes that the registry did not mount a blob that it had.
func (h *holdings) unmounted() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.apart = true
}

// send streams what the registry lacks.
func (u *upload) send(ctx context.Context) error {
	content, err := u.open()
	if err != nil {
		return fmt.Errorf("reading it: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, u.location, content)
	if err != nil {
		_ = content.Close()
		return err
	}
	if req.ContentLength = u.size - u.offset; req.ContentLength == 0 {
		_ = content.Close()
		req.Body = http.NoBody
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	if u.offset > 0 {
		req.Header.Set("Content-Range", fmt.Sprintf("%d-%d", u.offset, u.size-1))
	}
	answer, err := u.do(req)
	if err != nil {
		if bad := content.bad.Load(); bad != nil {
			return *bad
		}
		if !transient(err) {
			return err
		}
		return &broken{err: err}
	}
	defer discard(answer)
	switch code := answer.StatusCode; {
	case code == http.StatusAccepted, code == http.StatusCreated, code == http.StatusNoContent:
		return u.moved(answer)
	case slices.Contains(passing, code), code == http.StatusNotFound, code == http.StatusRequestedRangeNotSatisfiable, u.resumed:
		u.whole = u.whole || !slices.Contains(passing, code)
		return &broken{transport.CheckError(answer), retryAfter(answer, u.registry.options.Clock.Now())}
	}
	return transport.CheckError(answer)
}

// finish makes the upload a blob.
func (u *upload) finish(ctx context.Context) error {
	address, err := url.Parse(u.location)
	if err != nil {
		return err
	}
	query := address.Query()
	query.Set("digest", u.digest.String())
	address.RawQuery = query.Encode()
	answer, err := u.request(ctx, http.MethodPut, address.String())
	if err != nil {
		return err
	}
	defer discard(answer)
	switch answer.StatusCode {
	case http.StatusCreated, http.StatusNoContent, http.StatusOK:
		u.tally.blobs.Add(1)
		return u.named(answer)
	case http.StatusNotFound: // it was finished, and the answer was lost; or it is forgotten
		return &broken{err: transport.CheckError(answer)}
	}
	if u.resumed { // of wrong parts
		u.whole = true
		return &broken{err: transport.CheckError(answer)}
	}
	if answer.StatusCode == http.StatusBadRequest {
		if bad := u.check(); bad != nil {
			return bad
		}
	}
	return transport.CheckError(answer)
}

// named checks that the registry names the blob as it was sent.
func (u *upload) named(answer *http.Response) error {
	if says := answer.Header.Get("Docker-Content-Digest"); says != "" && says != u.digest.String() {
		return &digestError{registry: u.registry.Host, says: says, sent: u.digest.String()}
	}
	return nil
}

// request sends a request without a body, which is tried again by itself.
func (u *upload) request(ctx context.Context, method, address string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, err
	}
	return u.do(req)
}

// locate asks the registry how far the upload came. Where it does not say, the
// upload starts anew.
func (u *upload) locate(ctx context.Context) {
	location := u.location
	u.location, u.offset = "", 0
	if location == "" || u.whole {
		return
	}
	answer, err := u.request(ctx, http.MethodGet, location)
	if err != nil {
		return
	}
	defer discard(answer)
	first, last, _ := strings.Cut(answer.Header.Get("Range"), "-")
	end, err := strconv.ParseInt(last, 10, 64)
	// 0-0 is what registries say of none, and of one byte, too.
	if answer.StatusCode != http.StatusNoContent || first != "0" || err != nil || end < 1 || end >= u.size {
		return
	}
	u.location = location
	if u.moved(answer) == nil {
		u.offset, u.resumed = end+1, true
	}
}

// moved takes over the place that an answer names for what comes next.
func (u *upload) moved(answer *http.Response) error {
	next := answer.Header.Get("Location")
	if next == "" {
		if u.location != "" {
			return nil
		}
		return fmt.Errorf("the registry opens an upload and does not say where")
	}
	base := answer.Request.URL
	address, err := base.Parse(next)
	if err != nil {
		return fmt.Errorf("the registry names %q as the place of an upload", next)
	}
	u.location = address.String()
	return nil
}

// open opens the content where the registry's part ends.
func (u *upload) open() (*content, error) {
	reader, err := u.layer.Compressed()
	if err != nil {
		return nil, err
	}
	c := &content{ReadCloser: reader, left: u.size - u.offset, tally: u.tally}
	switch seeker, ok := reader.(io.Seeker); {
	case u.offset == 0:
	case ok:
		_, err = seeker.Seek(u.offset, io.SeekStart)
	default:
		_, err = io.CopyN(io.Discard, reader, u.offset)
	}
	if err != nil {
		_ = reader.Close()
		return nil, err
	}
	return c, nil
}

// check says whether the content is at fault for what the registry did not take.
// It is not hashed on its way, which would cost as much as the way: the registry
// does that.
func (u *upload) check() error {
	reader, err := u.layer.Compressed()
	if err != nil {
		return fmt.Errorf("reading it: %w", err)
	}
	defer reader.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, reader); err != nil {
		return fmt.Errorf("reading it: %w", err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != u.digest.Hex {
		return errCorrupt
	}
	return nil
}

// content is read once and counted.
type content struct {
	io.ReadCloser
	left  int64
	tally *tally
	// bad is what is wrong with the content itself. Who sends it may still read when
	// the answer is there.
	bad atomic.Pointer[error]
}

func (c *content) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.left -= int64(n)
	c.tally.bytes.Add(int64(n))
	var bad error
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		bad = fmt.Errorf("reading it: %w", err)
	case c.left < 0, err != nil && c.left > 0:
		bad = errCorrupt
	}
	if bad != nil {
		c.bad.Store(&bad)
		return 0, bad // its last part is held back, so that it cannot be taken for whole
	}
	return n, err
}
