package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Deadlines of one exchange with a registry.
const (
	dialTimeout   = 5 * time.Second
	answerTimeout = 30 * time.Second
)

// NewTransport carries requests to registries, with a deadline on connecting
// and on the answer's first byte. Bodies are as long as they are: the caller's
// context bounds them.
func NewTransport() *http.Transport {
	carrier := remote.DefaultTransport.(*http.Transport).Clone()
	carrier.DialContext = (&net.Dialer{Timeout: dialTimeout}).DialContext
	carrier.ResponseHeaderTimeout = answerTimeout
	return carrier
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

// stalled is the error of an exchange in which nothing moved.
type stalled time.Duration

func (s stalled) Error() string { return fmt.Sprintf("nothing moved for %s", time.Duration(s)) }

// watched ends an exchange in which no byte moves for as long as limit. A
// deadline on the whole would have to know how large a body and how fast a line
// is.
type watched struct {
	inner http.RoundTripper
	limit time.Duration
}

func (w watched) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(w.limit, func() { cancel(stalled(w.limit)) })
	moved := func() { timer.Reset(w.limit) }
	out := req.WithContext(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		out.Body = &moving{ReadCloser: req.Body, moved: moved}
	}
	answer, err := w.inner.RoundTrip(out)
	if err != nil {
		timer.Stop()
		err = because(ctx, err)
		cancel(nil)
		return nil, err
	}
	answer.Body = &moving{ReadCloser: answer.Body, moved: moved, ctx: ctx, closed: func() { timer.Stop(); cancel(nil) }}
	return answer, nil
}

// because prefers the reason of a cancelled exchange to the error that it made.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// moving tells of each byte that moves.
type moving struct {
	io.ReadCloser
	moved  func()
	ctx    context.Context // nil for a request's
	closed func()          // nil for a request's
}

func (m *moving) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	if n > 0 {
		m.moved()
	}
	if err != nil && !errors.Is(err, io.EOF) && m.ctx != nil {
		err = because(m.ctx, err)
	}
	return n, err
}

func (m *moving) Close() error {
	err := m.ReadCloser.Close()
	if m.closed != nil {
		m.closed()
	}
	return err
}
