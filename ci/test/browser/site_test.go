package browser

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// plain neither compresses nor follows redirects.
var plain = &http.Client{
	Timeout:       10 * time.Second,
	Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// ask makes a request with headers of the form "name: value", and returns the response
// and its body.
func ask(t testing.TB, method, url string, headers ...string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	response, err := plain.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response, string(body)
}

func TestSiteStatuses(t *testing.T) {
	server := StartNginx(t)
	tests := map[string]struct {
		method, path string
		status       int
		kind, body   string // body is a part of the body
	}{
		"the page":              {"GET", "/", 200, "text/html; charset=utf-8", "<title>Slipway</title>"},
		"the page by its name":  {"GET", "/index.html", 200, "text/html; charset=utf-8", "<title>Slipway</title>"},
		"its head":              {"HEAD", "/", 200, "text/html; charset=utf-8", ""},
		"with a query":          {"GET", "/?x=1", 200, "text/html; charset=utf-8", "<title>Slipway</title>"},
		"the script":            {"GET", "/app.js", 200, "application/javascript; charset=utf-8", "import"},
		"the style":             {"GET", "/style.css", 200, "text/css; charset=utf-8", ":root"},
		"the icon":              {"GET", "/favicon.svg", 200, "image/svg+xml; charset=utf-8", "<svg"},
		"health":                {"GET", "/healthz", 200, "text/plain; charset=utf-8", "ok\n"},
		"an unknown page":       {"GET", "/nosuch", 404, "text/html; charset=utf-8", "Nothing moored here"},
		"an unknown folder":     {"GET", "/nosuch/deep/", 404, "text/html; charset=utf-8", "Nothing moored here"},
		"the 404 page itself":   {"GET", "/404.html", 404, "text/html; charset=utf-8", "Nothing moored here"},
		"the API":               {"GET", "/api/", 404, "text/html; charset=utf-8", "Nothing moored here"},
		"the backend's health":  {"GET", "/health", 404, "text/html; charset=utf-8", "Nothing moored here"},
		"a hidden file":         {"GET", "/.env", 404, "text/html; charset=utf-8", "Nothing moored here"},
		"a hidden folder":       {"GET", "/.git/config", 404, "text/html; charset=utf-8", "Nothing moored here"},
		"hidden, encoded":       {"GET", "/%2egit/config", 404, "text/html; charset=utf-8", "Nothing moored here"},
		"hidden below a folder": {"GET", "/a/.b", 404, "text/html; charset=utf-8", "Nothing moored here"},
		"out of the root":       {"GET", "/%2e%2e/%2e%2e/etc/passwd", 400, "text/html", ""},
		"a NUL":                 {"GET", "/a%00b", 400, "text/html", ""},
		"a post":                {"POST", "/", 405, "text/html; charset=utf-8", ""},
		"a put":                 {"PUT", "/style.css", 405, "text/html; charset=utf-8", ""},
		"a delete":              {"DELETE", "/index.html", 405, "text/html; charset=utf-8", ""},
		"a line too long":       {"GET", "/" + strings.Repeat("a", 33<<10), 414, "text/html", ""},
	}
	// The hidden files exist: the configuration must deny them.
	for _, name := range []string{".env", ".git/config", "a/.b"} {
		file := filepath.Join(server.dir, "site", name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte("secret"), 0o644))
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			response, body := ask(t, tt.method, server.URL+tt.path)
			require.Equal(t, tt.status, response.StatusCode)
			require.True(t, strings.HasPrefix(response.Header.Get("Content-Type"), tt.kind), response.Header.Get("Content-Type"))
			require.Contains(t, body, tt.body)
			require.NotContains(t, body, "secret")
			requireHeaders(t, response)
		})
	}
}

// requireHeaders checks the headers that every response has, regardless of its status.
func requireHeaders(t testing.TB, response *http.Response) {
	t.Helper()
	for name, value := range map[string]string{
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Permissions-Policy":           "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
		"Referrer-Policy":              "no-referrer",
		"Server":                       "nginx", // without a version
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
	} {
		require.Equal(t, []string{value}, response.Header.Values(name), name)
	}
	policy := response.Header.Get("Content-Security-Policy")
	for _, directive := range []string{
		"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self'",
		"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'",
	} {
		require.Contains(t, strings.Split(policy, "; "), directive)
	}
	require.NotContains(t, policy, "unsafe")
	require.NotContains(t, policy, "http")
	require.NotContains(t, policy, "*")
	require.Len(t, response.Header.Values("Cache-Control"), 1)
}

