package smoke_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/smoke"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var services = []platform.Service{
	{Name: "api", Build: platform.Build{Kind: platform.Go}, HealthPath: "/health", Routes: []string{"/api", "/api/*", "/health"}},
	{Name: "hidden", Build: platform.Build{Kind: platform.Go}, HealthPath: "/ping", Routes: []string{"/hidden/*"}},
	{Name: "web", Build: platform.Build{Kind: platform.Nginx}, HealthPath: "/healthz", Routes: []string{"/*"}},
}

func TestChecks(t *testing.T) {
	got := smoke.Checks(services, map[string]string{"api": "v2", "web": "v2"})
	require.Equal(t, []smoke.Check{
		{Service: "api", Path: "/api/", Version: "v2", Below: 500, SuccessThreshold: 8},
		{Service: "api", Path: "/api/health", Below: 500},
		{Service: "api", Path: "/health"},
		{Service: "hidden", Path: "/hidden/", Below: 500}, // not in versions
		{Service: "hidden", Path: "/hidden/health", Below: 500},
		{Service: "web", Path: "/", HTML: true},
		{Service: "web", Path: "/healthz"},
	}, got, "/ping is routed to web, so it is not checked")
	require.Equal(t, []smoke.Check{{Service: "all", Path: "/", Below: 500}, {Service: "all", Path: "/up"}}, smoke.Checks([]platform.Service{
		{Name: "all", Build: platform.Build{Kind: platform.Go}, HealthPath: "/up", Routes: []string{"/*"}},
	}, map[string]string{"all": "v2"}), "an API need not have a page at /")
}

// TestChecksOfAnyProgram: what a program of another kind returns is its own matter, as
// long as it answers.
func TestChecksOfAnyProgram(t *testing.T) {
	got := smoke.Checks([]platform.Service{
		{Name: "shop", Build: platform.Build{Kind: platform.Dockerfile}, HealthPath: "/up", Routes: []string{"/shop", "/shop/*", "/img/*.png", "/v?/x"}},
		{Name: "site", Build: platform.Build{Kind: platform.Prebuilt}, HealthPath: "/shop/up", Routes: []string{"/*"}},
		{Name: "adopted", Build: platform.Build{Kind: platform.Go}, Names: platform.Names{Service: "team-api"}, HealthPath: "/team/up", Routes: []string{"/team/*"}},
		{Name: "worker", Build: platform.Build{Kind: platform.Go}},
		{Name: "job", Build: platform.Build{Kind: platform.Go}, Schedule: "rate(1 hour)"},
	}, map[string]string{"shop": "v2", "worker": "v2"})
	require.Equal(t, []smoke.Check{
		{Service: "shop", Path: "/shop", Version: "v2", Below: 500, CommitOnly: true, SuccessThreshold: 8},
		{Service: "shop", Path: "/shop/", Version: "v2", Below: 500, CommitOnly: true},
		{Service: "site", Path: "/", Below: 500, CommitOnly: true},
		{Service: "adopted", Path: "/team/", Below: 500, CommitOnly: true},
		{Service: "adopted", Path: "/team/up", Below: 400},
	}, got, "/up is routed to site, and /shop/up to shop")
}

