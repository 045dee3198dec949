package httpapi

import (
	"io"
	"log/slog"
	"net"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

// discard is not io.Discard, for which slog formats nothing.
type discard struct{ io.Writer }

// BenchmarkRequests calls the handler without a socket, with the headers of a load
// balancer, and compares it with an application of the framework alone.
func BenchmarkRequests(b *testing.B) {
	opts := options(slog.New(slog.NewJSONHandler(discard{io.Discard}, nil)))
	opts.RateLimit, opts.RateBurst = 1_000_000, 1_000_000
	s := New(opts)
	bare := fiber.New()
	bare.Get("/bare", s.getInstance)
	for path, handler := range map[string]fasthttp.RequestHandler{"/api/": handlerOf(s), "/health": handlerOf(s), "/bare": bare.Handler()} {
		b.Run(path[1:], func(b *testing.B) {
			b.ReportAllocs()
			var req fasthttp.Request
			req.SetRequestURI(path)
			req.Header.SetHost("x")
			req.Header.Set("X-Forwarded-For", "203.0.113.7")
			req.Header.Set("X-Amzn-Trace-Id", "Root="+traceOfALB)
			var ctx fasthttp.RequestCtx
			ctx.Init(&req, &net.TCPAddr{IP: net.IPv4(10, 0, 1, 5)}, nil)
			for b.Loop() {
				ctx.Response.Reset()
				handler(&ctx)
			}
			require.Equal(b, 200, ctx.Response.StatusCode())
		})
	}
}