func TestSiteCaching(t *testing.T) {
	server := StartNginx(t)
	for _, path := range []string{"/", "/app.js", "/style.css", "/favicon.svg"} {
		t.Run(path, func(t *testing.T) {
			first, body := ask(t, "GET", server.URL+path)
			require.Equal(t, "no-cache", first.Header.Get("Cache-Control"), "names without a hash are asked for each time")
			tag := first.Header.Get("ETag")
			require.NotEmpty(t, tag)
			require.NotEmpty(t, body)

			again, body := ask(t, "GET", server.URL+path, "If-None-Match: "+tag)
			require.Equal(t, 304, again.StatusCode)
			require.Empty(t, body)
			require.Equal(t, tag, again.Header.Get("ETag"))
			requireHeaders(t, again)

			other, body := ask(t, "GET", server.URL+path, `If-None-Match: "of-another-version"`)
			require.Equal(t, 200, other.StatusCode)
			require.NotEmpty(t, body)
		})
	}
	health, _ := ask(t, "GET", server.URL+"/healthz")
	require.Equal(t, "no-store", health.Header.Get("Cache-Control"))
	missing, _ := ask(t, "GET", server.URL+"/nosuch", `If-None-Match: *`)
	require.Equal(t, 404, missing.StatusCode)
}

func TestSiteCompression(t *testing.T) {
	server := StartNginx(t)
	for _, path := range []string{"/", "/app.js", "/style.css", "/favicon.svg", "/view.js", "/nosuch"} {
		t.Run(path, func(t *testing.T) {
			_, whole := ask(t, "GET", server.URL+path)
			response, packed := ask(t, "GET", server.URL+path, "Accept-Encoding: gzip")
			require.Equal(t, "gzip", response.Header.Get("Content-Encoding"))
			require.Equal(t, "Accept-Encoding", response.Header.Get("Vary"))
			reader, err := gzip.NewReader(strings.NewReader(packed))
			require.NoError(t, err)
			unpacked, err := io.ReadAll(reader)
			require.NoError(t, err)
			require.Equal(t, whole, string(unpacked))
			require.Less(t, len(packed), len(whole))

			// A weak entity tag or a proxy in between makes no difference.
			tag := response.Header.Get("ETag")
			if response.StatusCode == 200 {
				again, _ := ask(t, "GET", server.URL+path, "Accept-Encoding: gzip", "Via: 1.1 alb", "If-None-Match: "+tag)
				require.Equal(t, 304, again.StatusCode)
			}
		})
	}
	response, body := ask(t, "GET", server.URL+"/healthz", "Accept-Encoding: gzip")
	require.Empty(t, response.Header.Get("Content-Encoding"), "too small to be worth it")
	require.Equal(t, "ok\n", body)
}

func TestSiteTransportSecurity(t *testing.T) {
	server := StartNginx(t)
	for scheme, want := range map[string]string{"https": "max-age=31536000", "http": "", "": ""} {
		for path, status := range map[string]int{"/": 200, "/nosuch": 404} {
			response, _ := ask(t, "GET", server.URL+path, "X-Forwarded-Proto: "+scheme)
			require.Equal(t, status, response.StatusCode)
			require.Equal(t, want, response.Header.Get("Strict-Transport-Security"), "%s by %q", path, scheme)
		}
	}
}

