package httpapi

import (
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"runtime/debug"
	"time"

	"github.com/gofiber/contrib/otelfiber/v2"
	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"slipway/backend/internal/forwarded"
)

// requestIDPattern matches valid request ids of clients. They are short and have no
// special characters of terminals, log queries or HTML, because logs and responses
// contain them.
var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{8,128}$`)

// clientKey is the context key of a request's client address.
type clientKey struct{}

// identifyClient stores the client's address and removes an invalid request id.
func (s *Server) identifyClient(c *fiber.Ctx) error {
	header := &c.Request().Header
	if !requestIDPattern.Match(header.Peek(fiber.HeaderXRequestID)) {
		header.Del(fiber.HeaderXRequestID)
	}
	peer, _ := netip.AddrFromSlice(c.Context().RemoteIP()) // of a TCP connection, which has one
	c.Locals(clientKey{}, forwarded.ClientAddress(peer, header.PeekAll(fiber.HeaderXForwardedFor), s.opts.TrustedHops))
	return c.Next()
}

func clientAddress(c *fiber.Ctx) netip.Addr {
	client, _ := c.Locals(clientKey{}).(netip.Addr)
	return client
}

// rateLimitKey returns what counts as one client of the rate limit: an IPv4 address or an
// IPv6 /64, the least that a subscriber gets (RFC 6177).
func rateLimitKey(client netip.Addr) netip.Addr {
	if prefix, err := client.Prefix(64); err == nil && client.Is6() {
		return prefix.Addr()
	}
	return client
}

func (s *Server) handleRateLimit(*fiber.Ctx) error {
	s.metrics.rateLimited.Inc()
	return fiber.ErrTooManyRequests
}

// noStore forbids caching, because nearly all responses describe the current state.
func noStore(c *fiber.Ctx) error {
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.Next()
}

// isHealthCheck reports whether a request is a health check, which each load balancer
// node sends every few seconds. Health checks are logged at debug level, not counted and
// not traced.
func isHealthCheck(c *fiber.Ctx) bool {
	switch c.Path() {
	case "/health", "/api/health", "/livez", "/readyz":
		return true
	}
	return false
}

// logRequest counts, measures and logs a request. The log omits query strings, which may
// contain secrets.
func (s *Server) logRequest(c *fiber.Ctx) error {
	start, level := time.Now(), slog.LevelDebug
	if !isHealthCheck(c) {
		s.requests.Add(1)
		level = slog.LevelInfo
	}
	err := c.Next()
	status := c.Response().StatusCode()
	if err != nil {
		status = statusOf(err)
	}
	took := time.Since(start)
	s.metrics.record(c, status, took)
	s.opts.Log.LogAttrs(c.Context(), level, "request",
		slog.String("request_id", c.GetRespHeader(fiber.HeaderXRequestID)),
		slog.String("trace_id", traceID(c)),
		slog.String("method", c.Method()),
		slog.String("path", c.Path()),
		slog.Int("status", status),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000),
		slog.String("client", clientAddress(c).String()))
	return err
}

func (s *Server) logPanic(c *fiber.Ctx, reason any) {
	s.opts.Log.LogAttrs(c.Context(), slog.LevelError, "panic",
		slog.String("request_id", c.GetRespHeader(fiber.HeaderXRequestID)),
		slog.String("reason", fmt.Sprint(reason)),
		slog.String("stack", string(debug.Stack())))
}

// trace creates a span for each request except health checks. Spans outlive the request,
// so that they need copies of its strings.
func (s *Server) trace() fiber.Handler {
	return otelfiber.Middleware(
		otelfiber.WithTracerProvider(s.opts.Tracer),
		otelfiber.WithPropagators(propagation.TraceContext{}),
		otelfiber.WithNext(isHealthCheck),
		otelfiber.WithSpanNameFormatter(func(c *fiber.Ctx) string {
			return utils.CopyString(c.Method()) + " " + routeOf(c, c.Response().StatusCode())
		}),
		otelfiber.WithCollectClientIP(false), // it only knows the peer
		otelfiber.WithCustomAttributes(func(c *fiber.Ctx) []attribute.KeyValue {
			path := utils.CopyString(c.Path())
			return []attribute.KeyValue{
				// Instead of its own attributes, which contain the query.
				attribute.String("http.target", path),
				attribute.String("http.url", path),
				attribute.String("http.client_ip", clientAddress(c).String()),
				attribute.String("request.id", utils.CopyString(c.GetRespHeader(fiber.HeaderXRequestID))),
			}
		}))
}

// amznTraceRoot matches the trace id in the header that load balancers add:
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-request-tracing.html
var amznTraceRoot = regexp.MustCompile(`(?:^|;)Root=(1-[0-9a-f]{8}-[0-9a-f]{24})(?:;|$)`)

// traceID returns the trace id of a request: of its span, otherwise the client's,
// otherwise the load balancer's, in the format of its access log. It is empty if the
// header is malformed.
func traceID(c *fiber.Ctx) string {
	ctx := c.UserContext()
	if parent := c.Get("traceparent"); parent != "" && !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": parent})
	}
	if span := trace.SpanContextFromContext(ctx); span.HasTraceID() {
		return span.TraceID().String()
	}
	if root := amznTraceRoot.FindStringSubmatch(c.Get("X-Amzn-Trace-Id")); root != nil {
		return root[1]
	}
	return ""
}
