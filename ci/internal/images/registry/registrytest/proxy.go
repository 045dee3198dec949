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

// Proxy stands before a registry, counts what passes and may spoil it.
type Proxy struct {
	Host string
	// OnRequest is asked before a request passes; it does not, if Before is done with
	// it. It may change the request, or panic to cut the connection.
	OnRequest func(w http.ResponseWriter, r *http.Request) (done bool)
	// OnResponse may change an answer.
	OnResponse func(answer *http.Response) error

	mu   sync.Mutex
	seen []request
}

// request is a request as it was made.
type request struct{ method, path string }

// NewProxy opens a gate before the registry at host.
func NewProxy(t testing.TB, host string) *Proxy {
	t.Helper()
	p := &Proxy{}
	tr := &http.Transport{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: host})
			r.Out.Host = r.In.Host // the registry shall send nobody past the gate
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

// Reset forgets what was seen and spoils nothing more.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen, p.OnRequest, p.OnResponse = nil, nil, nil
}

// Count counts requests by method, and by a part of their path; "" is any.
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

// Writes counts the requests that change anything.
func (p *Proxy) Writes() int {
	return p.Count(http.MethodPost, "") + p.Count(http.MethodPut, "") + p.Count(http.MethodPatch, "")
}