func TestSiteRequestLimits(t *testing.T) {
	server := StartNginx(t)
	tests := map[string]struct {
		head, body string
		status     int
	}{
		"a body too long":           {fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n", 17<<10), "", 413},
		"a header too long":         {"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + strings.Repeat("a", 33<<10) + "\r\n", "", 400},
		"too many headers":          {"GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: "+strings.Repeat("a", 30<<10)+"\r\n", 12), "", 400},
		"two lengths":               {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n", "a", 400},
		"a length and chunked":      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", 400},
		"no host":                   {"GET / HTTP/1.1\r\n", "", 400},
		"no such method":            {"BREW / HTTP/1.1\r\nHost: x\r\n", "", 405},
		"not HTTP":                  {"\x16\x03\x01\x00\r\n", "", 400},
		"of a version to come":      {"GET / HTTP/3.0\r\nHost: x\r\n", "", 505},
		"a load balancer's line":    {"GET /?" + strings.Repeat("a", 15<<10) + " HTTP/1.1\r\nHost: x\r\n", "", 200},
		"a load balancer's header":  {"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + strings.Repeat("a", 16<<10) + "\r\n", "", 200},
		"a load balancer's headers": {"GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-Amzn-Oidc-Data: "+strings.Repeat("a", 16<<10)+"\r\n", 6), "", 200},
		"many of middling size":     {"GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: "+strings.Repeat("a", 11<<10)+"\r\n", 9), "", 200},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			connection, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
			require.NoError(t, err)
			defer connection.Close()
			require.NoError(t, connection.SetDeadline(time.Now().Add(startLimit)))
			_, err = io.WriteString(connection, tt.head+"\r\n"+tt.body)
			require.NoError(t, err)
			response, err := http.ReadResponse(bufio.NewReader(connection), nil)
			require.NoError(t, err)
			defer response.Body.Close()
			require.Equal(t, tt.status, response.StatusCode)
			requireHeaders(t, response)
		})
	}
}

func TestSiteLog(t *testing.T) {
	server := StartNginx(t)
	ask(t, "GET", server.URL+"/nosuch?token=secret", "X-Forwarded-For: 192.0.2.7", `X-Amzn-Trace-Id: Root="1\`)
	ask(t, "GET", server.URL+"/healthz")
	server.end(t, syscall.SIGQUIT) // flushes the log
	text, err := os.ReadFile(filepath.Join(server.dir, "access.log"))
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	require.Len(t, lines, 1, "health checks are not worth a line")
	require.NotContains(t, lines[0], "secret")
	var entry struct {
		Path, Method string
		Status       int
		ForwardedFor string `json:"forwarded_for"`
		TraceID      string `json:"trace_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &entry))
	require.Equal(t, "/nosuch", entry.Path)
	require.Equal(t, 404, entry.Status)
	require.Equal(t, "192.0.2.7", entry.ForwardedFor)
	require.Equal(t, `Root="1\`, entry.TraceID)
	require.Empty(t, server.said.String(), "a missing page is no error of the server's")
}

// TestSiteConfiguration makes Nginx check the configuration of the image, with other
// paths.
func TestSiteConfiguration(t *testing.T) {
	binary := findNginx(t)
	dir := readable(t)
	file := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(file, []byte(configure(t, "/tmp/", dir+"/", "/dev/stdout", filepath.Join(dir, "access.log"))), 0o644))
	command := exec.CommandContext(t.Context(), binary, "-t", "-c", file, "-e", "stderr")
	unprivileged(t, command, dir)
	said, err := command.CombinedOutput()
	require.NoError(t, err, string(said))
	require.NotRegexp(t, `\[(warn|error|alert|emerg)\]`, string(said))

	require.NoError(t, os.WriteFile(file, []byte("events {}\nhttp { nosuch; }\n"), 0o644))
	said, err = exec.CommandContext(t.Context(), binary, "-t", "-c", file, "-e", "stderr").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(said), `unknown directive "nosuch"`)
}

// TestSiteStopsGracefully sends the image's stop signal while a response is in
// progress.
func TestSiteStopsGracefully(t *testing.T) {
	server := StartNginx(t)
	connection, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
	require.NoError(t, err)
	defer connection.Close()
	require.NoError(t, connection.SetDeadline(time.Now().Add(startLimit)))
	reader := bufio.NewReader(connection)
	// The first response proves that a worker has the connection. The worker has read a
	// part of the second request.
	_, err = io.WriteString(connection, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /app.js HTTP/1.1\r\nHost: x\r\n")
	require.NoError(t, err)
	response, err := http.ReadResponse(reader, nil)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())

	require.NoError(t, server.command.Process.Signal(syscall.SIGQUIT))
	refused(t, server.URL)
	_, err = io.WriteString(connection, "\r\n")
	require.NoError(t, err)
	response, err = http.ReadResponse(reader, nil)
	require.NoError(t, err)
	require.Equal(t, 200, response.StatusCode)
	require.NoError(t, response.Body.Close())
	require.NoError(t, connection.Close()) // Nginx would wait for it
	<-server.ended
}

// refused waits until nothing listens at url any more.
func refused(t testing.TB, url string) {
	t.Helper()
	require.Eventually(t, func() bool {
		connection, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err == nil {
			connection.Close()
		}
		return err != nil
	}, startLimit, 10*time.Millisecond)
}
