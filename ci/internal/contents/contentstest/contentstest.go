// Package contentstest makes images with known contents for tests.
package contentstest

import (
	"archive/tar"
	"bytes"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// APK is a package database of Alpine with two packages.
const APK = `C:Q1abc=
P:musl
V:1.2.5-r9
A:x86_64
L:MIT
o:musl
F:lib
R:ld-musl-x86_64.so.1

P:busybox
V:1.37.0-r18
A:x86_64
L:GPL-2.0-only
o:busybox

`

// Dpkg is a package database of Debian with a package that is installed and one
// that was removed.
const Dpkg = `Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc
Version: 2.36-9
Description: GNU C Library
 Package: that is a line of the description

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
`

// Image is an image of the given layers, each with files by their paths.
func Image(t testing.TB, layers ...map[string]string) v1.Image {
	t.Helper()
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, files := range layers {
		var packed bytes.Buffer
		archive := tar.NewWriter(&packed)
		for _, name := range slices.Sorted(maps.Keys(files)) {
			require.NoError(t, archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(files[name]))}))
			_, err := io.WriteString(archive, files[name])
			require.NoError(t, err)
		}
		require.NoError(t, archive.Close())
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed.Bytes())), nil })
		require.NoError(t, err)
		img, err = mutate.AppendLayers(img, layer)
		require.NoError(t, err)
	}
	return img
}

// Index is an index of images by their platforms, such as "linux/amd64".
func Index(t testing.TB, images map[string]v1.Image) v1.ImageIndex {
	t.Helper()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, name := range slices.Sorted(maps.Keys(images)) {
		platform, err := v1.ParsePlatform(name)
		require.NoError(t, err)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: images[name], Descriptor: v1.Descriptor{Platform: platform}})
	}
	return index
}

// Program builds a small program for Linux with one dependency,
// example.com/library v1.2.3, and returns its path. Flags are go build's.
func Program(t testing.TB, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	proxy(t, filepath.Join(dir, "proxy"))
	write(t, dir, "app/go.mod", "module example.com/app\n\ngo 1.26\n\nrequire example.com/library v1.2.3\n")
	write(t, dir, "app/main.go", "package main\n\nimport \"example.com/library\"\n\nfunc main() { println(library.Greet()) }\n")
	program := filepath.Join(dir, "server")
	build := exec.CommandContext(t.Context(), "go", append(append([]string{"build", "-trimpath", "-o", program}, flags...), ".")...)
	build.Dir = filepath.Join(dir, "app")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOWORK=off", "GOFLAGS=-mod=mod -modcacherw",
		"GOPROXY=file://"+filepath.ToSlash(filepath.Join(dir, "proxy")), "GOSUMDB=off", "GOMODCACHE="+filepath.Join(dir, "cache"))
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	return program
}

// proxy lays out a module proxy that has example.com/library v1.2.3.
// https://go.dev/ref/mod#goproxy-protocol
func proxy(t testing.TB, dir string) {
	t.Helper()
	const mod = "module example.com/library\n\ngo 1.26\n"
	const versions = "example.com/library/@v/"
	source := filepath.Join(dir, "source")
	write(t, source, "go.mod", mod)
	write(t, source, "library.go", "package library\n\n//go:noinline\nfunc Greet() string { return \"hello\" }\n")
	write(t, dir, versions+"list", "v1.2.3\n")
	write(t, dir, versions+"v1.2.3.info", `{"Version": "v1.2.3"}`)
	write(t, dir, versions+"v1.2.3.mod", mod)
	archive, err := os.Create(filepath.Join(dir, filepath.FromSlash(versions), "v1.2.3.zip"))
	require.NoError(t, err)
	require.NoError(t, zip.CreateFromDir(archive, module.Version{Path: "example.com/library", Version: "v1.2.3"}, source))
	require.NoError(t, archive.Close())
}

func write(t testing.TB, dir, name, content string) {
	t.Helper()
	file := filepath.Join(dir, filepath.FromSlash(name))
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
}
