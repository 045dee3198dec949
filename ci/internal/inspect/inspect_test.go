package inspect_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"dagger/slipway/internal/image"
	"dagger/slipway/internal/inspect"
	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/platform"
	oci "dagger/slipway/internal/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// layerOf packs entries, in their order.
func layerOf(t *testing.T, entries ...tar.Header) v1.Layer {
	t.Helper()
	var packed bytes.Buffer
	archive := tar.NewWriter(&packed)
	for _, h := range entries {
		content := []byte(h.Linkname)
		if h.Typeflag == 0 {
			h.Typeflag, h.Linkname = tar.TypeReg, ""
		} else {
			content = nil
		}
		h.Size = int64(len(content))
		require.NoError(t, archive.WriteHeader(&h))
		_, err := archive.Write(content)
		require.NoError(t, err)
	}
	require.NoError(t, archive.Close())
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed.Bytes())), nil })
	require.NoError(t, err)
	return l
}

// regular is a file whose content stands in Linkname.
func regular(name, content string, mode int64) tar.Header {
	return tar.Header{Name: name, Mode: mode, Linkname: content}
}

func imageOf(t *testing.T, c v1.Config, layers ...v1.Layer) v1.Image {
	t.Helper()
	var adds []mutate.Addendum
	for _, l := range layers {
		adds = append(adds, mutate.Addendum{Layer: l, History: v1.History{CreatedBy: "COPY"}})
	}
	img, err := mutate.Append(empty.Image, adds...)
	require.NoError(t, err)
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{
		OS: "linux", Architecture: "amd64", Config: c, RootFS: must(img.ConfigFile()).RootFS,
		History: append([]v1.History{{CreatedBy: "ENV", EmptyLayer: true}}, must(img.ConfigFile()).History...),
	})
	require.NoError(t, err)
	return img
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// program is the image of a Go service that does nothing.
func program(t *testing.T) image.Image {
	t.Helper()
	return must(image.Program(platform.Service{Name: "api", Port: 8000}, image.HostPlatform(), compiled()))
}

var compiled = sync.OnceValue(func() []byte {
	dir := must(os.MkdirTemp("", "slipway-inspect-"))
	defer os.RemoveAll(dir)
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		panic(err)
	}
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", filepath.Join(dir, "program"), source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		panic(string(out))
	}
	return must(os.ReadFile(filepath.Join(dir, "program")))
})

func TestInspectABuiltService(t *testing.T) {
	built := t.TempDir()
	require.NoError(t, image.WriteLayouts(built, []image.Image{program(t)}))
	for _, what := range []string{"api", filepath.Join(built, "api")} {
		img, err := inspect.Opener{Built: built}.Open(t.Context(), what)
		require.NoError(t, err)
		report, err := inspect.Inspect(t.Context(), img)
		require.NoError(t, err)

		require.Equal(t, must(program(t).Digest()).String(), report.Digest)
		require.Equal(t, map[string]string{"org.opencontainers.image.title": "api"}, report.Annotations)
		require.Len(t, report.Platforms, 1)
		p := report.Platforms[0]
		require.Equal(t, runtime.GOOS+"/"+runtime.GOARCH, p.Platform)
		require.Equal(t, "65532:65532", p.Configuration.User)
		require.Equal(t, []string{"8000/tcp"}, p.Configuration.Ports)
		require.Len(t, p.Layers, 1)
		require.Equal(t, p.Size, p.Layers[0].Size)
		require.Len(t, p.Layers[0].Files, 1)
		file := p.Layers[0].Files[0]
		require.Equal(t, "/server", file.Path)
		require.Equal(t, "-r-xr-xr-x", file.Mode)
		require.Equal(t, file.Size, p.Layers[0].Unpacked)
		require.Regexp(t, "^sha256:[0-9a-f]{64}$", file.Digest)
		if runtime.GOOS == "linux" {
			require.Len(t, p.Programs, 1)
			require.Equal(t, runtime.Version(), p.Programs[0].Go)
			require.Equal(t, runtime.GOARCH, p.Programs[0].Settings["GOARCH"])
		}
		var text strings.Builder
		report.WriteText(&text)
		require.Contains(t, text.String(), "  user: 65532:65532\n")
		require.Contains(t, text.String(), "/server\n")
	}
}