func TestRunAgainstAnyProgram(t *testing.T) {
	const commit = "0123456789012345678901234567890123456789"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/login":
			http.Redirect(w, r, "http://elsewhere.invalid/", http.StatusFound)
		case "/private":
			http.Error(w, "no", http.StatusUnauthorized)
		case "/api":
			fmt.Fprint(w, `{"version":"1.4"}`)
		case "/commit":
			fmt.Fprintf(w, `{"version":%q}`, commit)
		default:
			http.Error(w, "no", http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	tests := map[string]struct {
		check smoke.Check
		want  string
	}{
		"a redirect is not followed": {smoke.Check{Path: "/login", Below: 500}, ""},
		"unauthorized":               {smoke.Check{Path: "/private", Below: 500}, ""},
		"unauthorized health":        {smoke.Check{Path: "/private", Below: 400}, "/private returned 401 Unauthorized, want a status below 400"},
		"a version of its own":       {smoke.Check{Path: "/api", CommitOnly: true, Version: strings.Repeat("9", 40)}, ""},
		"a version":                  {smoke.Check{Path: "/api", Below: 500, Version: strings.Repeat("9", 40)}, `/api returned version "1.4"`},
		"another commit":             {smoke.Check{Path: "/commit", Below: 500, CommitOnly: true, Version: strings.Repeat("9", 40)}, `/commit returned version "` + commit + `"`},
		"the commit":                 {smoke.Check{Path: "/commit", CommitOnly: true, Version: commit}, ""},
		"as before the release":      {smoke.Check{Path: "/private", Below: 500, AsBefore: true}, "/private returned 401 Unauthorized, want a status below 400 as before the release"},
		"redirected as before":       {smoke.Check{Path: "/login", Below: 500, AsBefore: true}, ""},
		"unavailable":                {smoke.Check{Path: "/x", Below: 500}, "/x returned 503 Service Unavailable, want a status below 500"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := tryOnce.Run(t.Context(), server.URL, []smoke.Check{tt.check})
			if tt.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tt.want)
			}
		})
	}
}

// TestSucceeded: what a Go program answered before the release, it must answer after it.
func TestSucceeded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/gone" {
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	checks := []smoke.Check{
		{Service: "a", Path: "/", Below: 500},
		{Service: "a", Path: "/gone", Below: 500},
		{Service: "a", Path: "/health"},
		{Service: "b", Path: "/b", Below: 500, CommitOnly: true},
	}
	succeeded := smoke.Succeeded{}
	succeeded.Add(t.Context(), server.URL, "", checks)
	require.Equal(t, smoke.Succeeded{"a/": true, "a/gone": false}, succeeded, "the others have a rule of their own")
	asBefore := func(checks []smoke.Check) (paths []string) {
		for _, check := range checks {
			if check.AsBefore {
				paths = append(paths, check.Path)
			}
		}
		return paths
	}
	require.Equal(t, []string{"/"}, asBefore(succeeded.Require(checks)))
	require.Empty(t, asBefore(smoke.Succeeded(nil).Require(checks)))
}

// TestChecksOfOverlappingRoutes: a path is checked for the service that handles it.
func TestChecksOfOverlappingRoutes(t *testing.T) {
	got := smoke.Checks([]platform.Service{
		{Name: "api", Build: platform.Build{Kind: platform.Go}, HealthPath: "/health", Routes: []string{"/api/*"}},
		{Name: "probes", Build: platform.Build{Kind: platform.Go}, HealthPath: "/health", Routes: []string{"/api/health", "/health"}},
		{Name: "landing", Build: platform.Build{Kind: platform.Nginx}, HealthPath: "/healthz", Routes: []string{"/"}},
		{Name: "web", Build: platform.Build{Kind: platform.Nginx}, HealthPath: "/healthz", Routes: []string{"/*"}},
	}, nil)
	require.Equal(t, []smoke.Check{{Service: "api", Path: "/api/", Below: 500}, {Service: "probes", Path: "/health"}, {Service: "web", Path: "/healthz"}}, got)
}

func TestNotes(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/down"):
			http.Error(w, "no", http.StatusServiceUnavailable)
		case r.URL.Path == "/hangs":
			<-r.Context().Done()
		}
	}))
	defer server.Close()
	down := smoke.Check{Service: "web", Path: "/down"}
	require.Equal(t, []string{
		"service web fails the smoke test, and this release started no task of it: /down returned 503 Service Unavailable, want 200 OK; /down/too returned 503 Service Unavailable, want 200 OK",
		"service old fails the smoke test, and this release started no task of it: /down returned 503 Service Unavailable, want 200 OK",
	}, smoke.Notes(t.Context(), server.URL, "", []smoke.Check{
		{Service: "api", Path: "/api/"}, down, {Service: "old", Path: "/down"}, {Service: "web", Path: "/down/too"},
	}))
	require.Empty(t, smoke.Notes(t.Context(), server.URL, "", []smoke.Check{{Service: "api", Path: "/api/"}}))

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	slow := slices.Repeat([]smoke.Check{{Service: "slow", Path: "/hangs"}}, 100)
	require.Len(t, smoke.Notes(ctx, server.URL, "", slow), 1, "the timeout is for all checks")
}

