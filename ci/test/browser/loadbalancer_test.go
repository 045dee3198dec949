package browser

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

	"github.com/stretchr/testify/require"
)

// loadBalancer forwards /api to the backends in turn and other paths to Nginx, as the
// load balancer does.
type loadBalancer struct {
	url string

	mu            sync.Mutex
	backends      []*backend
	turn          int
	hold          chan struct{} // if not nil, API requests wait until it is closed
	concurrent    int           // API requests in progress
	maxConcurrent int
}

func newLoadBalancer(t testing.TB, page *Nginx, backends ...*backend) *loadBalancer {
	t.Helper()
	lb := &loadBalancer{backends: backends}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api") {
			lb.api(w, r)
		} else {
			proxy(w, r, page.URL)
		}
	}))
	t.Cleanup(func() {
		lb.unblock()
		server.CloseClientConnections()
		server.Close()
		transport.CloseIdleConnections()
	})
	lb.url = server.URL
	return lb
}

// transport does not reuse connections, so that each request may go to another backend,
// as with a load balancer.
var transport = &http.Transport{DisableKeepAlives: true, DisableCompression: true}

func proxy(w http.ResponseWriter, r *http.Request, to string) {
	target, err := url.Parse(to)
	if err != nil {
		panic(err)
	}
	p := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target); r.SetXForwarded() },
		Transport: transport,
		ErrorLog:  log.New(io.Discard, "", 0), // tests stop backends on purpose
	}
	p.ServeHTTP(w, r)
}

func (lb *loadBalancer) api(w http.ResponseWriter, r *http.Request) {
	lb.mu.Lock()
	lb.concurrent++
	lb.maxConcurrent = max(lb.maxConcurrent, lb.concurrent)
	hold := lb.hold
	var to string
	if len(lb.backends) > 0 {
		to = lb.backends[lb.turn%len(lb.backends)].url
		lb.turn++
	}
	lb.mu.Unlock()
	defer func() {
		lb.mu.Lock()
		lb.concurrent--
		lb.mu.Unlock()
	}()
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
			return
		}
	}
	if to == "" {
		http.Error(w, "no healthy target", http.StatusServiceUnavailable)
		return
	}
	proxy(w, r, to)
}

// mostConcurrent returns the largest number of API requests that were in progress at once.
func (lb *loadBalancer) mostConcurrent() int {
	lb.mu.Lock()
	defer lb.mu.Unlock()
	return lb.maxConcurrent
}

func (lb *loadBalancer) setBackends(backends ...*backend) {
	lb.mu.Lock()
	defer lb.mu.Unlock()
	lb.backends = backends
}

// block makes API requests wait until unblock.
func (lb *loadBalancer) block() {
	lb.mu.Lock()
	defer lb.mu.Unlock()
	lb.hold = make(chan struct{})
}

func (lb *loadBalancer) unblock() {
	lb.mu.Lock()
	defer lb.mu.Unlock()
	if lb.hold != nil {
		close(lb.hold)
		lb.hold = nil
	}
}

func TestLoadBalancer(t *testing.T) {
	page := StartNginx(t)
	one, two := startBackend(t, "one", "v1"), startBackend(t, "two", "v1")
	lb := newLoadBalancer(t, page, one, two)
	_, body := ask(t, "GET", lb.url+"/")
	require.Contains(t, body, "<title>Slipway</title>")
	_, first := ask(t, "GET", lb.url+"/api/")
	_, second := ask(t, "GET", lb.url+"/api/")
	require.Contains(t, first, `"one"`)
	require.Contains(t, second, `"two"`)
	lb.setBackends()
	response, _ := ask(t, "GET", lb.url+"/api/")
	require.Equal(t, 503, response.StatusCode)
}
