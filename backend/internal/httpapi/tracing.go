package httpapi

import (
	"bytes"
	"context"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
	"github.com/valyala/fasthttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// trace makes a span of every request that is no health check.
func (s *Server) trace(c *fiber.Ctx) error {
	if isProbe(c.Path()) {
		return c.Next()
	}
	e := exchangeOf(c)
	// Spans outlive the request, so that they need copies of its strings.
	ctx, span := s.tracer.Start(parentOf(c), c.Method(), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", utils.CopyString(c.Method())),
		attribute.String("url.path", utils.CopyString(c.Path())),
		attribute.String("client.address", e.client.String()),
		attribute.String("request.id", e.id)))
	e.traceID = span.SpanContext().TraceID().String()
	c.SetUserContext(ctx)
	status := fiber.StatusInternalServerError
	defer func() {
		span.SetName(c.Method() + " " + nameOf(c.Route()))
		span.SetAttributes(attribute.String("http.route", nameOf(c.Route())), attribute.Int("http.response.status_code", status))
		if status >= fiber.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}()
	return observe(c, &status)
}

// parentOf reads the header "traceparent" of W3C Trace Context.
func parentOf(c *fiber.Ctx) context.Context {
	header := &c.Context().Request.Header
	if len(header.Peek("traceparent")) == 0 {
		return c.UserContext()
	}
	return propagation.TraceContext{}.Extract(c.UserContext(), carrier{header})
}

// carrier lets OpenTelemetry read a request's headers.
type carrier struct{ *fasthttp.RequestHeader }

// Get returns a copy, because spans keep it.
func (h carrier) Get(name string) string { return string(h.Peek(name)) }

// Set is not called: nothing is injected into a request that came in.
func (carrier) Set(string, string) {}

// Keys is not called either.
func (carrier) Keys() []string { return nil }

// amznRoot finds the trace in the header that load balancers add:
// fields with ";" between, of which one is like
// Root=1-67891233-abcdef012345678912345678. It is nil if there is none.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-request-tracing.html
func amznRoot(header []byte) []byte {
	for field := range bytes.SplitSeq(header, []byte(";")) {
		if root, ok := bytes.CutPrefix(field, []byte("Root=")); ok && isAmznRoot(root) {
			return root
		}
	}
	return nil
}

func isAmznRoot(root []byte) bool {
	const pattern = "1-hhhhhhhh-hhhhhhhhhhhhhhhhhhhhhhhh"
	if len(root) != len(pattern) {
		return false
	}
	for i, c := range root {
		digit := '0' <= c && c <= '9' || 'a' <= c && c <= 'f'
		if pattern[i] == 'h' && !digit || pattern[i] != 'h' && pattern[i] != c {
			return false
		}
	}
	return true
}

// traceID is which trace a request belongs to: its span's, or else the client's,
// or else the load balancer's, in its own notation, by which its access log can be
// searched. Anything malformed is none.
func traceID(c *fiber.Ctx, e *exchange) string {
	if e.traceID != "" {
		return e.traceID
	}
	if span := trace.SpanContextFromContext(parentOf(c)); span.HasTraceID() {
		return span.TraceID().String()
	}
	return string(amznRoot(c.Context().Request.Header.Peek("X-Amzn-Trace-Id")))
}
