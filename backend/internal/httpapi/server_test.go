package httpapi

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/stretchr/testify/require"
)

const uuidV4 = `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`

// response is a response with its body.
type response struct {
	*http.Response
	text string
}

func (a response) json(t *testing.T) map[string]any {
	var fields map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.text), &fields), a.text)
	return fields
}

func send(t *testing.T, s *Server, method, target string, header ...string) response {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, target, http.NoBody)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.app.Test(req, 5000)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return response{resp, string(body)}
}

func TestRoutes(t *testing.T) {
	tests := map[string]struct {
		method, target string
		status         int
		err            string
		allow          string
	}{
		"instance":            {"GET", "/api/", 200, "", ""},
		"instance, no slash":  {"GET", "/api", 200, "", ""},
		"instance, query":     {"GET", "/api/?x=1", 200, "", ""},
		"health":              {"GET", "/health", 200, "", ""},
		"health under API":    {"GET", "/api/health", 200, "", ""},
		"root":                {"GET", "/", 404, "not found", ""},
		"unknown":             {"GET", "/api/nope", 404, "not found", ""},
		"other case":          {"GET", "/API/", 404, "not found", ""},
		"unknown, posted":     {"POST", "/nope", 404, "not found", ""},
		"encoded":             {"GET", "/%00%0a%ff", 404, "not found", ""},
		"posted":              {"POST", "/api/", 405, "method not allowed", "GET, HEAD"},
		"deleted":             {"DELETE", "/health", 405, "method not allowed", "GET, HEAD"},
		"options":             {"OPTIONS", "/api/health", 405, "method not allowed", "GET, HEAD"},
		"unknown method":      {"BREW", "/api/", 501, "not implemented", ""},
		"unknown method, 404": {"BREW", "/nope", 501, "not implemented", ""},
	}
	s, _ := newServer(t, nil)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			resp := send(t, s, test.method, test.target)
			require.Equal(t, test.status, resp.StatusCode)
			require.Equal(t, "application/json", resp.Header.Get("Content-Type"))
			require.Equal(t, test.allow, resp.Header.Get("Allow"))
			require.Regexp(t, uuidV4, resp.Header.Get("X-Request-ID"))
			if test.err != "" {
				require.Equal(t, map[string]any{
					"error":      test.err,
					"request_id": resp.Header.Get("X-Request-ID"),
				}, resp.json(t))
			}
		})
	}
}

func TestInstance(t *testing.T) {
	s, _ := newServer(t, nil)
	for range 3 {
		send(t, s, http.MethodGet, "/health")
	}
	for asked := 1; asked <= 2; asked++ {
		fields := send(t, s, http.MethodGet, "/api/").json(t)
		started, err := time.Parse(time.RFC3339, fields["started_at"].(string))
		require.NoError(t, err)
		require.WithinDuration(t, s.opts.Instance.StartedAt, started, time.Millisecond)
		delete(fields, "started_at")
		require.Equal(t, map[string]any{
			"hostname": "web-1",
			"ip":       s.opts.Instance.IP(),
			"status":   "active",
			"version":  "v7",
			"requests": float64(asked),
		}, fields)
	}
	s.opts.Instance.Environment = "staging"
	require.Equal(t, "staging", send(t, s, http.MethodGet, "/api/").json(t)["environment"])
}

func TestHealth(t *testing.T) {
	s, _ := newServer(t, nil)
	for _, target := range []string{"/health", "/api/health"} {
		require.JSONEq(t, `{"status":"ok"}`, send(t, s, http.MethodGet, target).text)
	}
	s.draining.Store(true)
	for _, target := range []string{"/health", "/api/health"} {
		resp := send(t, s, http.MethodGet, target)
		require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
		require.JSONEq(t, `{"status":"draining"}`, resp.text)
	}
}

