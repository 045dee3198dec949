package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2/utils"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	utils.StartTimeStampUpdater() // the limiter's clock, which never ends
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent(),
		// Nor does its store.
		goleak.IgnoreAnyFunction("github.com/gofiber/fiber/v2/internal/memory.(*Storage).gc"),
		// fasthttp never stops its clock, and its worker pool stops up to ten seconds
		// after the server.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

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

func env(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func freePort(t *testing.T) string {
	ln, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	defer func() { _ = ln.Close() }()
	return strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
}

// program is a started server.
type program struct {
	url            string
	stop           context.CancelFunc
	exit           chan int
	stdout, stderr *output
}

func start(t *testing.T, vars map[string]string) program {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	p := program{
		url:    "http://127.0.0.1:" + vars["PORT"],
		stop:   stop,
		exit:   make(chan int, 1),
		stdout: &output{},
		stderr: &output{},
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.exit <- run(ctx, nil, env(vars), p.stdout, p.stderr)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	require.Eventually(t, func() bool {
		return run(t.Context(), []string{"healthcheck"}, env(vars), io.Discard, io.Discard) == exitOK
	}, 5*time.Second, 5*time.Millisecond, "%s", p.stderr)
	return p
}

func getJSON(t *testing.T, url string) map[string]any {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	var fields map[string]any
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&fields))
	return fields
}

func TestServe(t *testing.T) {
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"Networks":[{"IPv4Addresses":["10.0.10.7"]}]}`)
	}))
	defer metadata.Close()
	p := start(t, map[string]string{
		"PORT": freePort(t), "HOSTNAME": "web-1", "VERSION": "v7", "ECS_CONTAINER_METADATA_URI_V4": metadata.URL,
	})
	asked := 0
	require.Eventually(t, func() bool {
		asked++
		return getJSON(t, p.url+"/api/")["ip"] == "10.0.10.7"
	}, 5*time.Second, 10*time.Millisecond)
	fields := getJSON(t, p.url+"/api")
	require.Equal(t, "web-1", fields["hostname"])
	require.Equal(t, "v7", fields["version"])
	require.Equal(t, map[string]any{"status": "ok"}, getJSON(t, p.url+"/health"))

	p.stop()
	require.Equal(t, exitOK, <-p.exit)
	require.Empty(t, p.stderr.String())
	var messages []string
	requests := 0
	for line := range strings.Lines(p.stdout.String()) {
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &fields), line)
		if message := fields["msg"].(string); message != "request" {
			messages = append(messages, message)
		} else {
			requests++
		}
	}
	require.Equal(t, 1+asked, requests, "remaining spans are sent")
	require.Equal(t, []string{"started", "draining", "stopped"}, messages)
}

// TestServeLogs has a collector and an admin listener.
func TestServeLogs(t *testing.T) {
	spans := make(chan string, 10)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		spans <- r.URL.Path + " " + r.Header.Get("X-Tenant") + string(body)
	}))
	defer collector.Close()
	admin := "127.0.0.1:" + freePort(t)
	p := start(t, map[string]string{
		"PORT": freePort(t), "ADMIN_ADDR": admin, "VERSION": "v7",
		"OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL, "OTEL_EXPORTER_OTLP_HEADERS": "X-Tenant=hunter2",
	})
	getJSON(t, p.url+"/api/")
	resp, err := http.Get("http://" + admin + "/metrics")
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	metrics, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Contains(t, string(metrics), `http_requests_total{method="GET",route="/api/",status="200"} 1`)
	http.DefaultClient.CloseIdleConnections()

	p.stop()
	require.Equal(t, exitOK, <-p.exit)
	sent := <-spans
	require.Contains(t, sent, "/v1/traces hunter2")
	require.Contains(t, sent, "GET /api/")
	require.NotContains(t, p.stdout.String(), "hunter2")
	require.Contains(t, p.stdout.String(), `"OTEL_EXPORTER_OTLP_HEADERS":["X-Tenant"]`)
}

// TestServeUnreachableCollector has a collector that never responds.
func TestServeUnreachableCollector(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = silent.Close() }()
	p := start(t, map[string]string{"PORT": freePort(t), "OTEL_EXPORTER_OTLP_ENDPOINT": "http://" + silent.Addr().String()})
	getJSON(t, p.url+"/api/")
	p.stop()
	require.Equal(t, exitOK, <-p.exit)
	require.Contains(t, p.stdout.String(), "dropped the last spans")
}

func TestServeStartFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	var stderr output
	vars := map[string]string{"PORT": freePort(t), "ADMIN_ADDR": taken.Addr().String()}
	require.Equal(t, exitFailed, run(t.Context(), nil, env(vars), io.Discard, &stderr))
	require.Contains(t, stderr.String(), "server: ADMIN_ADDR=")
	require.Contains(t, stderr.String(), "address already in use")

	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "nonsense")
	stderr = output{}
	vars = map[string]string{"PORT": freePort(t), "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
	require.Equal(t, exitFailed, run(t.Context(), nil, env(vars), io.Discard, &stderr))
	require.Contains(t, stderr.String(), "server: creating the trace resource")
}

// TestServeMetadataTimeout has an endpoint that never responds, which must delay neither
// the start nor the stop.
func TestServeMetadataTimeout(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = silent.Close() }()
	p := start(t, map[string]string{
		"PORT": freePort(t), "ECS_CONTAINER_METADATA_URI_V4": "http://" + silent.Addr().String(),
	})
	require.NotEmpty(t, getJSON(t, p.url+"/api/")["ip"])
	p.stop()
	require.Equal(t, exitOK, <-p.exit)
	require.Contains(t, p.stdout.String(), "cannot read the task's address, using the host's")
}

func TestServeStopsOnSignals(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			p := start(t, map[string]string{"PORT": freePort(t)})
			require.NoError(t, syscall.Kill(os.Getpid(), signal))
			require.Equal(t, exitOK, <-p.exit)
		})
	}
}

// TestServeDrainTimesOut sends half a request, so that the server waits for the rest.
func TestServeDrainTimesOut(t *testing.T) {
	p := start(t, map[string]string{"PORT": freePort(t), "DRAIN_TIMEOUT": "50ms"})
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	require.NoError(t, err)
	_, err = io.WriteString(conn, "GET /api/ HTTP/1.1\r\n")
	require.NoError(t, err)
	p.stop()
	require.Equal(t, exitFailed, <-p.exit)
	require.NoError(t, conn.Close())
	require.Contains(t, p.stdout.String(), `"level":"ERROR","msg":"stopped"`)
}

func TestServeInvalidConfig(t *testing.T) {
	var stdout, stderr output
	code := run(t.Context(), nil, env(map[string]string{"PORT": "http", "LOG_LEVEL": "loud"}), &stdout, &stderr)
	require.Equal(t, exitUsage, code)
	require.Empty(t, stdout.String())
	require.Equal(t, `server: PORT="http": must be a whole number from 1 to 65535; unset it for 8000
