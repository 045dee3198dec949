package cli_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// bases is a registry of base images that wants a login where password is set.
type bases struct {
	host     string
	password string
	status   int // what it answers instead; 0: what it should
}

func newBases(t *testing.T) *bases {
	b := &bases{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		switch {
		case b.status != 0:
			w.WriteHeader(b.status)
		case password != b.password:
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			inner.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	b.host = strings.TrimPrefix(server.URL, "http://")
	return b
}

// push pushes an image for each platform, with a content of its own, and
// returns its digest.
func (b *bases) push(t *testing.T, reference, content string, platforms ...string) string {
	t.Helper()
	var index v1.ImageIndex = empty.Index
	for _, text := range platforms {
		p, err := v1.ParsePlatform(text)
		require.NoError(t, err)
		img, err := mutate.Config(empty.Image, v1.Config{Env: []string{content}})
		require.NoError(t, err)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: p}})
	}
	ref, err := name.ParseReference(b.host + "/" + reference)
	require.NoError(t, err)
	carrier := http.DefaultTransport.(*http.Transport).Clone()
	defer carrier.CloseIdleConnections()
	if len(platforms) == 0 {
		require.NoError(t, remote.Write(ref, empty.Image, remote.WithTransport(carrier)))
		return ""
	}
	require.NoError(t, remote.WriteIndex(ref, index, remote.WithTransport(carrier)))
	digest, err := index.Digest()
	require.NoError(t, err)
	return digest.String()
}

// lockFile writes a lock file with the images go and nginx.
func lockFile(t *testing.T, dir string, pins map[string]image.Pin) string {
	t.Helper()
	require.NoError(t, image.Lock{Images: pins}.Write(dir))
	return readLock(t, dir)
}

func readLock(t *testing.T, dir string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, image.LockFile))
	require.NoError(t, err)
	return string(content)
}

func TestLock(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	b := newBases(t)
	golang := b.push(t, "golang:1.26.8", "go", "linux/amd64", "linux/arm64/v8", "linux/s390x", "unknown/unknown")
	nginx := b.push(t, "nginx:stable", "nginx", "linux/amd64", "linux/arm64")
	dir := sourcetest.New(t)
	before := lockFile(t, dir, map[string]image.Pin{"go": {Reference: b.host + "/golang:1.26.8"}, "nginx": {Reference: b.host + "/nginx:stable"}})

	code, stdout, stderr := run(t, "lock", "--check", "--source", dir)
	require.Equal(t, outcome.Failed, code)
	require.Contains(t, stdout, "nginx        not locked")
	require.Equal(t, "ci/images.lock.json is not up to date: run slipway lock and commit the file\n", stderr)
	require.Equal(t, before, readLock(t, dir))

	code, stdout, stderr = run(t, "lock", "--source", dir, "--output", "json")
	require.Equal(t, outcome.Done, code, stderr)
	var got struct {
		Images []struct {
			Image, Reference, Locked, Digest, State string
			Platforms                               []string
		}
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &got))
	require.Len(t, got.Images, 2)
	require.Equal(t, "locked", got.Images[0].State)
	require.Equal(t, golang, got.Images[0].Digest)
	lock, err := image.ReadLockFile(dir)
	require.NoError(t, err)
	require.Equal(t, map[string]image.Pin{
		"go":    {Reference: b.host + "/golang:1.26.8", Digest: golang, Platforms: []string{"linux/amd64", "linux/arm64/v8", "linux/s390x"}},
		"nginx": {Reference: b.host + "/nginx:stable", Digest: nginx, Platforms: []string{"linux/amd64", "linux/arm64"}},
	}, lock.Images)

	t.Run("a file that is up to date is not touched", func(t *testing.T) {
		file := filepath.Join(dir, image.LockFile)
		was, err := os.Stat(file)
		require.NoError(t, err)
		for _, args := range [][]string{{"lock"}, {"lock", "--check"}} {
			code, stdout, _ := run(t, append(args, "--source", dir)...)
			require.Equal(t, outcome.Done, code)
			require.Contains(t, stdout, "go           up to date")
		}
		is, err := os.Stat(file)
		require.NoError(t, err)
		require.True(t, os.SameFile(was, is))
		require.Equal(t, was.ModTime(), is.ModTime())
	})
	t.Run("a tag that moved is told, and renewed on demand", func(t *testing.T) {
		moved := b.push(t, "nginx:stable", "newer", "linux/amd64", "linux/arm64")
		b.push(t, "golang:1.26.8", "newer", "linux/amd64", "linux/arm64")
		code, stdout, _ := run(t, "lock", "--check", "--source", dir, "--output", "markdown")
		require.Equal(t, outcome.Failed, code)
		require.Contains(t, stdout, "| "+b.host+"/nginx:stable | stale | `"+nginx+"` | `"+moved+"` | linux/amd64, linux/arm64 |")
		code, stdout, _ = run(t, "lock", "--image", "nginx", "--source", dir)
		require.Equal(t, outcome.Done, code)
		require.Contains(t, stdout, "before      "+nginx)
		lock, err := image.ReadLock(dir)
		require.NoError(t, err)
		require.Equal(t, moved, lock.Images["nginx"].Digest)
		require.Equal(t, golang, lock.Images["go"].Digest, "the other one stays")
	})
	t.Run("a registry that wants a login gets docker's", func(t *testing.T) {
		b.password = "secret-of-mine"
		defer func() { b.password = "" }()
		code, _, stderr := run(t, "lock", "--source", dir)
		require.Equal(t, outcome.Failed, code)
		require.Contains(t, stderr, "its registry requires a login or has no such image")
		config := t.TempDir()
		auth := base64.StdEncoding.EncodeToString([]byte("me:" + b.password))
		sourcetest.Write(t, config, "config.json", `{"auths": {"`+b.host+`": {"auth": "`+auth+`"}}}`)
		t.Setenv("DOCKER_CONFIG", config)
		code, _, stderr = run(t, "lock", "--source", dir)
		require.Equal(t, outcome.Done, code, stderr)
	})
}

