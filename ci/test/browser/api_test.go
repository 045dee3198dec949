package browser

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/test/contract"
)

// backend answers what package contract requires of the real backend, so that a change of
// that does not repeat these tests. Package contract opens the page with the real one.
type backend struct {
	*httptest.Server
	url string
}

// startBackend starts a backend with a host name and a version.
func startBackend(t testing.TB, hostname, version string) *backend {
	t.Helper()
	return startBackendAt(t, "127.0.0.1:0", hostname, version)
}

// startBackendAt is startBackend at an address, to replace a stopped backend.
func startBackendAt(t testing.TB, address, hostname, version string) *backend {
	t.Helper()
	answer := contract.Identity{Hostname: hostname, IP: "10.0.10.7", Status: "active", Version: version, StartedAt: time.Now().UTC()}
	var requests atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		current := answer
		current.Requests = int(requests.Add(1))
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_ = json.NewEncoder(w).Encode(current)
	}))
	require.NoError(t, server.Listener.Close())
	var err error
	server.Listener, err = net.Listen("tcp", address)
	require.NoError(t, err)
	server.Start()
	t.Cleanup(server.Close)
	return &backend{server, server.URL}
}
