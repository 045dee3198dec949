package contract_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal/rehearsaltest"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
	"github.com/slipway-cd/slipway/ci/test/browser"
	"github.com/slipway-cd/slipway/ci/test/contract"
)

func TestMain(m *testing.M) { sourcetest.RunTests(m) }

// startBackend builds the backend, by the flags of its image, so that nothing is compiled
// twice, and runs it until the test ends.
func startBackend(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "server")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", binary, "./cmd/server")
	build.Dir, build.Env = sourcetest.Repository("backend"), append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOFLAGS=")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(ln.Addr().String())
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	server := exec.Command(binary)
	server.Env = []string{"PORT=" + port, "VERSION=v7"}
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		require.NoError(t, server.Process.Signal(syscall.SIGTERM))
		require.NoError(t, server.Wait(), "it drains")
	})
	base := "http://127.0.0.1:" + port
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	require.Eventually(t, func() bool {
		response, err := client.Get(base + "/health")
		if err == nil {
			response.Body.Close()
		}
		return err == nil
	}, 20*time.Second, 10*time.Millisecond)
	return base
}

func TestBackend(t *testing.T) {
	t.Parallel()
	base := startBackend(t)
	require.NoError(t, contract.Check(t.Context(), base, "v7"))
	require.NoError(t, contract.Check(t.Context(), base, ""))

	err := contract.Check(t.Context(), base, "v8")
	require.ErrorContains(t, err, `the instance says who it is: version is "v7", not "v8"`)
	require.ErrorContains(t, err, `/api is /api/: version is "v7", not "v8"`)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, contract.Check(ctx, base, ""), context.Canceled)

	// Each promise is broken once, by a proxy in between.
	body := func(text string) func(*http.Response) {
		return func(r *http.Response) {
			r.Body = io.NopCloser(strings.NewReader(text))
			r.ContentLength = int64(len(text))
			r.Header.Del("Content-Length")
		}
	}
	status := func(code int) func(*http.Response) { return func(r *http.Response) { r.StatusCode = code } }
	without := func(name string) func(*http.Response) { return func(r *http.Response) { r.Header.Del(name) } }
	with := func(name, value string) func(*http.Response) {
		return func(r *http.Response) { r.Header.Set(name, value) }
	}
	tests := map[string]struct {
		path   string // with the method before it
		mangle func(*http.Response)
		want   string
	}{
		"no hostname":    {"GET /api/", body(`{}`), "the instance says who it is: requests is 0"},
		"nothing":        {"GET /api/", body(`{"requests":1}`), "who it is: there is no hostname"},
		"no address":     {"GET /api/", body(`{"requests":1,"hostname":"a","ip":"::1"}`), `ip is "::1", which is no IPv4 address`},
		"inactive":       {"GET /api/", body(`{"requests":1,"hostname":"a","ip":"10.0.0.1"}`), `status is "", not active`},
		"no start":       {"GET /api/", body(`{"requests":1,"hostname":"a","ip":"10.0.0.1","status":"active","version":"v7"}`), "there is no started_at"},
		"not JSON":       {"GET /api", body(`<html>`), "/api is /api/: GET /api: invalid character"},
		"a page":         {"GET /health", with("Content-Type", "text/html"), `health: GET /health answers with "text/html", not JSON`},
		"ill":            {"GET /api/health", body(`{"status":"ill"}`), `health: /api/health: status is "ill", not ok`},
		"no HEAD":        {"HEAD /api/", status(405), "HEAD /api/ answers"},
		"anything goes":  {"POST /api/", status(200), "another method is refused: POST /api/ answers"},
		"no Allow":       {"POST /api/", without("Allow"), `another method is refused: header Allow is "", without GET`},
		"a page for 404": {"GET /api/no-such-path", status(200), "an unknown path is refused: GET /api/no-such-path answers"},
		"other id":       {"GET /api/no-such-path", with("X-Request-ID", "other"), "with another id than in the header"},
		"no ids":         {"GET /api/", without("X-Request-ID"), "request ids: sent"},
		"cached":         {"GET /api/", with("Cache-Control", "max-age=60"), `headers: Cache-Control is "max-age=60", without no-store`},
		"for everybody":  {"GET /api/", with("Access-Control-Allow-Origin", "*"), "headers: origin * may read the answer"},
		"old document":   {"GET /api/openapi.json", body(`{"openapi":"2.0"}`), `the document: openapi is "2.0", not 3`},
		"empty document": {"GET /api/openapi.json", body(`{"openapi":"3.0.3"}`), "/api/ is not documented"},
		"other status":   {"GET /health", status(201), "/health answers 201 Created, which is not documented"},
		"other type":     {"GET /health", with("Content-Type", "application/jsonx"), `/health answers with "application/jsonx", which is not documented`},
		"small buffers": {"GET /api/", func(r *http.Response) {
			if r.Request.Header.Get("X-Amzn-Oidc-Data") != "" {
				r.StatusCode = 431
			}
		}, "headers of a load balancer: two of 15 KB: GET /api/ answers 431"},
		"no use of its tag": {"GET /api/openapi.json", without("ETag"), "it is sent again"},
	}
	target, err := url.Parse(base)
	require.NoError(t, err)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			proxy := httptest.NewServer(&httputil.ReverseProxy{
				Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
				ModifyResponse: func(r *http.Response) error {
					if r.Request.Method+" "+r.Request.URL.Path == tt.path && r.Request.URL.RawQuery == "" {
						tt.mangle(r)
					}
					return nil
				},
			})
			defer proxy.Close()
			defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
			require.ErrorContains(t, contract.Check(t.Context(), proxy.URL, "v7"), tt.want)
		})
	}
}

