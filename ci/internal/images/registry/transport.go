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

// Timeouts of one request to a registry.
const (
	dialTimeout   = 5 * time.Second
	answerTimeout = 30 * time.Second
	// stallTimeout is how long a connection may be idle during a request. A timeout
	// for the whole request would depend on the body's size and the bandwidth.
	stallTimeout = time.Minute
)

// NewTransport returns a transport for registries, with timeouts for the
// connection, the response header and every read and write. The caller's context
// limits the whole request.
func NewTransport() *http.Transport {
	tr := newTransport(stallTimeout)
	tr.ResponseHeaderTimeout = answerTimeout
	return tr
}

// newTransport returns a transport that fails a request if no byte moves within
// limit. It uses HTTP/1, so that each concurrent request has its own connection.
func newTransport(limit time.Duration) *http.Transport {
	tr := remote.DefaultTransport.(*http.Transport).Clone()
	dialer := &net.Dialer{Timeout: dialTimeout}
	tr.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return deadlineConn{conn, limit}, nil
	}
	tr.Protocols = new(http.Protocols)
	tr.Protocols.SetHTTP1(true)
	tr.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12} // otherwise the clone still offers HTTP/2
	tr.TLSHandshakeTimeout = 0
	tr.IdleConnTimeout = limit / 2
	return tr
}

// deadlineConn is a connection that fails if no byte moves in either direction
// within limit.
type deadlineConn struct {
	net.Conn
	limit time.Duration
}

func (t deadlineConn) Read(p []byte) (int, error) {
	_ = t.SetDeadline(time.Now().Add(t.limit))
	return t.Conn.Read(p)
}

func (t deadlineConn) Write(p []byte) (int, error) {
	_ = t.SetDeadline(time.Now().Add(t.limit))
	return t.Conn.Write(p)
}

// errInsecure is the error of plain HTTP to another machine, which would expose the
// credentials.
var errInsecure = errors.New("plain HTTP is allowed only for this machine: use HTTPS")

// tlsTransport allows plain HTTP only to this machine, even after redirects.
type tlsTransport struct{ inner http.RoundTripper }

func (g tlsTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && !IsLoopback(req.URL.Host) {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, fmt.Errorf("%s: %w", req.URL.Host, errInsecure)
	}
	return g.inner.RoundTrip(req)
}

// UploadStats counts what was sent to a registry.
type UploadStats struct {
	// Bytes of blobs and manifests, including retries.
	Bytes int64 `json:"bytes_sent"`
	// Blobs that were uploaded, and Mounted those that another repository had.
	Blobs   int64 `json:"blobs_sent"`
	Mounted int64 `json:"blobs_mounted"`
	// Manifests that were written, including those of tags.
	Manifests int64 `json:"manifests_sent"`
}

// uploadCounter counts the uploads within a context.
type uploadCounter struct{ bytes, blobs, mounted, manifests atomic.Int64 }

type counterKey struct{}

func (t *uploadCounter) stats() UploadStats {
	return UploadStats{Bytes: t.bytes.Load(), Blobs: t.blobs.Load(), Mounted: t.mounted.Load(), Manifests: t.manifests.Load()}
}

// countingTransport counts uploads and verifies the digest that the registry
// stored.
type countingTransport struct{ inner http.RoundTripper }

func (c countingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	t, ok := req.Context().Value(counterKey{}).(*uploadCounter)
	if !ok {
		t = &uploadCounter{}
	}
	if req.Body != nil && req.Body != http.NoBody {
		req = req.WithContext(req.Context())
		req.Body = &countingBody{req.Body, t}
	}
	response, err := c.inner.RoundTrip(req)
	if err != nil || response.StatusCode != http.StatusCreated {
		return response, err
	}
	switch kind, query := kindOf(req), req.URL.Query(); {
	case kind == startUpload && query.Has("mount"):
		t.mounted.Add(1)
	case kind == finishUpload:
		sent, got := query.Get("digest"), response.Header.Get("Docker-Content-Digest")
		if got != "" && got != sent {
			drain(response)
			return nil, &digestError{registry: req.URL.Host, got: got, sent: sent}
		}
		t.blobs.Add(1)
	case kind == putManifest:
		t.manifests.Add(1)
	}
	return response, nil
}

// countingBody counts the bytes read from it.
type countingBody struct {
	io.ReadCloser
	counter *uploadCounter
}

func (c *countingBody) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.counter.bytes.Add(int64(n))
	return n, err
}

// requestKind is the operation of a request to a registry.
type requestKind int

const (
	otherRequest requestKind = iota
	startUpload
	sendUpload
	finishUpload
	putManifest
)

func kindOf(req *http.Request) requestKind {
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
	return otherRequest
}