func TestCompare(t *testing.T) {
	etc := tar.Header{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755}
	base := layerOf(t, etc, regular("etc/same", "same", 0o644), regular("etc/changed", "old", 0o644), regular("etc/mode", "x", 0o644),
		regular("etc/gone", "bye", 0o644), regular("etc/hidden", "never seen", 0o644),
		tar.Header{Name: "etc/link", Typeflag: tar.TypeSymlink, Linkname: "same"})
	hiding := layerOf(t, regular("etc/.wh.hidden", "", 0o644))
	upper := layerOf(t, regular("etc/changed", "newer", 0o644), regular("etc/mode", "x", 0o755), regular("etc/.wh.gone", "", 0o644),
		regular("etc/line\nbreak", "new", 0o600), regular("bin/script", "#!/bin/sh", 0o755), regular("bin/tiny", "x", 0o755),
		tar.Header{Name: "etc/link", Typeflag: tar.TypeSymlink, Linkname: "changed"})
	from := imageOf(t, v1.Config{User: "root", Env: []string{"A=1", "B=2"}, Labels: map[string]string{"l": "1"}}, base, hiding)
	to := imageOf(t, v1.Config{User: "nobody", Env: []string{"A=1", "C=3"}, Cmd: []string{"run", "it"}, Labels: map[string]string{"l": "1"}}, base, upper)

	before, after := open(t, from), open(t, to)
	d, err := inspect.Compare(t.Context(), before, after)
	require.NoError(t, err)
	require.False(t, d.Identical)
	require.Len(t, d.Platforms, 1)
	p := d.Platforms[0]
	require.Equal(t, []inspect.Change{
		{Name: "command", To: "run it"},
		{Name: "env B", From: "2"},
		{Name: "env C", To: "3"},
		{Name: "user", From: "root", To: "nobody"},
	}, p.Configuration)
	var names []string
	for _, c := range p.Files {
		sign := "~"
		switch {
		case c.From == "":
			sign = "+"
		case c.To == "":
			sign = "-"
		}
		names = append(names, sign+c.Name)
	}
	require.Equal(t, []string{"+/bin/script", "+/bin/tiny", "~/etc/changed", "-/etc/gone", "+/etc/hidden", "+/etc/line\nbreak", "~/etc/link", "~/etc/mode"}, names)

	var text strings.Builder
	d.WriteText(&text)
	for _, want := range []string{
		"  ~ configuration user  root  =>  nobody\n", "  - configuration env B  2\n", "  + file \"/etc/line\\nbreak\"  -rw------- 0:0 3 bytes sha256:",
		"  ~ file /etc/link  L",
	} {
		require.Contains(t, text.String(), want)
	}

	same, err := inspect.Compare(t.Context(), before, before)
	require.NoError(t, err)
	require.True(t, same.Identical)
	text.Reset()
	same.WriteText(&text)
	require.Contains(t, text.String(), "they are the same image\n")
	require.Contains(t, string(must(json.Marshal(same))), `"platforms":[]`)

	repacked, err := inspect.Compare(t.Context(), open(t, imageOf(t, v1.Config{}, base, hiding)), open(t, imageOf(t, v1.Config{}, base, hiding, layerOf(t))))
	require.NoError(t, err)
	text.Reset()
	repacked.WriteText(&text)
	require.Contains(t, text.String(), "the same files and the same configuration")
}

// open writes a layout of img, and opens it.
func open(t *testing.T, img v1.Image) inspect.Image {
	t.Helper()
	dir := t.TempDir()
	path, err := layout.Write(dir, empty.Index)
	require.NoError(t, err)
	require.NoError(t, path.AppendImage(img))
	opened, err := inspect.Opener{}.Open(t.Context(), dir)
	require.NoError(t, err)
	return opened
}

func TestComparePrograms(t *testing.T) {
	built, other := t.TempDir(), t.TempDir()
	img := program(t)
	require.NoError(t, image.WriteLayouts(built, []image.Image{img}))
	script := must(image.Program(platform.Service{Name: "api", Port: 8000}, image.HostPlatform(), []byte("#!/bin/sh\n")))
	require.NoError(t, image.WriteLayouts(other, []image.Image{script}))
	d, err := inspect.Compare(t.Context(), must(inspect.Opener{Built: other}.Open(t.Context(), "api")), must(inspect.Opener{Built: built}.Open(t.Context(), "api")))
	require.NoError(t, err)
	require.Len(t, d.Platforms[0].Files, 1)
	if runtime.GOOS == "linux" {
		require.Contains(t, d.Platforms[0].Modules, inspect.Change{Name: "/server go", To: runtime.Version()})
	}
}

