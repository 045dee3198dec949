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

// requestIDPattern says which ids are taken over from a client. They end up in
// logs and in answers, so they are short and hold nothing that means anything
// to a terminal, a log query or HTML.
var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{8,128}$`)

// clientKey is where a request's client is kept in its context.
type clientKey struct{}

// identify finds out who asks, and drops a request id that is not acceptable.
func (s *Server) identify(c *fiber.Ctx) error {
	header := &c.Request().Header
	if !requestIDPattern.Match(header.Peek(fiber.HeaderXRequestID)) {
		header.Del(fiber.HeaderXRequestID)
	}
	peer, _ := netip.AddrFromSlice(c.Context().RemoteIP()) // of a TCP connection, which has one
	c.Locals(clientKey{}, forwarded.Client(peer, header.PeekAll(fiber.HeaderXForwardedFor), s.opts.TrustedHops))
	return c.Next()
}

func clientOf(c *fiber.Ctx) netip.Addr {
	client, _ := c.Locals(clientKey{}).(netip.Addr)
	return client
}

// household is what the limiter counts as one client: of version 6, everybody
// gets at least a /64 (RFC 6177), so that single addresses mean nothing.
func household(client netip.Addr) netip.Addr {
	if prefix, err := client.Prefix(64); err == nil && client.Is6() {
		return prefix.Addr()
	}
	return client
}

func (s *Server) limited(*fiber.Ctx) error {
	s.meter.limited.Inc()
	return fiber.ErrTooManyRequests
}

// noStore is for everybody, because nearly every answer is about this very
// moment.
func noStore(c *fiber.Ctx) error {
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.Next()
}

// isProbe tells health checks, which come every few seconds from every load
// balancer node. They are logged at debug level, not counted and not traced.
func isProbe(c *fiber.Ctx) bool {
	switch c.Path() {
	case "/health", "/api/health", "/livez", "/readyz":
		return true
	}
	return false
}

// account counts, times and logs a request, once it is answered. Query strings
// stay out of the log: that is where people put secrets.
func (s *Server) account(c *fiber.Ctx) error {
	start, level := time.Now(), slog.LevelDebug
	if !isProbe(c) {
		s.requests.Add(1)
		level = slog.LevelInfo
	}
	err := c.Next()
	status := c.Response().StatusCode()
	if err != nil {
		status = statusOf(err)
	}
	took := time.Since(start)
	s.meter.add(c, status, took)
	s.opts.Log.LogAttrs(c.Context(), level, "request",
		slog.String("request_id", c.GetRespHeader(fiber.HeaderXRequestID)),
		slog.String("trace_id", traceID(c)),
		slog.String("method", c.Method()),
		slog.String("path", c.Path()),
		slog.Int("status", status),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000),
		slog.String("client", clientOf(c).String()))
	return err
}

func (s *Server) logPanic(c *fiber.Ctx, reason any) {
	s.opts.Log.LogAttrs(c.Context(), slog.LevelError, "panic",
		slog.String("request_id", c.GetRespHeader(fiber.HeaderXRequestID)),
		slog.String("reason", fmt.Sprint(reason)),
		slog.String("stack", string(debug.Stack())))
}

// trace makes a span of every request that is no health check. Spans outlive the
// request, so that they need copies of its strings.
func (s *Server) trace() fiber.Handler {
	return otelfiber.Middleware(
		otelfiber.WithTracerProvider(s.opts.Tracer),
		otelfiber.WithPropagators(propagation.TraceContext{}),
		otelfiber.WithNext(isProbe),
		otelfiber.WithSpanNameFormatter(func(c *fiber.Ctx) string {
			return utils.CopyString(c.Method()) + " " + routeOf(c, c.Response().StatusCode())
		}),
		otelfiber.WithCollectClientIP(false), // it knows the peer only
		otelfiber.WithCustomAttributes(func(c *fiber.Ctx) []attribute.KeyValue {
			path := utils.CopyString(c.Path())
			return []attribute.KeyValue{
				// In place of its own, which hold the query.
				attribute.String("http.target", path),
				attribute.String("http.url", path),
				attribute.String("http.client_ip", clientOf(c).String()),
				attribute.String("request.id", utils.CopyString(c.GetRespHeader(fiber.HeaderXRequestID))),
			}
		}))
}

// amznRoot finds the trace in the header that load balancers add:
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-request-tracing.html
var amznRoot = regexp.MustCompile(`(?:^|;)Root=(1-[0-9a-f]{8}-[0-9a-f]{24})(?:;|$)`)

// traceID is which trace a request belongs to: its span's, or else the client's,
// or else the load balancer's, in its own notation, by which its access log can be
// searched. Anything malformed is none.
func traceID(c *fiber.Ctx) string {
	ctx := c.UserContext()
	if parent := c.Get("traceparent"); parent != "" && !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": parent})
	}
	if span := trace.SpanContextFromContext(ctx); span.HasTraceID() {
		return span.TraceID().String()
	}
	if root := amznRoot.FindStringSubmatch(c.Get("X-Amzn-Trace-Id")); root != nil {
		return root[1]
	}
	return ""
}
