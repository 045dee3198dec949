package smoke_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"dagger/slipway/internal/platform"
	"dagger/slipway/internal/smoke"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var services = []platform.Service{
	{Name: "api", Kind: platform.Go, HealthPath: "/health", Routes: []string{"/api", "/api/*", "/health"}},
	{Name: "hidden", Kind: platform.Go, HealthPath: "/ping", Routes: []string{"/hidden/*"}},
	{Name: "web", Kind: platform.Nginx, HealthPath: "/healthz", Routes: []string{"/*"}},
}

func TestChecks(t *testing.T) {
	versions := map[string]string{"api": "v2", "hidden": "v2", "web": "v2"}
	paths := map[string]int{}
	for _, check := range smoke.Checks(services, versions) {
		paths[check.Path]++
		if check.Path == "/api/" || check.Path == "/hidden/" {
			require.Equal(t, "v2", check.Version)
		}
		require.Equal(t, check.Path == "/", check.HTML)
	}
	require.Equal(t, map[string]int{"/": 1, "/api/": 8, "/api/health": 1, "/health": 1, "/hidden/": 8, "/hidden/health": 1, "/healthz": 1}, paths,
		"/ping is not asked for: the load balancer leads it to web")
}

func TestRun(t *testing.T) {
	good := map[string]string{"/": "<html>", "/api/": `{"version":"v2"}`, "/plain/": "no JSON"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := good[r.URL.Path]
		if !ok {
			http.Error(w, "no", http.StatusBadGateway)
			return
		}
		kind := "application/json"
		if r.URL.Path == "/" {
			kind = "text/html; charset=utf-8"
		}
		w.Header().Set("Content-Type", kind)
		w.Write([]byte(body))
	}))
	defer server.Close()

	tests := map[string]struct {
		checks []smoke.Check
		want   []string
	}{
		"all is well":     {[]smoke.Check{{Path: "/", HTML: true}, {Path: "/api/", Version: "v2"}, {Path: "/plain/", Version: "v2"}}, nil},
		"another version": {[]smoke.Check{{Path: "/api/", Version: "v3"}}, []string{`/api/ answers with version "v2", not "v3"`}},
		"no page":         {[]smoke.Check{{Path: "/api/", HTML: true}}, []string{`/api/ answers with "application/json" where a page is expected`}},
		"all is told":     {[]smoke.Check{{Path: "/x"}, {Path: "/y"}}, []string{"/x answers 502", "/y answers 502"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := smoke.Run(t.Context(), server.URL, tt.checks)
			if len(tt.want) == 0 {
				require.NoError(t, err)
			}
			for _, want := range tt.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
	t.Run("the same failure is told once", func(t *testing.T) {
		err := smoke.Run(t.Context(), server.URL, []smoke.Check{{Path: "/x"}, {Path: "/x"}})
		require.EqualError(t, err, "/x answers 502 Bad Gateway")
	})
	t.Run("nobody there", func(t *testing.T) {
		require.ErrorContains(t, smoke.Run(t.Context(), "http://127.0.0.1:1", []smoke.Check{{Path: "/"}}), "connection refused")
	})
	t.Run("a bad address", func(t *testing.T) {
		require.Error(t, smoke.Run(t.Context(), "http://\x00", []smoke.Check{{Path: "/"}}))
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, smoke.Run(ctx, server.URL, []smoke.Check{{Path: "/"}}), context.Canceled)
	})
}
