package httpapi

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/stretchr/testify/require"
)

// addSlowRoute adds a route /slow, which sends to arrived and responds after release.
func addSlowRoute(s *Server) (arrived chan struct{}, release chan struct{}) {
	arrived, release = make(chan struct{}, 100), make(chan struct{})
	s.app.Get("/slow", func(c *fiber.Ctx) error {
		arrived <- struct{}{}
		<-release
		return c.SendString("done")
	})
	return arrived, release
}

func TestDrainCompletesRequestsInFlight(t *testing.T) {
	const count = 50
	s, logged := newServer(t, nil)
	arrived, release := addSlowRoute(s)
	r := run(t, s)
	client := newClient(t)

	var lost atomic.Int64
	var pending sync.WaitGroup
	for range count {
		pending.Go(func() {
			resp, err := get(t.Context(), client, r.url+"/slow")
			if err != nil {
				lost.Add(1)
				return
			}
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || string(body) != "done" || !resp.Close {
				lost.Add(1)
			}
		})
	}
	for range count {
		<-arrived
	}
	r.stop()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", r.addr)
		if err == nil {
			_ = conn.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	}, 5*time.Second, 5*time.Millisecond, "the listener must close while requests are in flight")
	close(release)
	pending.Wait()
	require.NoError(t, <-r.result)
	require.Zero(t, lost.Load(), "lost requests")
	lines := logged.withMessage(t, "draining")
	require.Len(t, lines, 1)
	require.InDelta(t, count, lines[0]["in_flight"], 0)
}

// TestDrainUnderLoad stops a server while clients send requests: with one connection, and
// with a new connection for each request. They do not retry. Like a load balancer, they
// stop at "Connection: close", and all their requests must have succeeded.
func TestDrainUnderLoad(t *testing.T) {
	t.Parallel()
	s, _ := newServer(t, func(o *Options) { o.DrainDelay = 500 * time.Millisecond })
	r := run(t, s)
	var answered, lost atomic.Int64
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			for told := false; !told; {
				n, closing, err := sendRequests(r.addr, i%2 == 0)
				answered.Add(n)
				told = closing
				if err != nil {
					t.Logf("after %d answers on the connection: %v", n, err)
					lost.Add(1)
					told = true
				}
			}
		})
	}
	require.Eventually(t, func() bool { return answered.Load() > 1000 }, 10*time.Second, time.Millisecond)
	r.stop()
	clients.Wait()
	require.NoError(t, <-r.result)
	t.Logf("%d requests answered, %d lost", answered.Load(), lost.Load())
	require.Zero(t, lost.Load(), "lost requests")
}

// sendRequests sends requests on one connection, up to 100 or only one. It returns the
// number of responses and whether the last one had "Connection: close".
func sendRequests(addr string, keep bool) (answers int64, closing bool, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return 0, false, err
	}
	reader := bufio.NewReader(conn)
	for answers < 100 && !closing && (keep || answers == 0) {
		if _, err := io.WriteString(conn, "GET /api/ HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return answers, closing, err
		}
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			return answers, closing, err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			return answers, closing, err
		}
		answers++
		closing = resp.Close
	}
	return answers, closing, nil
}

func TestDrainDelayKeepsServing(t *testing.T) {
	t.Parallel()
	s, _ := newServer(t, func(o *Options) { o.DrainDelay = 500 * time.Millisecond })
	r := run(t, s)
	client := newClient(t)
	resp, err := get(t.Context(), client, r.url+"/health")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.False(t, resp.Close)

	r.stop()
	require.Eventually(t, s.draining.Load, 5*time.Second, time.Millisecond)
	for path, status := range map[string]int{"/api/": 200, "/health": 503, "/nope": 404} {
		resp, err := get(t.Context(), client, r.url+path)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, status, resp.StatusCode)
		require.True(t, resp.Close, "a draining server must send Connection: close")
	}
	require.NoError(t, <-r.result)
}

