package tracing

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.uber.org/goleak"

	"slipway/backend/internal/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startCollector starts a collector that responds with a status and returns its requests.
func startCollector(t *testing.T, status int) (url string, asked <-chan *http.Request) {
	t.Helper()
	requests := make(chan *http.Request, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		w.WriteHeader(status)
		requests <- r
	}))
	t.Cleanup(server.Close)
	return server.URL, requests
}

func TestSpansAreSent(t *testing.T) {
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	url, asked := startCollector(t, 200)
	provider, err := Start(t.Context(), url+"/otlp/v1/traces", map[string]string{"Authorization": "Bearer x"}, identity.New("web-1", "v7"), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	_, span := provider.Tracer("test").Start(t.Context(), "GET /api/")
	span.End()
	require.NoError(t, provider.Shutdown(t.Context()))

	request := <-asked
	require.Equal(t, "/otlp/v1/traces", request.URL.Path)
	require.Equal(t, "Bearer x", request.Header.Get("Authorization"))
	require.Equal(t, "application/x-protobuf", request.Header.Get("Content-Type"))
	body, err := io.ReadAll(request.Body)
	require.NoError(t, err)
	// Protocol buffers contain strings unchanged.
	for _, want := range []string{"GET /api/", "service.name", "slipway-backend", "service.version", "v7", "service.instance.id", "web-1", "deployment.environment.name"} {
		require.Contains(t, string(body), want)
	}
}

func TestStartFails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Start(ctx, "http://127.0.0.1:1", nil, identity.New("web-1", "v7"), slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "creating the trace exporter")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "nonsense")
	_, err = Start(t.Context(), "http://127.0.0.1:1", nil, identity.New("web-1", "v7"), slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "creating the trace resource")
}

func TestExportErrorsAreLogged(t *testing.T) {
	var logged strings.Builder
	url, asked := startCollector(t, 401)
	provider, err := Start(t.Context(), url, map[string]string{"X-Key": "hunter2"}, identity.New("web-1", "v7"), slog.New(slog.NewTextHandler(&logged, nil)))
	require.NoError(t, err)
	otel.Handle(io.ErrUnexpectedEOF)
	_, span := provider.Tracer("test").Start(t.Context(), "GET /api/")
	span.End()
	require.ErrorContains(t, provider.ForceFlush(t.Context()), "401")
	<-asked
	require.NoError(t, provider.Shutdown(t.Context()))
	require.Contains(t, logged.String(), `level=WARN msg="cannot send traces" error="unexpected EOF"`)
	require.NotContains(t, logged.String(), "hunter2")
}
