package httpapi

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

const (
	traceOfClient = "4bf92f3577b34da6a3ce929d0e0e4736"
	traceParent   = "00-" + traceOfClient + "-00f067aa0ba902b7-01"
	traceOfALB    = "1-67891233-abcdef012345678912345678"
)

func TestTraceIDInTheLog(t *testing.T) {
	tests := map[string]struct {
		header []string
		want   string
	}{
		"none":                   {nil, ""},
		"W3C":                    {[]string{"traceparent", traceParent}, traceOfClient},
		"W3C, malformed":         {[]string{"traceparent", "00-" + traceOfClient + "-zz-01"}, ""},
		"W3C, injection":         {[]string{"traceparent", `00-","level":"ERROR`}, ""},
		"load balancer":          {[]string{"X-Amzn-Trace-Id", "Root=" + traceOfALB}, traceOfALB},
		"load balancer, more":    {[]string{"X-Amzn-Trace-Id", "Self=1-67891234-12456789abcdef012345678;Root=" + traceOfALB + ";Sampled=1"}, traceOfALB},
		"load balancer, nothing": {[]string{"X-Amzn-Trace-Id", "Root="}, ""},
		"load balancer, forged":  {[]string{"X-Amzn-Trace-Id", "Root=" + traceOfALB + "<script>"}, ""},
		"both":                   {[]string{"traceparent", traceParent, "X-Amzn-Trace-Id", "Root=" + traceOfALB}, traceOfClient},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, logged := newServer(t, nil)
			send(t, s, http.MethodGet, "/api/", tt.header...)
			require.Equal(t, tt.want, logged.withMessage(t, "request")[0]["trace_id"])
		})
	}
}

func TestSpans(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	s, logged := newServer(t, func(o *Options) {
		o.Tracer = sdk.NewTracerProvider(sdk.WithSpanProcessor(recorder))
	})
	s.app.Get("/panic", func(*fiber.Ctx) error { panic("x") })
	sendOver(t, run(t, s), http.MethodGet, "/api/?token=hunter2", "traceparent", traceParent, "X-Forwarded-For", "203.0.113.7")
	send(t, s, http.MethodGet, "/health")
	send(t, s, http.MethodDelete, "/nothing")
	send(t, s, http.MethodGet, "/panic")

	spans := recorder.Ended()
	require.Len(t, spans, 3, "health checks have none")
	require.Equal(t, []string{"GET /api/", "DELETE unmatched", "GET /panic"}, []string{spans[0].Name(), spans[1].Name(), spans[2].Name()})
	require.Equal(t, traceOfClient, spans[0].SpanContext().TraceID().String())
	require.Equal(t, "00f067aa0ba902b7", spans[0].Parent().SpanID().String())
	attributes := map[string]string{}
	for _, attribute := range spans[0].Attributes() {
		attributes[string(attribute.Key)] = fmt.Sprint(attribute.Value.AsInterface())
	}
	lines := logged.withMessage(t, "request")
	for name, want := range map[string]string{
		"http.method": "GET", "http.target": "/api/", "http.url": "/api/", "http.route": "/api/", "http.status_code": "200",
		"http.client_ip": "203.0.113.7", "request.id": lines[0]["request_id"].(string),
	} {
		require.Equal(t, want, attributes[name], name)
	}
	require.NotContains(t, fmt.Sprint(attributes), "hunter2", "query strings are where people put secrets")
	require.Equal(t, codes.Unset, spans[1].Status().Code, "the client's mistakes are not ours")
	require.Equal(t, codes.Error, spans[2].Status().Code)
	require.Equal(t, spans[2].SpanContext().TraceID().String(), lines[3]["trace_id"])
}
