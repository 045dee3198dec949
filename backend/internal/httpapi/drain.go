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
	// lingerTime is how long a closing listener still accepts. It only has to
	// cover what the kernel has queued already.
	lingerTime = 20 * time.Millisecond
	// acceptPause is how long connections are left waiting when the host has
	// nothing left to accept them with. Those that end give it back.
	acceptPause = 100 * time.Millisecond
)

// exhausted are the errors of accept(2) that say so.
var exhausted = []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM}

// Serve answers requests on ln, and closes it, until ctx is done; then it
// drains, so that no request is lost:
//
//  1. The health check fails, and every response says "Connection: close", so
//     that clients and load balancers move on to other instances. For
//     DrainDelay everything is answered as before.
//  2. The listener takes in what the kernel has queued, and closes. Idle
//     connections are closed, and those that have never asked for anything.
//  3. For at most DrainTimeout, requests in flight are completed.
//
// The error is nil if every request was answered. Serve can be called once.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	lingering := linger(ln, s.opts.Log)
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
	hangUp := time.AfterFunc(2*lingerTime, lingering.hangUp)
	defer hangUp.Stop()
	err := s.app.ShutdownWithTimeout(s.opts.DrainTimeout)
	// The framework closes the listener only if it had got as far as serving.
	_ = lingering.Close()
	<-served
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("draining: connections were still busy after %s, with %d requests in flight", s.opts.DrainTimeout, s.inFlight.Load())
	}
	return err
}

// lingeringListener accepts for another moment after Close. Without that,
// connections that the kernel has established but nobody has accepted yet are
// reset, although their clients may already have sent a request.
type lingeringListener struct {
	net.Listener
	log     *slog.Logger
	closing atomic.Bool

	mu     sync.Mutex
	silent map[*silentConn]struct{}
}

func linger(ln net.Listener, log *slog.Logger) *lingeringListener {
	return &lingeringListener{Listener: ln, log: log, silent: map[*silentConn]struct{}{}}
}

func (l *lingeringListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	// The framework would end the server, with all that it serves.
	var code syscall.Errno
	for errors.As(err, &code) && slices.Contains(exhausted, code) {
		l.log.Error("connections wait", slog.Any("error", err))
		<-time.After(acceptPause)
		conn, err = l.Listener.Accept()
	}
	if err != nil && l.closing.Load() {
		// The end of the linger time is no passing timeout: say so in the only
		// words that the framework takes for a regular end.
		return nil, errors.Join(net.ErrClosed, l.Listener.Close())
	}
	if err != nil {
		return nil, err
	}
	silent := &silentConn{Conn: conn, listener: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent[silent] = struct{}{}
	return silent, nil
}

// hangUp ends the wait for connections that have never asked for anything.
// The framework takes them for busy and would wait for its read timeout.
// Clients that keep a pool of connections, Go's among them, leave such ones.
func (l *lingeringListener) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.silent {
		// An error means that the connection is gone already.
		_ = conn.SetReadDeadline(time.Now())
	}
}

// heard takes note that a connection has asked, or is gone.
func (l *lingeringListener) heard(conn *silentConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.silent, conn)
}

// silentConn tells its listener of its first byte and of its end.
type silentConn struct {
	net.Conn
	listener *lingeringListener
	once     sync.Once
}

func (c *silentConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.once.Do(func() { c.listener.heard(c) })
	}
	return n, err
}

func (c *silentConn) Close() error {
	c.once.Do(func() { c.listener.heard(c) })
	return c.Conn.Close()
}

func (l *lingeringListener) Close() error {
	tcp, ok := l.Listener.(*net.TCPListener)
	if l.closing.Swap(true) || !ok {
		return l.Listener.Close()
	}
	return tcp.SetDeadline(time.Now().Add(lingerTime))
}
