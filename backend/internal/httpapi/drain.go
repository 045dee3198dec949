package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"
)

// lingerTime is how long a closing listener still accepts. It only has to
// cover what the kernel has queued already.
const lingerTime = 20 * time.Millisecond

// Serve answers requests on ln, and closes it, until ctx is done; then it
// drains, so that no request is lost:
//
//  1. The health check fails and every response says "Connection: close", so
//     that clients and load balancers move on to other instances. For
//     DrainDelay everything is answered as before.
//  2. The listener takes in what the kernel has queued, and closes. Idle
//     connections are closed.
//  3. For at most DrainTimeout, requests in flight are completed.
//
// The error is nil if every request was answered.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	ln = &lingeringListener{Listener: ln}
	served := make(chan error, 1)
	go func() { served <- s.app.Listener(ln) }()
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
	time.Sleep(s.opts.DrainDelay)
	err := s.app.ShutdownWithTimeout(s.opts.DrainTimeout)
	// The framework closes the listener only if it had got as far as serving.
	_ = ln.Close()
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
	closing atomic.Bool
}

func (l *lingeringListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil && l.closing.Load() {
		// The end of the linger time is no passing timeout: say so in the only
		// words that the framework takes for a regular end.
		return nil, errors.Join(net.ErrClosed, l.Listener.Close())
	}
	return conn, err
}

func (l *lingeringListener) Close() error {
	tcp, ok := l.Listener.(*net.TCPListener)
	if l.closing.Swap(true) || !ok {
		return l.Listener.Close()
	}
	return tcp.SetDeadline(time.Now().Add(lingerTime))
}
