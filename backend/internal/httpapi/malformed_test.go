package httpapi

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	return conn
}

// TestMalformedRequests sends malformed requests over a socket, and checks that the server
// still works.
func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		sent   string
		status int // 0: the connection may be closed without a response
	}{
		"unknown method":            {"BREW /api/ HTTP/1.1\r\nHost: x\r\n\r\n", 501},
		"method of control bytes":   {"G\x00T /api/ HTTP/1.1\r\nHost: x\r\n\r\n", 501},
		"unknown path":              {"GET /wp-login.php HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		"path traversal":            {"GET /api/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		"invalid UTF-8 in the path": {"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		"invalid UTF-8, encoded":    {"GET /%ff%00%0d%0a HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		"invalid UTF-8 in a header": {"GET /api/ HTTP/1.1\r\nHost: x\r\nX-Request-ID: 12345678\xff\r\n\r\n", 200},
		"long query":                {"GET /api/?" + strings.Repeat("a=b&", 1500) + " HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		"huge query":                {"GET /api/?" + strings.Repeat("a=b&", 1<<16) + " HTTP/1.1\r\nHost: x\r\n\r\n", 431},
		"many headers":              {"GET /api/ HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: b\r\n", 1<<15) + "\r\n", 431},
		"body announced too large":  {"POST /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n", 413},
		"body sent too large":       {"POST /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100000), 413},
		"chunks too large":          {"POST /api/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n" + strings.Repeat("x", 0xfffff) + "\r\n0\r\n\r\n", 413},
		"body of a GET":             {"GET /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 200},
		"chunks of nonsense":        {"POST /api/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
		"negative length":           {"POST /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 0},
		"HTTP/1.0":                  {"GET /api/ HTTP/1.0\r\n\r\n", 200},
		"HTTP/2 preface":            {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 501},
		"forged chain":              {"GET /api/ HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: ,,;<script>,%0a\",\"level\":\"ERROR\r\n\r\n", 200},
		"chain of many":             {"GET /api/ HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: " + strings.Repeat("1.1.1.1,", 900) + "\r\n\r\n", 200},
		"id of two lines":           {"GET /nope HTTP/1.1\r\nHost: x\r\nX-Request-ID: 12345678\r\n  \",\"level\":\"ERROR\r\n\r\n", 400},
		"slow headers":              {"GET /api/ HTTP/1.1\r\nHost: x\r\nX-Slow:", 408},
		"slow body":                 {"POST /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab", 0},
	}
	s, logged := newServer(t, func(o *Options) { o.ReadTimeout = 300 * time.Millisecond })
	r := run(t, s)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, r.addr)
			go func() { _, _ = io.WriteString(conn, tt.sent) }() // the answer may come before all is sent
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if tt.status == 0 && err != nil {
				return
			}
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			if tt.status != 0 {
				require.Equal(t, tt.status, resp.StatusCode)
			}
			require.Equal(t, "application/json", resp.Header.Get("Content-Type"))
			if resp.StatusCode != 200 {
				var fields map[string]string
				require.NoError(t, json.Unmarshal(body, &fields))
				require.Equal(t, resp.Header.Get("X-Request-ID"), fields["request_id"])
				require.Regexp(t, uuidV4, fields["request_id"])
			}
		})
	}
	require.Equal(t, 200, sendOver(t, r, http.MethodGet, "/health").StatusCode)
	for _, line := range logged.withMessage(t, "request") { // each of which is valid JSON
		require.NotEqual(t, "ERROR", line["level"])
	}
	require.Empty(t, logged.withMessage(t, "panic"))
}

// TestSlowClients has many slow clients, which must not delay others.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	s, _ := newServer(t, func(o *Options) { o.ReadTimeout = time.Second })
	r := run(t, s)
	var slow []net.Conn
	for n := range 100 {
		conn := dial(t, r.addr)
		_, err := fmt.Fprintf(conn, "GET /api/ HTTP/1.1\r\nX-%d: ", n)
		require.NoError(t, err)
		slow = append(slow, conn)
	}
	require.Equal(t, 200, sendOver(t, r, http.MethodGet, "/api/").StatusCode)
	for _, conn := range slow {
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusRequestTimeout, resp.StatusCode)
	}
}

// FuzzHeaders calls the middleware with arbitrary headers.
func FuzzHeaders(f *testing.F) {
	f.Add("0b4a1f0e-6f6e-4f4e-9d8e-0d6e1d2c3b4a", "203.0.113.7", traceParent, "Root="+traceOfALB, "/api/", "GET")
	f.Add("\xff", ",", "00-", "Root=1-", "/%", "BREW")
	f.Add(`","level":"ERROR`, "::1%eth0", traceParent+"-x", ";Root=;", "//api//?", "")
	f.Fuzz(func(t *testing.T, id, chain, parent, amazon, uri, method string) {
		s, logged := newServer(t, nil)
		var ctx fasthttp.RequestCtx
		var req fasthttp.Request
		req.Header.SetMethod(method)
		req.SetRequestURI(uri)
		for name, value := range map[string]string{
			"X-Request-ID": id, "X-Forwarded-For": chain, "traceparent": parent, "X-Amzn-Trace-Id": amazon,
		} {
			req.Header.Set(name, value)
		}
		ctx.Init(&req, &net.TCPAddr{IP: net.IPv4(10, 0, 1, 5)}, nil)
		handlerOf(s)(&ctx)

		require.Contains(t, []int{200, 304, 404, 405, 501}, ctx.Response.StatusCode())
		if ctx.Response.StatusCode() != 501 { // which never gets as far as the log
			require.Len(t, logged.withMessage(t, "request"), 1)
		}
		if ctx.Response.StatusCode() == 304 || len(ctx.Response.Body()) == 0 {
			return
		}
		require.True(t, json.Valid(ctx.Response.Body()))
		require.Regexp(t, `\A[A-Za-z0-9._-]{8,128}\z`, string(ctx.Response.Header.Peek("X-Request-ID")))
		for _, line := range logged.withMessage(t, "request") {
			require.Regexp(t, `\A[0-9a-f-]*\z`, line["trace_id"])
			require.NotEqual(t, "ERROR", line["level"])
		}
	})
}