server: LOG_LEVEL="loud": must be debug, info, warn or error
`, stderr.String())
}

func TestServePortInUse(t *testing.T) {
	ln, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	defer func() { _ = ln.Close() }()
	port := strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
	var stdout, stderr output
	require.Equal(t, exitFailed, run(t.Context(), nil, env(map[string]string{"PORT": port}), &stdout, &stderr))
	require.Empty(t, stdout.String())
	require.Equal(t, fmt.Sprintf("server: port %s is in use: stop the process that holds it, or set PORT to a free one\n", port), stderr.String())
}

func TestListenError(t *testing.T) {
	tests := map[string]struct {
		err  error
		want string
	}{
		"in use":     {syscall.EADDRINUSE, "port 80 is in use: stop the process that holds it, or set PORT to a free one"},
		"privileged": {syscall.EACCES, "port 80 needs privileges: set PORT to 1024 or above"},
		"other":      {syscall.ENOBUFS, "listening on port 80: listen tcp: bind: no buffer space available"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := listenError(80, &net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", test.err)})
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestHealthCheck(t *testing.T) {
	tests := map[string]struct {
		answer func(http.ResponseWriter)
		code   int
		stderr string
	}{
		"healthy":  {func(w http.ResponseWriter) { w.WriteHeader(200) }, exitOK, `^$`},
		"draining": {func(w http.ResponseWriter) { w.WriteHeader(503) }, exitFailed, `^unhealthy: http://127\.0\.0\.1:\d+/health responded with status 503 Service Unavailable\n$`},
		"broken":   {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, exitFailed, `^unhealthy: Get "http://127\.0\.0\.1:\d+/health": EOF\n$`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/health" {
					test.answer(w)
				}
			}))
			defer server.Close()
			_, port, err := net.SplitHostPort(server.Listener.Addr().String())
			require.NoError(t, err)
			var stdout, stderr output
			code := run(t.Context(), []string{"healthcheck"}, env(map[string]string{"PORT": port}), &stdout, &stderr)
			require.Equal(t, test.code, code)
			require.Regexp(t, test.stderr, stderr.String())
			require.Empty(t, stdout.String())
		})
	}
}

func TestHealthCheckUnreachable(t *testing.T) {
	var stderr output
	code := run(t.Context(), []string{"healthcheck"}, env(map[string]string{"PORT": freePort(t)}), io.Discard, &stderr)
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr.String(), "connection refused")
}

func TestHealthCheckTimeout(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = silent.Close() }()
	_, port, err := net.SplitHostPort(silent.Addr().String())
	require.NoError(t, err)
	var stderr output
	begin := time.Now()
	code := run(t.Context(), []string{"healthcheck"}, env(map[string]string{"PORT": port}), io.Discard, &stderr)
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr.String(), "deadline exceeded")
	require.Less(t, time.Since(begin), 5*time.Second)
}

func TestHealthCheckInvalidConfig(t *testing.T) {
	var stderr output
	vars := env(map[string]string{"PORT": "x", "LOG_LEVEL": "x"})
	require.Equal(t, exitFailed, run(t.Context(), []string{"healthcheck"}, vars, io.Discard, &stderr))
	require.Equal(t, 1, strings.Count(stderr.String(), "\n"), "one line, whatever is wrong")
}

func TestCommands(t *testing.T) {
	tests := map[string]struct {
		args           []string
		vars           map[string]string
		code           int
		stdout, stderr string
	}{
		"version":         {[]string{"version"}, map[string]string{"VERSION": "v7"}, exitOK, `^v7\n$`, `^$`},
		"version unknown": {[]string{"version"}, nil, exitOK, `^\S+\n$`, `^$`},
		"version invalid": {[]string{"version"}, map[string]string{"VERSION": "?"}, exitUsage, `^$`, `^server: VERSION="\?": must be .*\n$`},
		"help":            {[]string{"--help"}, nil, exitOK, `^usage: server`, `^$`},
		"unknown":         {[]string{"serve", "now"}, nil, exitUsage, `^$`, `^server: unknown arguments "serve now"\nusage: server`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr output
			require.Equal(t, test.code, run(t.Context(), test.args, env(test.vars), &stdout, &stderr))
			require.Regexp(t, test.stdout, stdout.String())
			require.Regexp(t, test.stderr, stderr.String())
		})
	}
}