func TestLockErrors(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	b := newBases(t)
	b.push(t, "golang:1", "go", "linux/amd64", "linux/arm64")
	b.push(t, "amd:1", "nginx", "linux/amd64")
	b.push(t, "single:1", "")
	tests := map[string]struct {
		reference string
		args      []string
		status    int
		code      outcome.Code
		want      string
	}{
		"a platform is missing":    {b.host + "/amd:1", nil, 0, outcome.Failed, "base " + b.host + "/amd:1 has no image for linux/arm64: choose another one"},
		"there is one only":        {b.host + "/single:1", nil, 0, outcome.Failed, "has only one platform: choose an image with linux/amd64 and linux/arm64"},
		"no such image":            {b.host + "/gone:1", nil, 0, outcome.Failed, "its registry has no such image: correct the reference in ci/images.lock.json"},
		"nobody there":             {"127.0.0.1:1/nginx:1", nil, 0, outcome.Failed, "base 127.0.0.1:1/nginx:1: its registry cannot be reached"},
		"a registry in trouble":    {b.host + "/amd:1", nil, http.StatusTeapot, outcome.Failed, "its registry returned 418"},
		"no reference":             {"NGINX stable", nil, 0, outcome.Usage, `invalid reference "NGINX stable"`},
		"a digest in its place":    {b.host + "/amd@sha256:" + strings.Repeat("0", 64), nil, 0, outcome.Usage, "want an image with a tag"},
		"an image that nobody has": {b.host + "/amd:1", []string{"--image", "ngin"}, 0, outcome.Usage, `no image "ngin" in ci/images.lock.json: did you mean nginx?`},
		"and one unlike any":       {b.host + "/amd:1", []string{"--image", "xyzzy"}, 0, outcome.Usage, "want one of go, nginx"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := sourcetest.New(t)
			before := lockFile(t, dir, map[string]image.Pin{"go": {Reference: b.host + "/golang:1"}, "nginx": {Reference: tt.reference}})
			b.status = tt.status
			defer func() { b.status = 0 }()
			code, stdout, stderr := run(t, append([]string{"lock", "--source", dir}, tt.args...)...)
			require.Equal(t, tt.code, code, stderr)
			require.Empty(t, stdout)
			require.Contains(t, stderr, tt.want)
			if tt.status == 0 {
				require.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
			}
			require.Equal(t, before, readLock(t, dir))
			left, err := os.ReadDir(filepath.Join(dir, "ci"))
			require.NoError(t, err)
			require.Len(t, left, 1, "no temporary file is left")
		})
	}
	t.Run("no lock file", func(t *testing.T) {
		dir := sourcetest.New(t)
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "ci")))
		code, _, stderr := run(t, "lock", "--image", "ngin", "--source", dir)
		require.Equal(t, outcome.Usage, code)
		require.Contains(t, stderr, "did you mean nginx?", "the built-in images are known")
		require.NoDirExists(t, filepath.Join(dir, "ci"))

		lockFile(t, dir, map[string]image.Pin{"nginx": {Reference: b.host + "/nginx:1"}})
		lock, err := image.ReadLock(dir)
		require.NoError(t, err)
		require.Contains(t, lock.Images, "terraform")
	})
	t.Run("no room for the file", func(t *testing.T) {
		dir := sourcetest.New(t)
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "ci")))
		sourcetest.Write(t, dir, "ci", "a file")
		err := image.Lock{}.Write(dir)
		require.ErrorContains(t, err, "writing ci/images.lock.json: not a directory")
		require.NoError(t, os.Remove(filepath.Join(dir, "ci")))
		sourcetest.Write(t, dir, image.LockFile+"/folder/file", "")
		err = image.Lock{}.Write(dir)
		require.ErrorContains(t, err, "the file is unchanged")
	})
	t.Run("slipway's own tree", func(t *testing.T) {
		dir := sourcetest.New(t)
		const builtIn = "ci/internal/images/image/images.lock.json"
		sourcetest.Write(t, dir, builtIn, "{}")
		content := lockFile(t, dir, map[string]image.Pin{"go": {Reference: "golang:1"}})
		copied, err := os.ReadFile(filepath.Join(dir, builtIn))
		require.NoError(t, err)
		require.Equal(t, content, string(copied))
	})
}

