package image_test

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(buildHere); dir != "" {
		if err := buildAndPrint(context.Background(), dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// smallTree creates a tree like sourcetest's whose program does not use the standard
// library, so that it is compiled in a fraction of the time.
func smallTree(t *testing.T) (dir string) {
	t.Helper()
	dir = sourcetest.New(t)
	sourcetest.Write(t, dir, "api/main.go", "package main\n\nfunc main() { print(\"small\") }\n")
	sourcetest.Commit(t, dir, "small")
	return dir
}

// builder returns a builder for this machine's platform without base images.
func builder(t *testing.T, dir string) image.Builder {
	t.Helper()
	tree, err := source.Open(t.Context(), dir)
	require.NoError(t, err)
	lock, err := image.ReadLock(dir)
	require.NoError(t, err)
	return image.Builder{
		Source: tree, Lock: lock, Exec: step.Host{Source: dir},
		Platforms: []v1.Platform{{OS: "linux", Architecture: "amd64"}}, Offline: true,
	}
}

func build(t *testing.T, b image.Builder) (api, web image.Image) {
	t.Helper()
	p, err := platform.Load(b.Source.Dir)
	require.NoError(t, err)
	images, err := b.Build(t.Context(), p.Services)
	require.NoError(t, err)
	require.Len(t, images, 2)
	return images[0], images[1]
}

func digest(t *testing.T, img image.Image) string {
	t.Helper()
	hash, err := img.Digest()
	require.NoError(t, err)
	return hash.String()
}

// child returns the image for the first platform.
func child(t *testing.T, img image.Image) v1.Image {
	t.Helper()
	manifest, err := img.Index.IndexManifest()
	require.NoError(t, err)
	first, err := img.Index.Image(manifest.Manifests[0].Digest)
	require.NoError(t, err)
	return first
}

// entries returns the entries of an image's last layer by name.
func entries(t *testing.T, img v1.Image) map[string]*tar.Header {
	t.Helper()
	layers, err := img.Layers()
	require.NoError(t, err)
	content, err := layers[len(layers)-1].Uncompressed()
	require.NoError(t, err)
	defer content.Close()
	found := map[string]*tar.Header{}
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		require.NoError(t, err)
		found[header.Name] = header
	}
}

func TestBuild(t *testing.T) {
	dir := smallTree(t)
	sourcetest.Write(t, dir, "web/site/debug.log", "git does not know this file")
	api, web := build(t, builder(t, dir))

	t.Run("a Go service is one static binary that a non-root user runs", func(t *testing.T) {
		img := child(t, api)
		file, err := img.ConfigFile()
		require.NoError(t, err)
		require.Equal(t, []string{"/server"}, file.Config.Entrypoint)
		require.Equal(t, "65532:65532", file.Config.User)
		require.Contains(t, file.Config.ExposedPorts, "8000/tcp")
		require.Empty(t, file.Config.Env, "no revision inside")
		found := entries(t, img)
		require.Len(t, found, 1)
		require.Equal(t, int64(0o555), found["server"].Mode)
		require.Zero(t, found["server"].ModTime.Unix())
		require.Empty(t, api.MissingBase)
	})
	t.Run("a site has what git tracks", func(t *testing.T) {
		found := entries(t, child(t, web))
		for _, want := range []string{"usr/", "usr/share/nginx/html/", "usr/share/nginx/html/index.html", "usr/share/nginx/html/css/style.css", "etc/nginx/nginx.conf"} {
			require.Contains(t, found, want)
			require.Zero(t, found[want].Uid)
		}
		require.NotContains(t, found, "usr/share/nginx/html/debug.log")
		page, style := found["usr/share/nginx/html/index.html"], found["usr/share/nginx/html/css/style.css"]
		require.NotEqual(t, page.ModTime, style.ModTime, "Nginx makes ETags of times")
		require.Equal(t, "a rehearsal needs none", web.MissingBase)
	})
	t.Run("the images conform to OCI", func(t *testing.T) {
		require.NoError(t, validate.Index(api.Index))
		require.NoError(t, validate.Index(web.Index))
		platforms, err := api.Platforms()
		require.NoError(t, err)
		require.Equal(t, []string{"linux/amd64"}, platforms)
		size, err := web.Size()
		require.NoError(t, err)
		require.Positive(t, size)
	})
	t.Run("another place, other permissions and other times give the same digests", func(t *testing.T) {
		umask := syscall.Umask(0o077)
		other := smallTree(t)
		syscall.Umask(umask)
		require.NoError(t, os.Chmod(filepath.Join(other, "web/site/index.html"), 0o600))
		t.Setenv("GOFLAGS", "-buildvcs=true")
		t.Setenv("LC_ALL", "C.UTF-8")
		api2, web2 := build(t, builder(t, other))
		require.Equal(t, digest(t, api), digest(t, api2))
		require.Equal(t, digest(t, web), digest(t, web2))
	})
	t.Run("another content gives another digest", func(t *testing.T) {
		sourcetest.Write(t, dir, "web/site/index.html", "changed")
		api2, web2 := build(t, builder(t, dir))
		require.Equal(t, digest(t, api), digest(t, api2), "unchanged is unchanged")
		require.NotEqual(t, digest(t, web), digest(t, web2))
	})
	t.Run("a label gives another digest of the same layers", func(t *testing.T) {
		labelled, err := image.WithLabel(api, "k", "v")
		require.NoError(t, err)
		require.NotEqual(t, digest(t, api), digest(t, labelled))
		before, err := child(t, api).Manifest()
		require.NoError(t, err)
		after, err := child(t, labelled).Manifest()
		require.NoError(t, err)
		require.Equal(t, before.Layers, after.Layers)
	})
}

func TestBuildFails(t *testing.T) {
	tests := map[string]struct {
		change func(t *testing.T, dir string)
		want   []string
	}{
		"a compile error is shown": {
			func(t *testing.T, dir string) {
				sourcetest.Write(t, dir, "api/main.go", "package main\n\nfunc main() { nope() }\n")
			},
			[]string{"building api: go build for linux/amd64 ended with exit code 1", "main.go:3:15: undefined: nope"},
		},
		"an empty site": {
			func(t *testing.T, dir string) {
				require.NoError(t, os.RemoveAll(filepath.Join(dir, "web/site")))
				sourcetest.Write(t, dir, "web/site/new.html", "never added")
			},
			[]string{"building web: web/site has no file that git tracks"},
		},
		"a link out of the tree": {
			func(t *testing.T, dir string) {
				require.NoError(t, os.Symlink("/etc/hostname", filepath.Join(dir, "web/site/secret")))
				sourcetest.Commit(t, dir, "link")
			},
			[]string{"building web: reading web/site/secret", "escapes"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := smallTree(t)
			tt.change(t, dir)
			p, err := platform.Load(dir)
			require.NoError(t, err)
			_, err = builder(t, dir).Build(t.Context(), p.Services)
			for _, want := range tt.want {
				require.ErrorContains(t, err, want)
			}
			require.Equal(t, outcome.Failed, outcome.Of(err))
		})
	}
}

func TestBuildWithoutGo(t *testing.T) {
	dir := smallTree(t)
	b := builder(t, dir)
	p, err := platform.Load(dir)
	require.NoError(t, err)
	b.Exec = executor(func(context.Context, step.Step, string) (step.Result, error) {
		return step.Result{}, errors.New("go is not installed")
	})
	_, err = b.Build(t.Context(), p.Services[:1])
	require.ErrorContains(t, err, "building api: go is not installed")

	b.Exec = executor(func(context.Context, step.Step, string) (step.Result, error) { return step.Result{}, nil })
	_, err = b.Build(t.Context(), p.Services[:1])
	require.ErrorContains(t, err, "reading the output of go env", "a tool that lies is found out")

	b.Exec = executor(func(ctx context.Context, s step.Step, dir string) (step.Result, error) {
		if s.Args[1] == "build" {
			return step.Result{}, nil
		}
		return step.Host{Source: b.Source.Dir}.Run(ctx, s, dir)
	})
	_, err = b.Build(t.Context(), p.Services[:1])
	require.ErrorContains(t, err, "reading the binary for linux/amd64")
}

type executor func(context.Context, step.Step, string) (step.Result, error)

func (e executor) Run(ctx context.Context, s step.Step, dir string) (step.Result, error) {
	return e(ctx, s, dir)
}

func quietRegistry() http.Handler { return registry.New(registry.Logger(log.New(io.Discard, "", 0))) }

// host serves a registry and returns its host and port.
func host(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestBase(t *testing.T) {
	address := host(t, quietRegistry())
	base, err := mutate.Config(empty.Image, v1.Config{User: "101", Cmd: []string{"nginx"}, Env: []string{"PATH=/usr/sbin"}})
	require.NoError(t, err)
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add: base, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}},
	})
	ref, err := name.ParseReference(address + "/nginx:stable")
	require.NoError(t, err)
	require.NoError(t, remote.WriteIndex(ref, index, remote.WithTransport(http.DefaultTransport)))
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()

	b := builder(t, smallTree(t))
	b.Offline = false
	t.Run("the site goes on top of it", func(t *testing.T) {
		b.Lock.Images["nginx"] = image.Pin{Reference: address + "/nginx:stable"}
		_, web := build(t, b)
		require.Empty(t, web.MissingBase)
		file, err := child(t, web).ConfigFile()
		require.NoError(t, err)
		require.Equal(t, "101", file.Config.User)
		require.Equal(t, []string{"PATH=/usr/sbin"}, file.Config.Env)
		require.Equal(t, []string{"nginx", "-g", "daemon off;"}, file.Config.Entrypoint)
		require.Equal(t, "/usr/share/nginx/html", file.Config.Labels[image.SiteLabel])
	})
	t.Run("a platform that it lacks is an error", func(t *testing.T) {
		arm := b
		arm.Platforms = []v1.Platform{{OS: "linux", Architecture: "arm64"}}
		p, err := platform.Load(b.Source.Dir)
		require.NoError(t, err)
		_, err = arm.Build(t.Context(), p.Services[1:])
		require.ErrorContains(t, err, "has no image for linux/arm64: build other platforms, or lock another base")
	})
	t.Run("one that its registry does not have is an error", func(t *testing.T) {
		b.Lock.Images["nginx"] = image.Pin{Reference: address + "/nginx:gone"}
		p, err := platform.Load(b.Source.Dir)
		require.NoError(t, err)
		_, err = b.Build(t.Context(), p.Services[1:])
		require.ErrorContains(t, err, "pulling base "+address+"/nginx:gone")
	})
	t.Run("an unreachable one is left out and reported", func(t *testing.T) {
		b.Lock.Images["nginx"] = image.Pin{Reference: "127.0.0.1:1/nginx:stable"}
		_, web := build(t, b)
		require.Equal(t, "base 127.0.0.1:1/nginx cannot be reached", web.MissingBase)
		b.RequireBase = true
		p, err := platform.Load(b.Source.Dir)
		require.NoError(t, err)
		_, err = b.Build(t.Context(), p.Services[1:])
		require.ErrorContains(t, err, "building web: base 127.0.0.1:1/nginx cannot be reached, and without it the image is good for a rehearsal only")
	})
}

