package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
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

// environment returns the environment of a task, with the given changes.
func environment(t *testing.T, changes ...string) func(string) string {
	vars := map[string]string{"DATABASE_URL": "postgres://shop", "API_TOKEN": "secret", "HOSTNAME": filepath.Base(t.TempDir()), "VERSION": "v7"}
	for _, change := range changes {
		name, value, _ := strings.Cut(change, "=")
		vars[name] = value
	}
	return func(name string) string { return vars[name] }
}

func TestCommands(t *testing.T) {
	for name, tt := range map[string]struct {
		command string
		changes []string
		code    int
		want    string
	}{
		"migrate":              {"migrate", nil, exitOK, `"applied":2,"schema":2`},
		"migration fails":      {"migrate", []string{"SHOP_FAULT=migrate"}, exitMigration, "migrating: orders is locked"},
		"previous version":     {"migrate", []string{"SHOP_FAULT=migrate", "VERSION=previous"}, exitOK, `"schema":2`},
		"cleanup":              {"cleanup", nil, exitOK, `"deleted":0`},
		"cleanup fails":        {"cleanup", []string{"SHOP_FAULT=cleanup"}, exitFailed, "cannot be listed"},
		"no duration":          {"cleanup", []string{"KEEP=long"}, exitUsage, `KEEP: time: invalid duration "long"`},
		"worker fails":         {"work", []string{"SHOP_FAULT=work"}, exitFailed, "no such table"},
		"no secret":            {"work", []string{"DATABASE_URL="}, exitUsage, "DATABASE_URL is not set"},
		"unknown":              {"pay", nil, exitUsage, `unknown arguments "pay"`},
		"nobody works":         {"healthcheck work", nil, exitFailed, "unhealthy: "},
		"port cannot be taken": {"", []string{"PORT=none"}, exitFailed, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			var out output
			code := run(t.Context(), strings.Fields(tt.command), environment(t, append(tt.changes, "DATA_DIR="+t.TempDir())...), &out, &out)
			require.Equal(t, tt.code, code, &out)
			require.Contains(t, out.String(), tt.want)
		})
	}
}

// TestOrder orders something, as a client, and waits until the worker has packed it.
func TestOrder(t *testing.T) {
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	getenv := environment(t, "DATA_DIR="+t.TempDir(), "PORT="+strconv.Itoa(ln.Addr().(*net.TCPAddr).Port))
	a := app{getenv, slog.New(slog.DiscardHandler)}
	t.Cleanup(func() {
		for _, name := range []string{"work", "audit", "audit.log"} {
			_ = os.Remove(a.taskFile(name))
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	var programs sync.WaitGroup
	var out output
	for _, command := range []string{"", "work", "audit"} {
		programs.Go(func() {
			if code := run(ctx, strings.Fields(command), getenv, &out, &out); code != exitOK {
				t.Errorf("%q ended with exit code %d: %s", command, code, &out)
			}
		})
	}
	request := func(method, path, token, body string) (int, map[string]any) {
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+ln.Addr().String()+path, strings.NewReader(body))
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+token)
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return 0, nil
		}
		defer response.Body.Close()
		var document map[string]any
		require.NoError(t, json.NewDecoder(response.Body).Decode(&document))
		return response.StatusCode, document
	}
	eventually := func(condition func() bool) {
		require.Eventually(t, condition, 10*time.Second, 5*time.Millisecond, &out)
	}
	eventually(func() bool { status, _ := request("GET", "/health", "", ""); return status == http.StatusOK })

	status, body := request("POST", "/api/orders", "secret", `{"item": "tea"}`)
	require.Equal(t, http.StatusServiceUnavailable, status, body)
	require.Equal(t, exitOK, run(ctx, []string{"migrate"}, getenv, &out, &out))
	_, body = request("GET", "/api/", "", "")
	require.Equal(t, map[string]any{"service": "shop", "version": "v7", "schema": 2.0}, body)
	status, _ = request("POST", "/api/orders", "guess", `{"item": "tea"}`)
	require.Equal(t, http.StatusUnauthorized, status)
	status, _ = request("POST", "/api/orders", "secret", `{}`)
	require.Equal(t, http.StatusBadRequest, status)
	status, body = request("POST", "/api/orders", "secret", `{"item": "tea"}`)
	require.Equal(t, http.StatusCreated, status, body)
	id := body["id"].(string)
	eventually(func() bool { _, body = request("GET", "/api/orders/"+id, "", ""); return body["state"] == "packed" })
	require.Equal(t, "tea", body["item"])
	status, _ = request("GET", "/api/orders/none", "", "")
	require.Equal(t, http.StatusNotFound, status)
	for _, name := range []string{"work", "audit"} {
		eventually(func() bool { return run(ctx, []string{"healthcheck", name}, getenv, io.Discard, io.Discard) == exitOK })
	}
	eventually(func() bool { return strings.Contains(out.String(), `"accepted","order":"`+id) })
	require.Equal(t, exitOK, run(ctx, []string{"cleanup"}, environment(t, "KEEP=0s", "DATA_DIR="+getenv("DATA_DIR")), &out, &out))
	status, _ = request("GET", "/api/orders/"+id, "", "")
	require.Equal(t, http.StatusNotFound, status)
	stop()
	programs.Wait()
	require.Contains(t, out.String(), `"msg":"draining"`)
}

func TestHealth(t *testing.T) {
	for fault, want := range map[string]int{"": http.StatusOK, "api": http.StatusInternalServerError, "draining": http.StatusServiceUnavailable} {
		orders := &api{app: app{environment(t, "SHOP_FAULT="+fault), slog.New(slog.DiscardHandler)}}
		orders.draining.Store(fault == "draining")
		response, err := orders.server().Test(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/health", http.NoBody))
		require.NoError(t, err)
		require.Equal(t, want, response.StatusCode)
		require.NoError(t, response.Body.Close())
	}
}
