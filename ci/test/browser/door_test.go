package browser_test

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

// door is the system's front door: like the load balancer it leads /api to the
// backends in turn, and the rest to Nginx.
type door struct {
	url string

	mu       sync.Mutex
	backends []*backend
	turn     int
	hold     chan struct{} // while not nil, the API's requests wait for its end
	atOnce   int           // requests to the API under way
	most     int
}

// open opens a door.
func open(t testing.TB, page *nginx, backends ...*backend) *door {
	t.Helper()
	d := &door{backends: backends}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api") {
			d.api(w, r)
		} else {
			proxy(w, r, page.url)
		}
	}))
	t.Cleanup(func() {
		d.release()
		server.CloseClientConnections()
		server.Close()
		transport.CloseIdleConnections()
	})
	d.url = server.URL
	return d
}

// transport does not keep connections: as with a load balancer, each request may go
// elsewhere.
var transport = &http.Transport{DisableKeepAlives: true, DisableCompression: true}

func proxy(w http.ResponseWriter, r *http.Request, to string) {
	target, err := url.Parse(to)
	if err != nil {
		panic(err)
	}
	p := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target); r.SetXForwarded() },
		Transport: transport,
		ErrorLog:  log.New(io.Discard, "", 0), // a backend that stops is what tests are about
	}
	p.ServeHTTP(w, r)
}

func (d *door) api(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	d.atOnce++
	d.most = max(d.most, d.atOnce)
	hold := d.hold
	var to string
	if len(d.backends) > 0 {
		to = d.backends[d.turn%len(d.backends)].url
		d.turn++
	}
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.atOnce--
		d.mu.Unlock()
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

// lead makes the door lead to these backends from now on.
func (d *door) lead(backends ...*backend) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.backends = backends
}

// holdUp lets the API's requests wait until release.
func (d *door) holdUp() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hold = make(chan struct{})
}

func (d *door) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hold != nil {
		close(d.hold)
		d.hold = nil
	}
}

func TestDoor(t *testing.T) {
	page := startNginx(t)
	one, two := startBackend(t, "one", "v1"), startBackend(t, "two", "v1")
	d := open(t, page, one, two)
	_, body := ask(t, "GET", d.url+"/")
	require.Contains(t, body, "<title>Slipway</title>")
	_, first := ask(t, "GET", d.url+"/api/")
	_, second := ask(t, "GET", d.url+"/api/")
	require.Contains(t, first, `"one"`)
	require.Contains(t, second, `"two"`)
	d.lead()
	response, _ := ask(t, "GET", d.url+"/api/")
	require.Equal(t, 503, response.StatusCode)
}
