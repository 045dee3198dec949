package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Deadlines of one exchange with a registry.
const (
	dialTimeout   = 5 * time.Second
	answerTimeout = 30 * time.Second
	// stall is how long a registry may neither send nor take a byte. A deadline on
	// the whole would have to know how large a body and how fast a line is.
	stall = time.Minute
)

// NewTransport carries requests to registries, with a deadline on connecting, on
// the answer's first byte and on every byte after it. The caller's context bounds
// the whole.
func NewTransport() *http.Transport {
	carrier := newTransport(stall)
	carrier.ResponseHeaderTimeout = answerTimeout
	return carrier
}

// newTransport ends an exchange in which nothing moves for as long as limit. It
// has a connection for each exchange at a time, so HTTP/1.
func newTransport(limit time.Duration) *http.Transport {
	carrier := remote.DefaultTransport.(*http.Transport).Clone()
	dialer := &net.Dialer{Timeout: dialTimeout}
	carrier.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return timed{conn, limit}, nil
	}
	carrier.Protocols = new(http.Protocols)
	carrier.Protocols.SetHTTP1(true)
	carrier.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12} // the clone offers HTTP/2 all the same
	carrier.TLSHandshakeTimeout = 0
	carrier.IdleConnTimeout = limit / 2
	return carrier
}

// timed is a connection that fails when no byte moves for as long as limit, in
// either direction.
type timed struct {
	net.Conn
	limit time.Duration
}

func (t timed) Read(p []byte) (int, error) {
	_ = t.SetDeadline(time.Now().Add(t.limit))
	return t.Conn.Read(p)
}

func (t timed) Write(p []byte) (int, error) {
	_ = t.SetDeadline(time.Now().Add(t.limit))
	return t.Conn.Write(p)
}

// errPlain refuses to speak without encryption to another machine: the login
// would go with it.
var errPlain = errors.New("it is spoken to without encryption, which is only for this machine itself: give it a certificate")

// guarded speaks plain HTTP to this machine only, however it was led elsewhere.
type guarded struct{ inner http.RoundTripper }

func (g guarded) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && !IsLoopback(req.URL.Host) {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, fmt.Errorf("%s: %w", req.URL.Host, errPlain)
	}
	return g.inner.RoundTrip(req)
}

// Sent counts what was sent to a registry.
type Sent struct {
	// Bytes of blobs and manifests, those that were sent again included.
	Bytes int64 `json:"bytes_sent"`
	// Blobs that were sent, and Mounted those that another repository had.
	Blobs   int64 `json:"blobs_sent"`
	Mounted int64 `json:"blobs_mounted"`
	// Manifests that were written, those of tags included.
	Manifests int64 `json:"manifests_sent"`
}

// tally counts what is being sent within a context.
type tally struct{ bytes, blobs, mounted, manifests atomic.Int64 }

type tallyKey struct{}

func (t *tally) sent() Sent {
	return Sent{Bytes: t.bytes.Load(), Blobs: t.blobs.Load(), Mounted: t.mounted.Load(), Manifests: t.manifests.Load()}
}

// counted counts what the registry takes, and checks that it takes a blob for what
// it is.
type counted struct{ inner http.RoundTripper }

func (c counted) RoundTrip(req *http.Request) (*http.Response, error) {
	t, ok := req.Context().Value(tallyKey{}).(*tally)
	if !ok {
		t = &tally{}
	}
	if req.Body != nil && req.Body != http.NoBody {
		req = req.WithContext(req.Context())
		req.Body = &countedBody{req.Body, t}
	}
	answer, err := c.inner.RoundTrip(req)
	if err != nil || answer.StatusCode != http.StatusCreated {
		return answer, err
	}
	switch kind, query := kindOf(req), req.URL.Query(); {
	case kind == startUpload && query.Has("mount"):
		t.mounted.Add(1)
	case kind == finishUpload:
		sent, says := query.Get("digest"), answer.Header.Get("Docker-Content-Digest")
		if says != "" && says != sent {
			discard(answer)
			return nil, &digestError{registry: req.URL.Host, says: says, sent: sent}
		}
		t.blobs.Add(1)
	case kind == putManifest:
		t.manifests.Add(1)
	}
	return answer, nil
}

// countedBody counts what is read from it.
type countedBody struct {
	io.ReadCloser
	tally *tally
}

func (c *countedBody) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.tally.bytes.Add(int64(n))
	return n, err
}

// kind is what a request does to a registry.
type kind int

const (
	other kind = iota
	startUpload
	sendUpload
	finishUpload
	putManifest
)

func kindOf(req *http.Request) kind {
	uploads := strings.Contains(req.URL.Path, "/blobs/uploads")
	switch {
	case req.Method == http.MethodPost && uploads:
		return startUpload
	case req.Method == http.MethodPatch:
		return sendUpload
	case req.Method == http.MethodPut && req.URL.Query().Has("digest"):
		return finishUpload
	case req.Method == http.MethodPut && strings.Contains(req.URL.Path, "/manifests/"):
		return putManifest
	}
	return other
}