func TestHeaders(t *testing.T) {
	s, _ := newServer(t, nil)
	for _, target := range []string{"/api/", "/health", "/nope"} {
		header := send(t, s, http.MethodGet, target).Header
		require.Equal(t, "no-store", header.Get("Cache-Control"))
		require.Equal(t, "nosniff", header.Get("X-Content-Type-Options"))
		require.Equal(t, "DENY", header.Get("X-Frame-Options"))
		require.Equal(t, "no-referrer", header.Get("Referrer-Policy"))
		require.Contains(t, header.Get("Content-Security-Policy"), "default-src 'none'")
		require.Empty(t, header.Get("Server"))
	}
}

func TestRequestID(t *testing.T) {
	tests := map[string]struct {
		sent string
		kept bool
	}{
		"none":           {"", false},
		"uuid":           {"0b4a1f0e-6f6e-4f4e-9d8e-0d6e1d2c3b4a", true},
		"shortest":       {"12345678", true},
		"too short":      {"1234567", false},
		"longest":        {strings.Repeat("a", 128), true},
		"too long":       {strings.Repeat("a", 129), false},
		"log injection":  {`12345678","level":"ERROR`, false},
		"markup":         {"<script>alert(1)</script>", false},
		"terminal codes": {"12345678\x1b[31m", false},
		"invalid UTF-8":  {"12345678\xff", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, logged := newServer(t, nil)
			id := send(t, s, http.MethodGet, "/nope", "X-Request-ID", test.sent).Header.Get("X-Request-ID")
			if test.kept {
				require.Equal(t, test.sent, id)
			} else {
				require.Regexp(t, uuidV4, id)
			}
			require.Equal(t, id, logged.withMessage(t, "request")[0]["request_id"])
		})
	}
}

func TestAccessLog(t *testing.T) {
	s, logged := newServer(t, nil)
	send(t, s, http.MethodGet, "/api/?token=secret")
	send(t, s, http.MethodPost, "/nope")
	send(t, s, http.MethodGet, "/health")
	lines := logged.withMessage(t, "request")
	require.Len(t, lines, 3)
	for i, want := range []struct {
		level, method, path string
		status              float64
	}{
		{"INFO", "GET", "/api/", 200},
		{"INFO", "POST", "/nope", 404},
		{"DEBUG", "GET", "/health", 200},
	} {
		require.Equal(t, want.level, lines[i]["level"])
		require.Equal(t, want.method, lines[i]["method"])
		require.Equal(t, want.path, lines[i]["path"])
		require.InDelta(t, want.status, lines[i]["status"], 0)
		require.NotEmpty(t, lines[i]["client"])
		require.GreaterOrEqual(t, lines[i]["duration_ms"], 0.0)
	}
	require.NotContains(t, logged.buf.String(), "secret")
}

func TestPanic(t *testing.T) {
	s, logged := newServer(t, nil)
	s.app.Get("/panic", func(*fiber.Ctx) error { panic("database password is hunter2") })
	resp := send(t, s, http.MethodGet, "/panic")
	require.Equal(t, http.StatusInternalServerError, resp.StatusCode)
	id := resp.Header.Get("X-Request-ID")
	require.Equal(t, map[string]any{"error": "internal server error", "request_id": id}, resp.json(t))

	panics := logged.withMessage(t, "panic")
	require.Len(t, panics, 1)
	require.Equal(t, id, panics[0]["request_id"])
	require.Equal(t, "database password is hunter2", panics[0]["reason"])
	require.Contains(t, panics[0]["stack"], "TestPanic")
	requests := logged.withMessage(t, "request")
	require.Len(t, requests, 1)
	require.InDelta(t, 500, requests[0]["status"], 0)
}