func TestSeveralPlatforms(t *testing.T) {
	arm := must(mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: "arm64"}))
	amd := must(mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: "amd64"}))
	index := func(children ...v1.Image) v1.ImageIndex {
		var index v1.ImageIndex = empty.Index
		for _, img := range children {
			index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: must(img.ConfigFile()).Platform()}})
		}
		attached := must(mutate.Config(empty.Image, v1.Config{User: "attestation"}))
		return mutate.AppendManifests(index, mutate.IndexAddendum{Add: attached, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}}})
	}
	address := serve(t, registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	push := func(tag string, index v1.ImageIndex) string {
		ref := must(name.ParseReference(address + "/repo:" + tag))
		require.NoError(t, remote.WriteIndex(ref, index, remote.WithTransport(carrier(t))))
		return ref.String()
	}
	both, one, none := push("both", index(arm, amd)), push("one", index(amd)), push("none", index())
	require.NoError(t, remote.Write(must(name.ParseReference(address+"/repo:plain")), amd, remote.WithTransport(carrier(t))))
	opener := inspect.Opener{Transport: carrier(t)}

	before, err := opener.Open(t.Context(), both)
	require.NoError(t, err)
	after, err := opener.Open(t.Context(), one)
	require.NoError(t, err)
	for n, ends := range [][2]inspect.Image{{before, after}, {after, before}} {
		d, err := inspect.Compare(t.Context(), ends[0], ends[1])
		require.NoError(t, err)
		require.Len(t, d.Platforms, 2, n)
		require.Equal(t, "linux/arm64", d.Platforms[1].Platform)
		require.Equal(t, both, d.Platforms[1].OnlyIn)
		var text strings.Builder
		d.WriteText(&text)
		require.Contains(t, text.String(), "linux/arm64\n  only in "+both+"\n")
	}
	_, err = opener.Open(t.Context(), none)
	require.ErrorContains(t, err, "there is no image in it")
	plain, err := opener.Open(t.Context(), address+"/repo:plain")
	require.NoError(t, err)
	report, err := inspect.Inspect(t.Context(), plain)
	require.NoError(t, err)
	require.Equal(t, "linux/amd64", report.Platforms[0].Platform)

	arm64, err := before.Only("linux/arm64")
	require.NoError(t, err)
	report, err = inspect.Inspect(t.Context(), arm64)
	require.NoError(t, err)
	require.Len(t, report.Platforms, 1)
	_, err = before.Only("linux/s390x")
	require.EqualError(t, err, both+" has no image for linux/s390x: it has linux/arm64, linux/amd64")
	require.Equal(t, outcome.Usage, outcome.Of(err))
}

func serve(t *testing.T, handler http.Handler) string {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func carrier(t *testing.T) *http.Transport {
	c := oci.NewTransport()
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func TestOpenFails(t *testing.T) {
	missing := serve(t, http.NotFoundHandler())
	broken := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	damaged := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(damaged, "index.json"), []byte("{"), 0o600))
	absent := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(absent, "index.json"), []byte(`{"schemaVersion": 2, "manifests": [
		{"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 2, "digest": "sha256:`+strings.Repeat("0", 64)+`"}]}`), 0o600))
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("frontend", 0o700))
	tests := map[string]struct {
		what string
		code outcome.Code
		want string
	}{
		"one whose folder is here":     {"frontend", outcome.Usage, `no image "frontend" below nowhere: build it with slipway build --service frontend`},
		"a service that was not built": {"backend", outcome.Usage, `no image "backend" below nowhere: build it with slipway build --service backend`},
		"a folder without an image":    {t.TempDir(), outcome.Usage, "is no OCI image layout: it has no index.json"},
		"a file":                       {"/etc/passwd", outcome.Usage, "/etc/passwd is no OCI image layout: it has no index.json"},
		"neither":                      {"What is This", outcome.Usage, `"What is This" is neither the folder of a layout`},
		"a line break":                 {"a\nb", outcome.Usage, `"a\nb" is neither`},
		"a zero byte":                  {"a\x00b", outcome.Usage, `"a\x00b" is neither`},
		"a registry without it":        {missing + "/repo:tag", outcome.Failed, "opening " + missing + "/repo:tag: its registry has no such image"},
		"a registry in trouble":        {broken + "/repo:tag", outcome.Failed, "418"},
		"nobody there":                 {"127.0.0.1:1/repo:tag", outcome.Failed, "connection refused"},
		"a damaged layout":             {damaged, outcome.Failed, "opening the layout " + damaged},
		"a layout without its image":   {absent, outcome.Failed, "opening " + absent},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := inspect.Opener{Built: "nowhere", Transport: carrier(t)}.Open(t.Context(), tt.what)
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, tt.code, outcome.Of(err))
			require.NotContains(t, err.Error(), "\n")
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := inspect.Opener{Transport: carrier(t)}.Open(ctx, missing+"/repo:tag")
		require.ErrorIs(t, err, context.Canceled)
		img := open(t, imageOf(t, v1.Config{}, layerOf(t, regular("a", "x", 0o644))))
		_, err = inspect.Inspect(ctx, img)
		require.ErrorIs(t, err, context.Canceled)
		_, err = inspect.Compare(ctx, img, open(t, imageOf(t, v1.Config{User: "x"}, layerOf(t, regular("a", "y", 0o644)))))
		require.ErrorIs(t, err, context.Canceled)
	})
}

// TestDamagedLayer: what cannot be read is an error, and not left out.
func TestDamagedLayer(t *testing.T) {
	broken, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(strings.Repeat("no archive ", 100))), nil
	})
	require.NoError(t, err)
	img := open(t, imageOf(t, v1.Config{}, broken))
	_, err = inspect.Inspect(t.Context(), img)
	require.ErrorContains(t, err, "layer 1: ")
	_, err = inspect.Compare(t.Context(), img, open(t, imageOf(t, v1.Config{User: "x"})))
	require.ErrorContains(t, err, "comparing the images for linux/amd64")
}
