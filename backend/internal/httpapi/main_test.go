package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2/utils"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"

	"slipway/backend/internal/identity"
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

// logEntries collects the log.
type logEntries struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *logEntries) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

// withMessage returns the log entries with msg.
func (j *logEntries) withMessage(t *testing.T, msg string) []map[string]any {
	j.mu.Lock()
	defer j.mu.Unlock()
	var found []map[string]any
	decoder := json.NewDecoder(bytes.NewReader(j.buf.Bytes()))
	for decoder.More() {
		var line map[string]any
		require.NoError(t, decoder.Decode(&line))
		if line["msg"] == msg {
			found = append(found, line)
		}
	}
	return found
}

func newServer(t *testing.T, change func(*Options)) (*Server, *logEntries) {
	t.Helper()
	logged := &logEntries{}
	opts := options(slog.New(slog.NewJSONHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if change != nil {
		change(&opts)
	}
	return New(opts), logged
}

func options(log *slog.Logger) Options {
	return Options{
		Instance:     identity.New("web-1", "v7"),
		Log:          log,
		ReadTimeout:  5 * time.Second,
		WriteTimeout: 5 * time.Second,
		IdleTimeout:  5 * time.Second,
		DrainTimeout: 5 * time.Second,

		TrustedHops:    1,
		MaxConnections: 1000,
	}
}

// runningServer is a server on a socket.
type runningServer struct {
	url    string
	addr   string
	stop   context.CancelFunc
	result chan error // what Serve returned
}

func run(t *testing.T, s *Server) runningServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	r := runningServer{url: "http://" + ln.Addr().String(), addr: ln.Addr().String(), stop: stop, result: make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.result <- s.Serve(ctx, ln)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return r
}

func newClient(t *testing.T) *http.Client {
	client := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func get(ctx context.Context, client *http.Client, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return client.Do(req)
}

// handlerOf returns a server's handler, to call it without a socket.
func handlerOf(s *Server) fasthttp.RequestHandler {
	s.app.Handler() // puts the routes in order, as serving does
	return s.app.Server().Handler
}

// sendOver sends a request over a socket, so that it has a peer.
func sendOver(t *testing.T, r runningServer, method, target string, header ...string) response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+target, http.NoBody)
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := newClient(t).Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return response{resp, string(body)}
}
