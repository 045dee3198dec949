package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// output is a buffer for concurrent use by the program and the test.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// environment returns the environment of a task with a volume, with the given changes.
func environment(t *testing.T, changes ...string) func(string) string {
	t.Setenv("TMPDIR", t.TempDir())
	vars := map[string]string{"DATABASE_URL": "postgres://shop", "API_TOKEN": "secret", "DATA_DIR": t.TempDir(), "KEEP": "0s", "VERSION": "v7"}
	for _, change := range changes {
		name, value, _ := strings.Cut(change, "=")
		vars[name] = value
	}
	return func(name string) string { return vars[name] }
}

func TestCommands(t *testing.T) {
	for name, tt := range map[string]struct {
		command, change string
		code            int
		want            string
	}{
		"migrate":         {"migrate", "", 0, `"applied":["open","packed"],"schema":2`},
		"without volume":  {"migrate", "DATA_DIR=/absent", 0, `"volume":false`},
		"migration fails": {"migrate", "SHOP_FAULT=migrate", exitMigration, "migrating: orders is locked"},
		"no secret":       {"migrate", "DATABASE_URL=", exitMigration, "DATABASE_URL is not set"},
		"cleanup":         {"cleanup", "", 0, `"deleted":0`},
		"cleanup fails":   {"cleanup", "SHOP_FAULT=cleanup", 1, "stale file handle"},
		"no duration":     {"cleanup", "KEEP=long", 1, `KEEP: time: invalid duration "long"`},
		"worker fails":    {"work", "SHOP_FAULT=work", 1, "no such table"},
		"nobody works":    {"healthcheck work", "", 1, "no such file"},
		"nobody serves":   {"healthcheck", "PORT=1", 1, "connection refused"},
		"unknown":         {"pay", "", 1, `unknown command "pay"`},
		"no port":         {"", "PORT=none", 1, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			getenv, out := environment(t, tt.change), &output{}
			require.Equal(t, tt.code, run(t.Context(), strings.Fields(tt.command), getenv, out, out), out)
			require.Contains(t, out.String(), tt.want)
		})
	}
}

func TestFaultIsOfNewVersion(t *testing.T) {
	require.True(t, app{getenv: environment(t, "SHOP_FAULT=api")}.hasFault("api"))
	require.False(t, app{getenv: environment(t, "SHOP_FAULT=api", "VERSION=previous")}.hasFault("api"))
}

// TestOrder orders something, which the worker packs and the job deletes.
func TestOrder(t *testing.T) {
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	require.NoError(t, ln.Close())
	getenv, out := environment(t, "PORT="+port), &output{}
	ctx, stop := context.WithCancel(t.Context())
	var programs sync.WaitGroup
	start := func(command string) {
		programs.Go(func() {
			if code := run(ctx, strings.Fields(command), getenv, out, out); code != 0 {
				t.Errorf("%q ended with exit code %d", command, code)
			}
		})
	}
	requireEventually := func(condition func() bool) { require.Eventually(t, condition, 10*time.Second, time.Millisecond, out) }
	request := func(method, path, token string) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), method, "http://127.0.0.1:"+port+path, strings.NewReader("tea"))
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return 0, ""
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(body)
	}
	start("")
	requireEventually(func() bool { status, _ := request("GET", "/health", ""); return status == http.StatusOK })
	require.Zero(t, run(ctx, []string{"healthcheck"}, getenv, out, out), "the health check that ECS runs by default")
	status, _ := request("POST", "/api/orders", "secret")
	require.Equal(t, http.StatusInternalServerError, status, "the data is not migrated")
	require.Zero(t, run(ctx, []string{"migrate"}, getenv, out, out))
	status, _ = request("POST", "/api/orders", "guess")
	require.Equal(t, http.StatusUnauthorized, status)
	status, body := request("POST", "/api/orders", "secret")
	require.Equal(t, http.StatusCreated, status, body)
	_, state := request("GET", "/api/", "")
	require.JSONEq(t, `{"version": "v7", "schema": 2, "open": 1, "packed": 0}`, state)
	for _, name := range []string{"work", "audit"} {
		start(name)
		requireEventually(func() bool { return run(ctx, []string{"healthcheck", name}, getenv, io.Discard, io.Discard) == 0 })
	}
	requireEventually(func() bool { return strings.Contains(out.String(), `"msg":"accepted","order"`) })
	orders, err := filepath.Glob(filepath.Join(getenv("DATA_DIR"), "packed", "*"))
	require.NoError(t, err)
	require.Len(t, orders, 1)
	require.Zero(t, run(ctx, []string{"cleanup"}, getenv, out, out))
	require.NoFileExists(t, orders[0])
	stop()
	programs.Wait()
}