// TestUnlockedBase checks that images on an unlocked base are not published.
func TestUnlockedBase(t *testing.T) {
	b := newBases(t)
	b.push(t, "nginx:1", "nginx", "linux/amd64", "linux/arm64")
	dir := sourcetest.New(t)
	reference := b.host + "/nginx:1"
	lockFile(t, dir, map[string]image.Pin{"go": {Reference: "golang:1"}, "nginx": {Reference: reference}})
	sourcetest.Commit(t, dir, "an unlocked base")
	unlocked := "base " + reference + " is not locked to a digest in ci/images.lock.json: run slipway lock and commit the file\n"
	out := filepath.Join(t.TempDir(), "out")
	for _, ci := range []string{"true", ""} {
		t.Setenv("CI", ci)
		code, _, stderr := run(t, "build", "--service", "web", "--source", dir, "--out", out)
		require.Equal(t, outcome.Done, code, stderr)
		require.Equal(t, "web is for this machine only: "+unlocked, stderr)

		for _, from := range [][]string{nil, {"--from", out}} {
			args := append([]string{"publish", "--no-attest", "--service", "web", "--registry", "registry.invalid/team", "--source", dir}, from...)
			code, _, stderr = run(t, args...)
			require.Equal(t, outcome.Refused, code, stderr)
			require.Equal(t, "slipway: publishing web: "+unlocked, stderr)
		}
	}
	code, _, stderr := run(t, "publish", "--no-attest", "--service", "web", "--registry", b.host+"/team", "--source", dir)
	require.Equal(t, outcome.Done, code, stderr)
}
