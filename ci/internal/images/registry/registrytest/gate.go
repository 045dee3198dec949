// Package registrytest is what tests of publishing need: a gate before a registry,
// which counts and spoils what passes, and Docker's own registry.
package registrytest

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// Gate stands before a registry, counts what passes and may spoil it.
type Gate struct {
	Host string
	// Before is asked before a request passes; it does not, if Before is done with
	// it. It may change the request, or panic to cut the connection.
	Before func(w http.ResponseWriter, r *http.Request) (done bool)
	// After may change an answer.
	After func(answer *http.Response) error

	mu   sync.Mutex
	seen []exchange
}

// exchange is a request as it was made.
type exchange struct{ method, path string }

// NewGate opens a gate before the registry at host.
func NewGate(t testing.TB, host string) *Gate {
	t.Helper()
	g := &Gate{}
	carrier := &http.Transport{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: host})
			r.Out.Host = r.In.Host // the registry shall send nobody past the gate
		},
		Transport: carrier, ErrorLog: log.New(io.Discard, "", 0),
		ModifyResponse: func(answer *http.Response) error {
			g.mu.Lock()
			after := g.After
			g.mu.Unlock()
			if after == nil {
				return nil
			}
			return after(answer)
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.seen = append(g.seen, exchange{r.Method, r.URL.Path})
		before := g.Before
		g.mu.Unlock()
		if before == nil || !before(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	g.Host = strings.TrimPrefix(server.URL, "http://")
	t.Cleanup(func() { server.CloseClientConnections(); server.Close(); carrier.CloseIdleConnections() })
	return g
}

// Reset forgets what was seen and spoils nothing more.
func (g *Gate) Reset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen, g.Before, g.After = nil, nil, nil
}

// Count counts requests by method, and by a part of their path; "" is any.
func (g *Gate) Count(method, part string) (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range g.seen {
		if (method == "" || e.method == method) && strings.Contains(e.path, part) {
			n++
		}
	}
	return n
}

// Writes counts the requests that change anything.
func (g *Gate) Writes() int {
	return g.Count(http.MethodPost, "") + g.Count(http.MethodPut, "") + g.Count(http.MethodPatch, "")
}