func TestLayouts(t *testing.T) {
	api, web := build(t, builder(t, smallTree(t)))
	out := filepath.Join(t.TempDir(), "deep", "out")
	require.NoError(t, image.WriteLayouts(out, []image.Image{api, web}))
	require.NoError(t, image.WriteLayouts(out, []image.Image{api, web}), "again over what is there")

	for _, want := range []image.Image{api, web} {
		got, err := image.ReadLayout(out, want.Service)
		require.NoError(t, err)
		require.Equal(t, digest(t, want), digest(t, got))
		require.Equal(t, want.MissingBase == "", got.MissingBase == "", "a layout remembers that its base is missing")
		require.NoError(t, validate.Index(got.Index))
	}
	left, err := os.ReadDir(out)
	require.NoError(t, err)
	require.Len(t, left, 2, "no temporary folder is left")

	_, err = image.ReadLayout(out, platform.Service{Name: "other"})
	require.ErrorContains(t, err, "opening the layout of other")
}

func TestWriteLayoutsToFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	err := image.WriteLayouts(file, nil)
	require.ErrorContains(t, err, "making the output directory")
	require.ErrorContains(t, err, "choose another directory with --out")
}

func TestWithProgram(t *testing.T) {
	builder := image.Builder{Offline: true, Platforms: []v1.Platform{image.HostPlatform()}}
	built, err := builder.Build(t.Context(), []platform.Service{{Name: "api", Build: platform.Build{Kind: platform.Prebuilt, Image: "api:1"}}})
	require.NoError(t, err)
	img, err := image.WithProgram(built[0], "faulty", []byte("#!"), "crash")
	require.NoError(t, err)
	file, err := child(t, img).ConfigFile()
	require.NoError(t, err)
	require.Equal(t, []string{"/faulty", "crash"}, file.Config.Entrypoint)
	require.NotContains(t, file.Config.Labels, image.StandInLabel)
	standIn, err := child(t, built[0]).ConfigFile()
	require.NoError(t, err)
	require.Contains(t, standIn.Config.Labels, image.StandInLabel, "the other image is as it was")
}

