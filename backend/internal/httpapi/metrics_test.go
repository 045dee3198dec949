package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMetrics(t *testing.T) {
	s, _ := newServer(t, nil)
	send(t, s, http.MethodGet, "/api")
	send(t, s, http.MethodGet, "/health")
	for _, target := range []string{"/a", "/b", `/"c"`, "/api/nothing"} {
		send(t, s, http.MethodGet, target)
	}
	var text strings.Builder
	s.WriteMetrics(&text)
	for _, want := range []string{
		`http_requests_total{method="GET",route="/api/",status="200"} 1`,
		`http_requests_total{method="GET",route="/health",status="200"} 1`,
		`http_requests_total{method="GET",route="unmatched",status="404"} 4`,
		`http_request_duration_seconds_bucket{route="unmatched",le="+Inf"} 4`,
		`service_info{version="v7",hostname="web-1"} 1`,
		"draining 0\n", "http_requests_in_flight 0\n", "http_connections ",
		"go_goroutines ", "process_resident_memory_bytes ",
	} {
		require.Contains(t, text.String(), want)
	}
	s.draining.Store(true)
	text.Reset()
	s.WriteMetrics(&text)
	require.Contains(t, text.String(), "draining 1\n")
}