func TestNobodyThere(t *testing.T) {
	err := contract.Check(t.Context(), "http://127.0.0.1:1", "")
	require.ErrorContains(t, err, "the instance says who it is: ")
	require.ErrorContains(t, err, "headers of a load balancer: ")
	require.Error(t, contract.Check(t.Context(), "http://bad host", ""))
}

// TestDevelopmentProxy checks the proxy that compose.yaml adds to Nginx, and the page behind
// it. It must forward to the backend everything that a load balancer forwards.
func TestDevelopmentProxy(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(sourcetest.Repository("frontend", "development", "api.conf"))
	require.NoError(t, err)
	require.Contains(t, string(text), "http://backend:8000")
	server := browser.StartNginx(t, strings.ReplaceAll(string(text), "http://backend:8000", startBackend(t)))
	require.NoError(t, contract.Check(t.Context(), server.URL, "v7"))

	for _, path := range []string{"/healthz", "/healthy", "/apis"} {
		response, err := http.Get(server.URL + path)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Empty(t, response.Header.Get("X-Request-ID"), "%s is the page's server's", path)
	}
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)

	t.Run("page", func(t *testing.T) {
		t.Cleanup(browser.StopChromium)
		page := browser.Open(t, browser.Desktop, server.URL)
		page.Await(`text("state-text") === "LIVE" && text("version") === "v7" && text("requests") !== "–"`)
	})
}

// TestRehearsal rehearses the services of this repository, as a newcomer does, and asks
// through the load balancer of the embedded AWS, in front of two tasks.
func TestRehearsal(t *testing.T) {
	t.Parallel()
	dir := sourcetest.New(t)
	require.NoError(t, os.CopyFS(filepath.Join(dir, "backend"), os.DirFS(sourcetest.Repository("backend"))))
	require.NoError(t, os.CopyFS(filepath.Join(dir, "frontend"), os.DirFS(sourcetest.Repository("frontend"))))
	services, err := os.ReadFile(sourcetest.Repository(platform.ServicesFile))
	require.NoError(t, err)
	sourcetest.Write(t, dir, platform.ServicesFile, string(services))
	sourcetest.Commit(t, dir, "the real services")
	release := rehearsaltest.Deliver(t, dir, func(_ string, release report.Release) {
		require.NotEmpty(t, release.URL)
		require.NoError(t, contract.Check(t.Context(), release.URL, release.SHA))
		page, err := http.Get(release.URL)
		require.NoError(t, err)
		defer page.Body.Close()
		text, err := io.ReadAll(page.Body)
		require.NoError(t, err)
		require.Contains(t, string(text), "<title>Slipway</title>")
	})
	require.Equal(t, report.Succeeded, release.Result)
}
