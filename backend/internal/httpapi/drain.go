package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// lingerTimeout is how long a closing listener still accepts connections, to take
	// those that the kernel has already queued.
	lingerTimeout = 20 * time.Millisecond
	// acceptPause is the pause before another accept when the host has run out of
	// resources, which connections release when they end.
	acceptPause = 100 * time.Millisecond
)

// exhaustionErrors are the errors of accept(2) when the host has run out of resources.
var exhaustionErrors = []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM}

// Serve serves requests on ln until ctx is done, and then drains, so that no request is
// lost, and closes ln:
//
//  1. The health check fails and every response has "Connection: close", so that clients
//     and load balancers use other instances. For DrainDelay, requests are served as
//     before.
//  2. The listener accepts the connections that the kernel has queued, and closes. Idle
//     connections are closed, and those without a request.
//  3. Requests in flight are completed, for at most DrainTimeout.
//
// The error is nil if all requests were completed. Serve can be called once.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	lingering := newLingeringListener(ln, s.opts.Log)
	served := make(chan error, 1)
	go func() { served <- s.app.Listener(lingering) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving on %s: %w", ln.Addr(), errors.Join(err, ln.Close()))
	case <-ctx.Done():
	}
	s.draining.Store(true)
	s.opts.Log.Info("draining",
		slog.Int64("in_flight", s.inFlight.Load()),
		slog.String("delay", s.opts.DrainDelay.String()),
		slog.String("timeout", s.opts.DrainTimeout.String()))
	<-time.After(s.opts.DrainDelay)
	closeUnused := time.AfterFunc(2*lingerTimeout, lingering.closeUnused)
	defer closeUnused.Stop()
	err := s.app.ShutdownWithTimeout(s.opts.DrainTimeout)
	// The framework closes the listener only if it was serving.
	_ = lingering.Close()
	<-served
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("draining: connections were still busy after %s, with %d requests in flight", s.opts.DrainTimeout, s.inFlight.Load())
	}
	return err
}

// lingeringListener still accepts connections for a moment after Close. Otherwise,
// connections that the kernel has established but the server has not accepted are reset,
// although their clients may already have sent a request.
type lingeringListener struct {
	net.Listener
	log     *slog.Logger
	closing atomic.Bool

	mu     sync.Mutex
	unused map[*trackedConn]struct{}
}

func newLingeringListener(ln net.Listener, log *slog.Logger) *lingeringListener {
	return &lingeringListener{Listener: ln, log: log, unused: map[*trackedConn]struct{}{}}
}

func (l *lingeringListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	// The framework would stop the server.
	var code syscall.Errno
	for errors.As(err, &code) && slices.Contains(exhaustionErrors, code) {
		l.log.Error("cannot accept connections, trying again", slog.Any("error", err))
		<-time.After(acceptPause)
		conn, err = l.Listener.Accept()
	}
	if err != nil && l.closing.Load() {
		// Not a temporary timeout: net.ErrClosed is the only error that the framework
		// treats as a regular end.
		return nil, errors.Join(net.ErrClosed, l.Listener.Close())
	}
	if err != nil {
		return nil, err
	}
	tracked := &trackedConn{Conn: conn, listener: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unused[tracked] = struct{}{}
	return tracked, nil
}

// closeUnused ends the wait for connections without a request. The framework treats them
// as busy and would wait for its read timeout. Clients with a connection pool, such as
// Go's, leave some.
func (l *lingeringListener) closeUnused() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.unused {
		// An error means that the connection is already closed.
		_ = conn.SetReadDeadline(time.Now())
	}
}

// markUsed records that a connection has sent a request or is closed.
func (l *lingeringListener) markUsed(conn *trackedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.unused, conn)
}

// trackedConn calls markUsed at its first byte and its end.
type trackedConn struct {
	net.Conn
	listener *lingeringListener
	once     sync.Once
}

func (c *trackedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.once.Do(func() { c.listener.markUsed(c) })
	}
	return n, err
}

func (c *trackedConn) Close() error {
	c.once.Do(func() { c.listener.markUsed(c) })
	return c.Conn.Close()
}

func (l *lingeringListener) Close() error {
	tcp, ok := l.Listener.(*net.TCPListener)
	if l.closing.Swap(true) || !ok {
		return l.Listener.Close()
	}
	return tcp.SetDeadline(time.Now().Add(lingerTimeout))
}