// TestErrors sends invalid requests over a socket.
func TestErrors(t *testing.T) {
	tests := map[string]struct {
		sent   string
		status int
	}{
		"garbage":          {"\x16\x03\x01\x02\x00\r\n\r\n", 400},
		"huge query":       {"GET /api/?" + strings.Repeat("q", headerLimit) + " HTTP/1.1\r\nHost: x\r\n\r\n", 431},
		"huge header":      {"GET /api/ HTTP/1.1\r\nHost: x\r\nCookie: " + strings.Repeat("c", headerLimit) + "\r\n\r\n", 431},
		"huge line":        {"GET /" + strings.Repeat("a", 2*headerLimit) + " HTTP/1.1\r\nHost: x\r\n\r\n", 431},
		"huge body":        {"POST /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", 413},
		"slow headers":     {"GET /api/ HTTP/1.1\r\nHost: x\r\nX-Slow:", 408},
		"old but complete": {"GET /api/ HTTP/1.0\r\n\r\n", 200},
	}
	s, logged := newServer(t, func(o *Options) { o.ReadTimeout = 200 * time.Millisecond })
	r := run(t, s)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", r.addr)
			require.NoError(t, err)
			defer func() { _ = conn.Close() }()
			require.NoError(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
			_, err = conn.Write([]byte(test.sent))
			require.NoError(t, err)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(t, err)
			defer func() { _ = resp.Body.Close() }()
			require.Equal(t, test.status, resp.StatusCode)
			require.Equal(t, "application/json", resp.Header.Get("Content-Type"))
			if test.status != http.StatusOK {
				var body map[string]any
				require.NoError(t, json.NewDecoder(resp.Body).Decode(&body))
				require.Equal(t, resp.Header.Get("X-Request-ID"), body["request_id"])
				require.Regexp(t, uuidV4, body["request_id"])
				require.True(t, resp.Close, "the rest of the stream cannot be trusted")
			}
		})
	}
	require.Len(t, logged.withMessage(t, "refused"), 6)
}

// TestLargeLoadBalancerHeaders sends the largest headers that an Application Load Balancer
// forwards: up to 16 KB in a line and 64 KB from the client, and those that it adds for
// authenticated users.
func TestLargeLoadBalancerHeaders(t *testing.T) {
	line := func(kilobytes int) string { return strings.Repeat("a", kilobytes<<10) }
	tests := map[string][]string{
		"claims":             {"X-Amzn-Oidc-Data", line(9)},
		"the longest line":   {"X-Amzn-Oidc-Data", line(16)},
		"claims and cookies": {"X-Amzn-Oidc-Data", line(4), "Cookie", "AWSELBAuthSessionCookie-0=" + line(4) + "; AWSELBAuthSessionCookie-1=" + line(4)},
		"as much as it takes, and adds": {
			"Cookie", line(16), "X-A", line(16), "X-B", line(16), "Authorization", line(15),
			"X-Amzn-Oidc-Data", line(15), "X-Amzn-Oidc-Accesstoken", line(15),
		},
	}
	s, _ := newServer(t, nil)
	r := run(t, s)
	for name, header := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, 200, sendOver(t, r, http.MethodGet, "/api/", header...).StatusCode)
		})
	}
	require.Equal(t, 200, sendOver(t, r, http.MethodGet, "/api/?"+line(15)).StatusCode, "the longest line of a request")
}

// TestMaxConnections checks that surplus connections get an error and are closed, while
// open ones are served.
func TestMaxConnections(t *testing.T) {
	s, _ := newServer(t, func(o *Options) { o.MaxConnections = 2 })
	r := run(t, s)
	exchange := func(conn net.Conn) (int, error) {
		require.NoError(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
		if _, err := io.WriteString(conn, "GET /api/ HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return 0, err
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return 0, err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode, errors.Join(err, resp.Body.Close())
	}
	first, second := dial(t, r.addr), dial(t, r.addr)
	for _, conn := range []net.Conn{first, second} {
		status, err := exchange(conn)
		require.NoError(t, err)
		require.Equal(t, 200, status)
	}
	for range 50 {
		status, _ := exchange(dial(t, r.addr)) // an answer, or nothing but the end
		require.Contains(t, []int{0, 503}, status)
	}
	status, err := exchange(second)
	require.NoError(t, err)
	require.Equal(t, 200, status)

	require.NoError(t, first.Close()) // makes room
	require.Eventually(t, func() bool {
		status, err := exchange(dial(t, r.addr))
		return err == nil && status == 200
	}, 5*time.Second, 10*time.Millisecond)
}
