package browser_test

import (
	"os"
	"strings"
	"testing"

	"github.com/slipway-cd/slipway/ci/internal/sourcetest"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/test/contract"
)

// TestDevelopmentProxy checks the proxy that compose.yaml adds to Nginx. It must
// forward to the backend everything that a load balancer forwards.
func TestDevelopmentProxy(t *testing.T) {
	text, err := os.ReadFile(sourcetest.Repository("frontend", "development", "api.conf"))
	require.NoError(t, err)
	require.Contains(t, string(text), "http://backend:8000")
	server := startNginx(t, strings.ReplaceAll(string(text), "http://backend:8000", startBackend(t, "web-1", "v7").url))
	require.NoError(t, contract.Check(t.Context(), server.url, "v7"))

	for _, path := range []string{"/healthz", "/healthy", "/apis"} {
		response, _ := ask(t, "GET", server.url+path)
		require.Empty(t, response.Header.Get("X-Request-ID"), "%s is the page's server's", path)
	}
}
