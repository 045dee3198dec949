package benchmark

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
	"golang.org/x/time/rate"
)

const (
	connections = 32
	// What a load balancer adds; its client is never limited here.
	clientAddr = "127.0.0.1"
	traceOfALB = "Root=1-67891233-abcdef012345678912345678"
)

// load asks n times in all, over connections that are kept, and at most so many
// times a second. It returns how long each took, sorted.
func load(tb testing.TB, addr, path string, n int, limit rate.Limit) []time.Duration {
	tb.Helper()
	client := &fasthttp.HostClient{Addr: addr, MaxConns: connections, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	pace := rate.NewLimiter(limit, 50)
	took := make([]time.Duration, n)
	var made, failed atomic.Int64
	var all sync.WaitGroup
	for range connections {
		all.Go(func() {
			req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
			defer fasthttp.ReleaseRequest(req)
			defer fasthttp.ReleaseResponse(resp)
			req.SetRequestURI("http://" + addr + path)
			req.Header.Set("X-Forwarded-For", clientAddr)
			req.Header.Set("X-Amzn-Trace-Id", traceOfALB)
			for {
				i := made.Add(1) - 1
				if i >= int64(n) {
					return
				}
				if pace.Wait(tb.Context()) != nil {
					return
				}
				begin := time.Now()
				if err := client.Do(req, resp); err != nil || resp.StatusCode() != 200 {
					failed.Add(1)
				}
				took[i] = time.Since(begin)
			}
		})
	}
	all.Wait()
	require.Zero(tb, failed.Load(), "failed requests")
	slices.Sort(took)
	return took
}

func percentile(sorted []time.Duration, p float64) float64 {
	return float64(sorted[min(len(sorted)-1, int(p*float64(len(sorted))))].Microseconds()) / 1000
}

func BenchmarkStart(b *testing.B) {
	var ready []time.Duration
	for b.Loop() {
		p := start(b, "")
		ready = append(ready, p.ready)
		require.NoError(b, p.stop(b.Context()))
	}
	slices.Sort(ready)
	b.ReportMetric(percentile(ready, .5), "p50-ready-ms")
	b.ReportMetric(percentile(ready, 1), "max-ready-ms")
}

// TestMemory is idle at first, and then asked 5,000 times a second.
func TestMemory(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("resident memory is read from /proc, which this system lacks: run this test on Linux")
	}
	p := start(t, "", "ADMIN_ADDR=")
	idle := p.resident(t)
	took := load(t, p.addr, "/api/", 25_000, 5000)
	busy := p.resident(t)
	t.Logf("resident: %.1f MB idle, %.1f MB under load; p99 %.2f ms", idle, busy, percentile(took, .99))
	require.Less(t, idle, 25.0)
	require.Less(t, busy, 60.0)
}

// TestRestarts replaces the server 20 times while clients keep asking. It does
// what a load balancer does: new connections go to the new server once that is
// healthy, and a connection is left when its server says so. Nobody retries.
func TestRestarts(t *testing.T) {
	const restarts = 20
	var target atomic.Pointer[process]
	target.Store(start(t, "", "DRAIN_DELAY=200ms"))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var answered, lost atomic.Int64
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			for ctx.Err() == nil {
				n, err := converse(ctx, target.Load().addr, i%2 == 0)
				answered.Add(n)
				if err != nil {
					t.Logf("after %d answers on the connection: %v", n, err)
					lost.Add(1)
				}
			}
		})
	}
	for range restarts {
		before := answered.Load()
		require.Eventually(t, func() bool { return answered.Load() > before+200 }, 20*time.Second, time.Millisecond)
		old := target.Swap(start(t, "", "DRAIN_DELAY=200ms"))
		require.NoError(t, old.stop(t.Context()))
	}
	stop()
	clients.Wait()
	t.Logf("%d restarts, %d requests answered, %d lost", restarts, answered.Load(), lost.Load())
	require.Zero(t, lost.Load(), "lost requests")
}

// converse asks on one connection until the server or ctx ends it, or once.
func converse(ctx context.Context, addr string, keep bool) (answers int64, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return 0, err
	}
	reader := bufio.NewReader(conn)
	for closing := false; !closing && (keep || answers == 0) && ctx.Err() == nil; {
		if _, err := io.WriteString(conn, "GET /api/ HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return answers, err
		}
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			return answers, err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			return answers, err
		}
		if resp.StatusCode != http.StatusOK {
			return answers, errors.New(resp.Status)
		}
		answers++
		closing = resp.Close
	}
	return answers, nil
}
