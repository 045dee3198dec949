// Package registrytest has helpers for tests of publishing: a proxy that counts
// requests and injects faults, and Docker's own registry.
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

// Proxy is a reverse proxy for a registry that records requests and injects faults.
type Proxy struct {
	Host string
	// OnRequest, if set, is called for each request, which is forwarded unless it
	// returns true. It may change the request, or panic to close the connection.
	OnRequest func(w http.ResponseWriter, r *http.Request) (done bool)
	// OnResponse, if set, may change a response.
	OnResponse func(answer *http.Response) error

	mu   sync.Mutex
	seen []request
}

// request is a recorded request.
type request struct{ method, path string }

// NewProxy starts a proxy for the registry at host.
func NewProxy(t testing.TB, host string) *Proxy {
	t.Helper()
	p := &Proxy{}
	tr := &http.Transport{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: host})
			r.Out.Host = r.In.Host // so that redirects lead back to the proxy
		},
		Transport: tr, ErrorLog: log.New(io.Discard, "", 0),
		ModifyResponse: func(response *http.Response) error {
			p.mu.Lock()
			after := p.OnResponse
			p.mu.Unlock()
			if after == nil {
				return nil
			}
			return after(response)
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.seen = append(p.seen, request{r.Method, r.URL.Path})
		before := p.OnRequest
		p.mu.Unlock()
		if before == nil || !before(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	p.Host = strings.TrimPrefix(server.URL, "http://")
	t.Cleanup(func() { server.CloseClientConnections(); server.Close(); tr.CloseIdleConnections() })
	return p
}

// Reset removes the recorded requests and the faults.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen, p.OnRequest, p.OnResponse = nil, nil, nil
}

// Count returns the number of requests with a method and a part of the path; ""
// matches any.
func (p *Proxy) Count(method, part string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.seen {
		if (method == "" || e.method == method) && strings.Contains(e.path, part) {
			n++
		}
	}
	return n
}

// Writes returns the number of requests that change the registry.
func (p *Proxy) Writes() int {
	return p.Count(http.MethodPost, "") + p.Count(http.MethodPut, "") + p.Count(http.MethodPatch, "")
}