// TestDrainClosesUnusedConnections holds a connection without a request, as Go's HTTP
// client does if another one became idle while it dialled.
func TestDrainClosesUnusedConnections(t *testing.T) {
	s, _ := newServer(t, nil)
	r := run(t, s)
	conn, err := net.Dial("tcp", r.addr)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	resp, err := get(t.Context(), newClient(t), r.url+"/health") // by then the other one is accepted
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())

	start := time.Now()
	r.stop()
	require.NoError(t, <-r.result)
	require.Less(t, time.Since(start), s.opts.ReadTimeout/2, "a connection without a request must not be waited for")
}

func TestDrainClosesIdleConnections(t *testing.T) {
	s, _ := newServer(t, nil)
	r := run(t, s)
	conn, err := net.Dial("tcp", r.addr)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, nil)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())

	start := time.Now()
	r.stop()
	require.NoError(t, <-r.result)
	require.Less(t, time.Since(start), 2*time.Second, "an idle connection must not hold up the stop")
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	_, err = reader.ReadByte()
	require.ErrorIs(t, err, io.EOF)
}

func TestDrainTimeout(t *testing.T) {
	s, _ := newServer(t, func(o *Options) { o.DrainTimeout = 100 * time.Millisecond })
	arrived, release := addSlowRoute(s)
	r := run(t, s)
	client := newClient(t)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		if resp, err := get(t.Context(), client, r.url+"/slow"); err == nil {
			_ = resp.Body.Close()
		}
	}()
	<-arrived
	r.stop()
	require.EqualError(t, <-r.result, "draining: connections were still busy after 100ms, with 1 requests in flight")
	close(release)
	<-answered
}

func TestServeContextAlreadyDone(t *testing.T) {
	s, _ := newServer(t, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, s.Serve(ctx, ln))
	_, err = net.Dial("tcp", ln.Addr().String())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

// brokenListener is a listener that fails.
type brokenListener struct{ net.Listener }

func (brokenListener) Accept() (net.Conn, error) { return nil, errors.New("out of file descriptors") }

func TestServeBrokenListener(t *testing.T) {
	s, _ := newServer(t, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	err = s.Serve(t.Context(), brokenListener{ln})
	require.ErrorContains(t, err, "serving on "+ln.Addr().String())
	require.ErrorContains(t, err, "out of file descriptors")
	_, err = ln.Accept()
	require.ErrorIs(t, err, net.ErrClosed, "the listener must be closed")
}

func TestLingeringListenerAcceptsBacklog(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ln := newLingeringListener(inner, slog.New(slog.DiscardHandler))
	const queued = 5
	for range queued {
		conn, err := net.Dial("tcp", inner.Addr().String())
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
	}
	require.NoError(t, ln.Close())
	for range queued {
		conn, err := ln.Accept()
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	}
	_, err = ln.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = net.Dial("tcp", inner.Addr().String())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

// exhaustedListener is a listener whose host runs out of resources for a while.
type exhaustedListener struct {
	net.Listener
	failures []error
	conn     net.Conn
}

func (p *exhaustedListener) Accept() (net.Conn, error) {
	if len(p.failures) == 0 {
		return p.conn, nil
	}
	err := p.failures[0]
	p.failures = p.failures[1:]
	return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", err)}
}

func TestTooManyOpenFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, other := net.Pipe()
		defer func() { _, _ = conn.Close(), other.Close() }()
		logged := &logEntries{}
		begin := time.Now()
		ln := newLingeringListener(&exhaustedListener{failures: []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM}, conn: conn},
			slog.New(slog.NewJSONHandler(logged, nil)))
		accepted, err := ln.Accept()
		require.NoError(t, err, "it waits, and goes on")
		require.Equal(t, conn, accepted.(*trackedConn).Conn)
		require.Equal(t, 4*acceptPause, time.Since(begin))
		require.Contains(t, logged.withMessage(t, "cannot accept connections, trying again")[0]["error"], "too many open files")

		ln.Listener = &exhaustedListener{failures: []error{syscall.EINVAL}}
		_, err = ln.Accept()
		require.ErrorIs(t, err, syscall.EINVAL)
	})
}
