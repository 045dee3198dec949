package benchmark

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

// bareServer makes the test binary a server to compare with: its value is which.
const bareServer = "BENCHMARK_BARE_SERVER"

// binary is the service, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	if which := os.Getenv(bareServer); which != "" {
		if err := serveBare(which, ":"+os.Getenv("PORT")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "benchmark")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "server")
	// As images are built.
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", binary, "slipway/backend/cmd/server")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the server: %v\n%s", err, output)
		return 1
	}
	return m.Run()
}

// serveBare answers as the service does, with nothing around it.
func serveBare(which, address string) error {
	const health, instance = `{"status":"ok"}`, `{"hostname":"web-1","ip":"10.0.10.7","status":"active","version":"v7","started_at":"2026-01-01T00:00:00.000Z","requests":1}`
	if which == "fiber" {
		app := fiber.New(fiber.Config{DisableStartupMessage: true})
		app.Get("/health", func(c *fiber.Ctx) error { return c.Type("json").SendString(health) })
		app.Get("/api/", func(c *fiber.Ctx) error { return c.Type("json").SendString(instance) })
		return app.Listen(address)
	}
	return fasthttp.ListenAndServe(address, func(ctx *fasthttp.RequestCtx) {
		ctx.SetContentType("application/json")
		if string(ctx.Path()) == "/health" {
			ctx.SetBodyString(health)
		} else {
			ctx.SetBodyString(instance)
		}
	})
}

// process is a server that runs.
type process struct {
	*exec.Cmd
	addr    string
	stderr  *bytes.Buffer
	ready   time.Duration // from the start to the first healthy answer
	stopped bool
}

// start runs a server, the service itself if which is "", until the test ends.
func start(tb testing.TB, which string, vars ...string) *process {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	addr := ln.Addr().String()
	require.NoError(tb, ln.Close())
	command := binary
	if which != "" {
		command, err = os.Executable()
		require.NoError(tb, err)
	}
	p := &process{Cmd: exec.Command(command), addr: addr, stderr: &bytes.Buffer{}}
	_, port, _ := net.SplitHostPort(addr)
	p.Env = append([]string{"PORT=" + port, "VERSION=v7", bareServer + "=" + which}, vars...)
	p.Stderr = p.stderr
	// The log is written as in a container, but to nowhere.
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(tb, err)
	defer func() { _ = null.Close() }()
	p.Stdout = null
	begin := time.Now()
	require.NoError(tb, p.Start())
	tb.Cleanup(func() {
		if !p.stopped {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	for {
		resp, err := client.Get("http://" + addr + "/health")
		if err == nil {
			_ = resp.Body.Close()
			require.Equal(tb, 200, resp.StatusCode)
			break
		}
		require.ErrorIs(tb, err, syscall.ECONNREFUSED)
		require.Less(tb, time.Since(begin), 10*time.Second, "the server does not come up: %s", p.stderr)
		select {
		case <-time.After(time.Millisecond):
		case <-tb.Context().Done():
			tb.FailNow()
		}
	}
	p.ready = time.Since(begin)
	return p
}

// stop sends SIGTERM and waits for the end, which must be a good one.
func (p *process) stop(ctx context.Context) error {
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = p.Process.Kill() })()
	p.stopped = true
	return p.Wait()
}

// resident is the process's memory in MB.
func (p *process) resident(tb testing.TB) float64 {
	tb.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(p.Process.Pid) + "/status")
	require.NoError(tb, err)
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			require.NoError(tb, err)
			return float64(kb) / 1024
		}
	}
	require.Fail(tb, "no VmRSS")
	return 0
}
