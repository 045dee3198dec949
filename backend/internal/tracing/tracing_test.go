package tracing

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"slipway/backend/internal/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// collector answers with statuses, one for each request and the last again and
// again, and keeps what it was sent.
type collector struct {
	*httptest.Server
	asked  atomic.Int32
	header http.Header
	body   []byte
}

func newCollector(t *testing.T, statuses ...int) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(c.asked.Add(1))
		c.header = r.Header
		c.body, _ = io.ReadAll(r.Body)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(statuses[min(n, len(statuses))-1])
	}))
	t.Cleanup(c.Close)
	return c
}

func TestSpansArrive(t *testing.T) {
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	c := newCollector(t, 200)
	provider, err := Start(t.Context(), c.URL, map[string]string{"Authorization": "Bearer x"}, identity.New("web-1", "v7"), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	_, span := provider.Tracer("test").Start(t.Context(), "GET /api/")
	span.End()
	require.NoError(t, provider.Shutdown(t.Context()))

	require.Equal(t, "Bearer x", c.header.Get("Authorization"))
	require.Equal(t, "application/x-protobuf", c.header.Get("Content-Type"))
	var sent tracepb.TracesData
	require.NoError(t, proto.Unmarshal(c.body, &sent))
	require.Equal(t, "GET /api/", sent.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans()[0].GetName())
	attributes := map[string]string{}
	for _, attribute := range sent.GetResourceSpans()[0].GetResource().GetAttributes() {
		attributes[attribute.GetKey()] = attribute.GetValue().GetStringValue()
	}
	require.Equal(t, "slipway-backend", attributes["service.name"])
	require.Equal(t, "v7", attributes["service.version"])
	require.Equal(t, "web-1", attributes["service.instance.id"])
	require.Equal(t, "test", attributes["deployment.environment.name"])
}

func TestBadResourceAttributes(t *testing.T) {
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "nonsense")
	_, err := Start(t.Context(), "http://127.0.0.1:1", nil, identity.New("web-1", "v7"), slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "describing the service in traces")
}

func TestUpload(t *testing.T) {
	tests := map[string]struct {
		statuses []int
		asked    int32
		err      string
	}{
		"accepted":        {[]int{202}, 1, ""},
		"overloaded":      {[]int{503, 429, 200}, 3, ""},
		"away for good":   {[]int{502}, 3, "answers 502 Bad Gateway"},
		"refused":         {[]int{401}, 1, "answers 401 Unauthorized"},
		"sent elsewhere":  {[]int{307}, 1, "answers 307 Temporary Redirect"},
		"something broke": {[]int{500}, 1, "answers 500 Internal Server Error"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCollector(t, tt.statuses...)
			u := newUploader(strings.Replace(c.URL, "//", "//me:hunter2@", 1), nil)
			u.pause = time.Millisecond
			err := u.UploadTraces(t.Context(), nil)
			require.Equal(t, tt.asked, c.asked.Load())
			require.NoError(t, u.Stop(t.Context()))
			if tt.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.err)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func TestUploadStopsWithItsCaller(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	u := newUploader("http://127.0.0.1:1", nil)
	u.pause = time.Hour
	require.ErrorIs(t, u.UploadTraces(ctx, nil), context.Canceled)
	u.url = "http://bad host"
	require.Error(t, u.UploadTraces(t.Context(), nil))
}

func TestTroubleIsLogged(t *testing.T) {
	var logged strings.Builder
	c := newCollector(t, 401)
	provider, err := Start(t.Context(), c.URL, nil, identity.New("web-1", "v7"), slog.New(slog.NewTextHandler(&logged, nil)))
	require.NoError(t, err)
	otel.Handle(io.ErrUnexpectedEOF)
	require.NoError(t, provider.Shutdown(t.Context()))
	require.Contains(t, logged.String(), `level=WARN msg=traces error="unexpected EOF"`)
}
