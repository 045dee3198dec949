// Package sourcetest creates small source trees for tests: a git repository with a Go
// service, a site, a services file and a lock file.
package sourcetest

import (
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
)

// Services is the services file of the tree that [New] creates.
const Services = `{"services": {
  "api": {"path": "api", "kind": "go", "port": 8000, "health_path": "/health", "routes": ["/api", "/api/*", "/health"], "cpu": 256, "memory": 512, "desired_count": 2},
  "web": {"path": "web", "kind": "nginx", "port": 8080, "health_path": "/healthz", "routes": ["/*"], "cpu": 256, "memory": 512, "desired_count": 1}
}}
`

// server is a service as small as one can be that keeps the API's promises. It speaks
// HTTP by itself: with net/http it would be three times as large, and tests compile,
// pack, push and unpack it hundreds of times. With arguments it is a one-off task.
const server = `package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	if len(os.Args) > 1 { // a one-off task
		fmt.Println("task", strings.Join(os.Args[1:], " "), os.Getenv("GREETING"))
		switch os.Args[1] {
		case "exit":
			code, _ := strconv.Atoi(os.Args[2])
			os.Exit(code)
		case "sleep":
			d, _ := time.ParseDuration(os.Args[2])
			time.Sleep(d)
		}
		return
	}
	listener, err := net.Listen("tcp", ":"+os.Getenv("PORT"))
	for err == nil {
		var conn net.Conn
		if conn, err = listener.Accept(); err == nil {
			go serve(conn)
		}
	}
	println(err.Error())
	os.Exit(1)
}

func serve(conn net.Conn) {
	defer conn.Close()
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		_, path, _ := strings.Cut(lines.Text(), " ")
		for lines.Scan() && lines.Text() != "" {
		}
		status, body := "200 OK", fmt.Sprintf("{\"version\": %q}", os.Getenv("VERSION"))
		switch {
		case strings.HasPrefix(path, "/health "), strings.HasPrefix(path, "/api/health "):
			body = "{\"status\": \"ok\"}"
		case !strings.HasPrefix(path, "/api/"):
			status = "404 Not Found"
		}
		fmt.Fprintf(conn, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
	}
}
`

// RunTests runs a package's tests with a temporary cache directory for builds, but with
// Go's cache, without which each test would compile the standard library. It fails if
// goroutines leak.
func RunTests(m *testing.M) {
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "slipway-cache-")
	if err != nil {
		panic(err)
	}
	os.Setenv("GOCACHE", strings.TrimSpace(string(cache)))
	os.Setenv("XDG_CACHE_HOME", dir)
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// Repository returns the path of a file or folder of this repository, or of its root.
// Tests must use it to read files outside of their module, also with another program: it
// makes Go's test cache depend on these files. See [source.DigestVariable].
func Repository(name ...string) string {
	part := source.Whole
	if len(name) > 0 {
		part = source.Part(filepath.ToSlash(filepath.Join(name...)))
	}
	return filepath.Join(append([]string{Root(part)}, name...)...)
}

// Root is the path of this repository's root, for tests of which nothing reads more than
// the named files and folders in it: they need not run again after another change.
func Root(parts ...string) string {
	if testing.Testing() && !flag.Parsed() {
		panic("sourcetest: called before the tests run, so Go's test cache does not see what they read: call it in a test")
	}
	for _, part := range parts {
		os.Getenv(source.DigestVariable(part))
	}
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
}

// Files returns the files of the tree that [New] creates.
func Files() map[string]string {
	return map[string]string{
		"terraform/services.auto.tfvars.json": Services,
		"ci/images.lock.json":                 `{"images": {"go": {"reference": "docker.io/library/golang:1.26"}, "nginx": {"reference": "127.0.0.1:1/nginx:stable", "digest": "sha256:` + strings.Repeat("0", 64) + `"}}}`,
		"api/go.mod":                          "module example.com/api\n\ngo 1.26\n",
		"api/main.go":                         server,
		"web/site/index.html":                 "<!doctype html><title>site</title>",
		"web/site/css/style.css":              "body { margin: 0 }",
		"web/nginx/nginx.conf":                "events {}\n",
		".gitignore":                          "*.log\n.slipway/\n",
	}
}

// WriteServices writes the services of [Files] to a tree in place of this repository's own
// backend and frontend, for tests that do not depend on what these contain.
func WriteServices(t testing.TB, dir string) {
	t.Helper()
	for name, content := range Files() {
		folder, file, _ := strings.Cut(name, "/")
		if own := map[string]string{"api": "backend", "web": "frontend"}[folder]; own != "" {
			Write(t, dir, own+"/"+file, content)
		}
	}
}

// first is the tree that [New] creates. Git makes it once in a process.
var first struct {
	sync.Mutex
	files fstest.MapFS
}

// New creates a tree with [Files], commits them, and returns its root.
func New(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	first.Lock()
	defer first.Unlock()
	if first.files != nil {
		require.NoError(t, os.CopyFS(dir, first.files))
		Git(t, dir, "update-index", "--refresh") // for the times of these files
		return dir
	}
	Git(t, dir, "init", "-q", "-b", "main")
	for name, content := range Files() {
		Write(t, dir, name, content)
	}
	Commit(t, dir, "first")
	Git(t, dir, "repack", "-q", "-a", "-d") // few files to copy
	require.NoError(t, os.RemoveAll(filepath.Join(dir, ".git", "hooks")))
	files := fstest.MapFS{}
	require.NoError(t, fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(filepath.Join(dir, name))
		files[name] = &fstest.MapFile{Data: content}
		return err
	}))
	first.files = files
	return dir
}

// Write writes one file of a tree.
func Write(t testing.TB, dir, name, content string) {
	t.Helper()
	file := filepath.Join(dir, filepath.FromSlash(name))
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
}

// Commit commits everything in a tree.
func Commit(t testing.TB, dir, message string) {
	t.Helper()
	Git(t, dir, "add", "-A")
	Git(t, dir, "commit", "-q", "-m", message)
}

// Git runs a git command in a tree, without the machine's configuration.
func Git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(source.Environ(),
		"GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_SYSTEM="+os.DevNull,
		"GIT_AUTHOR_NAME=author", "GIT_AUTHOR_EMAIL=author@example.com",
		"GIT_COMMITTER_NAME=author", "GIT_COMMITTER_EMAIL=author@example.com")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "git %v: %s", args, out)
	return string(out)
}