// TestProxy runs in another process, because net/http reads the environment once.
func TestProxy(t *testing.T) {
	const site = "http://www.example.test" // does not resolve
	if os.Getenv("SMOKE_TEST_SITE") != "" {
		require.NoError(t, tryOnce.Run(t.Context(), os.Getenv("SMOKE_TEST_SITE"), []smoke.Check{{Path: "/api/", Version: "v2"}}))
		return
	}
	requests := make(chan string, 10)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r.Method + " " + r.RequestURI
		fmt.Fprint(w, `{"version":"v2"}`)
	}))
	defer proxy.Close()
	direct, _ := serveVersions(t, "v2")
	tests := map[string]struct {
		environment []string
		site        string
		want        []string
	}{
		"upper case":        {[]string{"HTTP_PROXY=" + proxy.URL}, site, []string{"GET " + site + "/api/"}},
		"lower case":        {[]string{"http_proxy=" + proxy.URL}, site, []string{"GET " + site + "/api/"}},
		"none for loopback": {[]string{"HTTP_PROXY=" + proxy.URL}, direct, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxy$", "-test.count=1")
			cmd.Env = append([]string{"SMOKE_TEST_SITE=" + tt.site}, tt.environment...)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			var got []string
			for len(requests) > 0 {
				got = append(got, <-requests)
			}
			require.Equal(t, tt.want, got)
		})
	}
}

// fakeClock advances instead of waiting.
type fakeClock struct {
	now   time.Time
	slept int
	err   error
}

func (c *fakeClock) Now() time.Time { return c.now }

func (c *fakeClock) Sleep(_ context.Context, d time.Duration) error {
	c.now = c.now.Add(d)
	c.slept++
	return c.err
}

// tryOnce runs each check once.
var tryOnce = smoke.Tester{Clock: &fakeClock{}}

// serveVersions serves one version per request, and then the last one again; ""
// is served as a 502. requests counts the requests.
func serveVersions(t *testing.T, versions ...string) (url string, requests *atomic.Int32) {
	t.Helper()
	requests = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		version := versions[min(int(requests.Add(1)), len(versions))-1]
		if version == "" {
			http.Error(w, "no", http.StatusBadGateway)
			return
		}
		fmt.Fprintf(w, `{"version":%q}`, version)
	}))
	t.Cleanup(server.Close)
	return server.URL, requests
}

