package httpapi

import (
	"log/slog"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	lines "slipway/backend/internal/journal"
)

// asker returns a request as it comes from a load balancer, again and again,
// past the socket.
func asker(tb testing.TB, path string) func() {
	tb.Helper()
	opts := options(lines.New(discard{}).Logger(slog.LevelInfo))
	opts.RateLimit, opts.RateBurst = 1_000_000, 1_000_000
	s := New(opts)
	var req fasthttp.Request
	req.SetRequestURI(path)
	req.Header.SetHost("x")
	req.Header.Set("X-Forwarded-For", "203.0.113.7")
	req.Header.Set("X-Amzn-Trace-Id", "Root="+traceOfALB)
	var ctx fasthttp.RequestCtx
	peer, handler := &net.TCPAddr{IP: net.IPv4(10, 0, 1, 5)}, direct(s)
	ctx.Init(&req, peer, nil)
	ask := func() {
		ctx.Response.Reset()
		handler(&ctx)
	}
	ask()
	require.Equal(tb, 200, ctx.Response.StatusCode())
	require.NotEmpty(tb, ctx.Response.Header.Peek("X-Request-ID"))
	return ask
}

// discard is not io.Discard, for which slog does nothing at all.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func BenchmarkMiddleware(b *testing.B) {
	for _, path := range []string{"/api/", "/health"} {
		b.Run(path[1:], func(b *testing.B) {
			b.ReportAllocs()
			ask := asker(b, path)
			for b.Loop() {
				ask()
			}
		})
	}
}

func TestAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("pools forget at random under the race detector: run without -race")
	}
	for _, path := range []string{"/api/", "/health"} {
		allocations := testing.AllocsPerRun(1000, asker(t, path))
		t.Logf("%s: %.1f allocations", path, allocations)
		require.LessOrEqual(t, allocations, 10.0)
	}
}