func TestParsePlatforms(t *testing.T) {
	platforms, err := image.ParsePlatforms([]string{"linux/amd64", "linux/arm64"})
	require.NoError(t, err)
	require.Equal(t, image.DefaultPlatforms(), platforms)
	same, err := image.ParsePlatforms([]string{"linux/arm64", "linux/amd64", "linux/arm64"})
	require.NoError(t, err)
	require.Equal(t, platforms, same, "the same image, so the same digest")
	for _, bad := range []string{"", "linux", "windows/amd64", "foo/bar"} {
		_, err := image.ParsePlatforms([]string{bad})
		require.ErrorContains(t, err, "want linux/amd64, linux/arm64 or both")
		require.Equal(t, outcome.Usage, outcome.Of(err))
	}
}

func TestReadLock(t *testing.T) {
	builtIn, err := image.BuiltInLock()
	require.NoError(t, err)
	require.Contains(t, builtIn.Images["nginx"].Digest, "sha256:")
	own := func(name, reference string) image.Lock {
		lock := image.Lock{Images: maps.Clone(builtIn.Images)}
		lock.Images[name] = image.Pin{Reference: reference}
		return lock
	}
	for name, tt := range map[string]struct {
		content string
		want    image.Lock
		refused string
	}{
		"no file":            {"", builtIn, ""},
		"no image":           {`{}`, builtIn, ""},
		"one image":          {`{"images": {"go": {"reference": "golang:1"}}}`, own("go", "golang:1"), ""},
		"an image unknown":   {`{"images": {"zig": {"reference": "zig:1"}}}`, own("zig", "zig:1"), ""},
		"not JSON":           {"{", image.Lock{}, "reading ci/images.lock.json: unexpected end of JSON input"},
		"no reference":       {`{"images": {"nginx": {"digest": "sha256:1"}}}`, image.Lock{}, `ci/images.lock.json has no reference for image "nginx": add it, or remove the image to use slipway's`},
		"no valid reference": {`{"images": {"go": {"reference": "golang: 1"}}}`, image.Lock{}, `ci/images.lock.json: invalid reference "golang: 1": want an image with a tag, such as docker.io/library/golang:1.26.8`},
		"no valid digest":    {`{"images": {"go": {"reference": "golang:1", "digest": "sha256:1"}}}`, image.Lock{}, `ci/images.lock.json: invalid reference "golang:1@sha256:1": want an image with a tag, such as docker.io/library/golang:1.26.8`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.content != "" {
				sourcetest.Write(t, dir, image.LockFile, tt.content)
			}
			lock, err := image.ReadLock(dir)
			if tt.refused != "" {
				require.EqualError(t, err, tt.refused)
				require.Equal(t, outcome.Usage, outcome.Of(err))
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, lock)
		})
	}
	repository, err := image.ReadLockFile(sourcetest.Root(image.LockFile))
	require.NoError(t, err)
	require.Equal(t, repository, builtIn, "run slipway lock: it writes both files")
	lock := image.Lock{Images: map[string]image.Pin{"a": {Reference: "r", Digest: "sha256:1"}, "b": {Reference: "r"}}}
	require.Equal(t, "r@sha256:1", lock.Reference("a"))
	require.Equal(t, "r", lock.Reference("b"))
}
