package httpapi

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	return conn
}

// exchangeOn asks on a connection.
func exchangeOn(conn net.Conn) (*http.Response, []byte, error) {
	if _, err := io.WriteString(conn, "GET /api/ HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return nil, nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

func TestConnectionsAreBounded(t *testing.T) {
	s, logged := newServer(t, func(o *Options) { o.MaxConnections = 2 })
	r := run(t, s)
	first, second := dial(t, r.addr), dial(t, r.addr)
	for _, conn := range []net.Conn{first, second} {
		resp, _, err := exchangeOn(conn)
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
	}
	resp, body, err := exchangeOn(dial(t, r.addr))
	require.NoError(t, err)
	require.Equal(t, 503, resp.StatusCode)
	require.True(t, resp.Close)
	require.Equal(t, "1", resp.Header.Get("Retry-After"))
	require.Equal(t, "application/json", resp.Header.Get("Content-Type"))
	var fields map[string]string
	require.NoError(t, json.Unmarshal(body, &fields))
	require.Equal(t, "service unavailable", fields["error"])
	require.Equal(t, resp.Header.Get("X-Request-ID"), fields["request_id"])
	require.Equal(t, fields["request_id"], logged.lines(t, "refused")[0]["request_id"])
	require.EqualValues(t, 1, s.meter.turnedOff.Get())

	require.NoError(t, first.Close()) // makes room
	require.Eventually(t, func() bool {
		resp, _, err := exchangeOn(dial(t, r.addr))
		return err == nil && resp.StatusCode == 200
	}, 5*time.Second, 10*time.Millisecond)
	r.stop()
	require.NoError(t, <-r.result)
}

// poor is a listener whose host has nothing left to accept with, for a while.
type poor struct {
	net.Listener
	failures []error
	conn     net.Conn
}

func (p *poor) Accept() (net.Conn, error) {
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
		var told []error
		begin := time.Now()
		g := newGate(&poor{failures: []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM}, conn: conn}, 1, nil,
			func(err error) { told = append(told, err) })
		accepted, err := g.Accept()
		require.NoError(t, err, "it waits, and goes on")
		require.Equal(t, conn, accepted.(*guest).Conn)
		require.Equal(t, 4*acceptPause, time.Since(begin))
		require.Len(t, told, 1, "once, not at each try")
		require.ErrorIs(t, told[0], syscall.EMFILE)

		g.Listener = &poor{failures: []error{syscall.EINVAL}}
		_, err = g.Accept()
		require.ErrorIs(t, err, syscall.EINVAL)
	})
}

func TestStarvationIsLogged(t *testing.T) {
	s, logged := newServer(t, nil)
	s.starved(syscall.EMFILE)
	require.Equal(t, "too many open files", logged.lines(t, "connections wait")[0]["error"])
}

// TestConnectionStorm opens many more connections than allowed, most of which
// say nothing. Those that were let in are served, and memory stays bounded.
func TestConnectionStorm(t *testing.T) {
	const allowed, storm = 20, 500
	s, _ := newServer(t, func(o *Options) { o.MaxConnections = allowed })
	r := run(t, s)
	var inside []net.Conn
	for range allowed {
		conn := dial(t, r.addr)
		resp, _, err := exchangeOn(conn)
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		inside = append(inside, conn)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var served, refused atomic.Int64
	var all sync.WaitGroup
	for n := range storm {
		conn, err := net.Dial("tcp", r.addr)
		require.NoError(t, err)
		if n%2 == 0 { // silent
			t.Cleanup(func() { _ = conn.Close() })
			continue
		}
		all.Go(func() {
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			resp, _, err := exchangeOn(conn)
			switch {
			case err != nil: // closed without a word: too many to tell them all
			case resp.StatusCode == 503:
				refused.Add(1)
			default:
				served.Add(1)
			}
		})
	}
	all.Wait()
	runtime.ReadMemStats(&after)
	require.Zero(t, served.Load(), "nobody gets in who is beyond the limit")
	require.Positive(t, refused.Load())
	require.LessOrEqual(t, s.app.Server().GetOpenConnectionsCount(), int32(allowed))
	require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(32<<20))
	for _, conn := range inside {
		resp, _, err := exchangeOn(conn)
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
	}
	t.Logf("%d told, of %d", refused.Load(), storm/2)
}