func TestRetries(t *testing.T) {
	tests := map[string]struct {
		versions        []string
		requests, slept int
		want            string
	}{
		"passes at once":       {[]string{"v2"}, 3, 0, ""},
		"passes later":         {[]string{"", "v1", "v2"}, 5, 2, ""},
		"one old task remains": {[]string{"v2", "v2", "v1", "v2"}, 6, 1, ""}, // counts from 0 again
		"alternating":          {strings.Split("v1 v2 v1 v2 v1 v2 v1 v2 v1 v2 v1 v2 v1 v2 v1", " "), 11, 5, `/ returned version "v1", want "v2"`},
		"never":                {[]string{""}, 6, 5, "/ returned 502 Bad Gateway, want 200 OK"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			url, requests := serveVersions(t, tt.versions...)
			clock := &fakeClock{now: time.Now()}
			tester := smoke.Tester{Clock: clock, Timeout: 5 * time.Second}
			err := tester.Run(t.Context(), url, []smoke.Check{{Path: "/", Version: "v2", SuccessThreshold: 3}})
			if tt.want == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, tt.want)
			}
			require.Equal(t, tt.requests, int(requests.Load()))
			require.Equal(t, tt.slept, clock.slept)
		})
	}
	t.Run("the timeout is for all checks", func(t *testing.T) {
		url, requests := serveVersions(t, "")
		tester := smoke.Tester{Clock: &fakeClock{}, Timeout: 5 * time.Second}
		require.Error(t, tester.Run(t.Context(), url, []smoke.Check{{Path: "/x"}, {Path: "/y"}, {Path: "/z"}}))
		require.Equal(t, 6+1+1, int(requests.Load()))
	})
	t.Run("the clock fails", func(t *testing.T) {
		url, _ := serveVersions(t, "")
		tester := smoke.Tester{Clock: &fakeClock{err: errors.New("stopped")}, Timeout: time.Second}
		require.ErrorContains(t, tester.Run(t.Context(), url, []smoke.Check{{Path: "/x"}}), "stopped")
	})
	t.Run("real clock", func(t *testing.T) {
		url, _ := serveVersions(t, "v2")
		require.NoError(t, smoke.Tester{Clock: clock.Real{}, Timeout: smoke.DefaultTimeout}.Run(t.Context(), url, []smoke.Check{{Path: "/x"}}))
	})
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
		"all pass":        {[]smoke.Check{{Path: "/", HTML: true}, {Path: "/api/", Version: "v2"}, {Path: "/plain/", Version: "v2"}}, nil},
		"another version": {[]smoke.Check{{Path: "/api/", Version: "v3"}}, []string{`/api/ returned version "v2", want "v3"`}},
		"no HTML":         {[]smoke.Check{{Path: "/api/", HTML: true}}, []string{`/api/ returned Content-Type "application/json", want text/html`}},
		"several fail":    {[]smoke.Check{{Path: "/x"}, {Path: "/y"}}, []string{"/x returned 502", "/y returned 502"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := tryOnce.Run(t.Context(), server.URL, tt.checks)
			if len(tt.want) == 0 {
				require.NoError(t, err)
			}
			for _, want := range tt.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
	t.Run("the same failure is reported once", func(t *testing.T) {
		err := tryOnce.Run(t.Context(), server.URL, []smoke.Check{{Path: "/x"}, {Path: "/x"}})
		require.EqualError(t, err, "/x returned 502 Bad Gateway, want 200 OK")
	})
	t.Run("connection refused", func(t *testing.T) {
		require.ErrorContains(t, tryOnce.Run(t.Context(), "http://127.0.0.1:1", []smoke.Check{{Path: "/"}}), "connection refused")
	})
	t.Run("invalid base URL", func(t *testing.T) {
		require.Error(t, tryOnce.Run(t.Context(), "http://\x00", []smoke.Check{{Path: "/"}}))
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, tryOnce.Run(ctx, server.URL, []smoke.Check{{Path: "/"}}), context.Canceled)
	})
}

// TestHost: requests to the load balancer have the preview's name, and those that a
// redirect leads elsewhere do not.
func TestHost(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host == "pr7.example.com" {
			w.WriteHeader(http.StatusMisdirectedRequest)
		}
	}))
	defer other.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Host != "pr7.example.com":
			w.WriteHeader(http.StatusNotFound)
		case r.URL.Path == "/moved":
			http.Redirect(w, r, other.URL, http.StatusFound)
		}
	}))
	defer server.Close()
	checks := []smoke.Check{{Service: "api", Path: "/"}, {Service: "api", Path: "/moved"}}
	require.NoError(t, smoke.Tester{Clock: clock.Real{}, Host: "pr7.example.com"}.Run(t.Context(), server.URL, checks))
	require.ErrorContains(t, smoke.Tester{Clock: clock.Real{}}.Run(t.Context(), server.URL, checks[:1]), "404")
	require.Empty(t, smoke.Notes(t.Context(), server.URL, "pr7.example.com", checks[:1]))
}
