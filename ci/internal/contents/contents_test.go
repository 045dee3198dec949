package contents_test

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/contents"
	"dagger/slipway/internal/contents/contentstest"
)

func TestPackages(t *testing.T) {
	musl := contents.Package{Format: "apk", Name: "musl", Version: "1.2.5-r9", Architecture: "x86_64", Source: "musl", License: "MIT"}
	libc := contents.Package{Format: "deb", Name: "libc6", Version: "2.36-9", Architecture: "amd64", Source: "glibc"}
	tests := map[string]struct {
		layers []map[string]string
		distro contents.Distro
		want   []contents.Package
	}{
		"nothing": {layers: []map[string]string{{"server": "text"}}},
		"Alpine": {
			layers: []map[string]string{{
				"etc/os-release": "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.22.1\n", "lib/apk/db/installed": contentstest.APK,
			}},
			distro: contents.Distro{ID: "alpine", Version: "3.22.1"},
			want:   []contents.Package{{Format: "apk", Name: "busybox", Version: "1.37.0-r18", Architecture: "x86_64", Source: "busybox", License: "GPL-2.0-only"}, musl},
		},
		"Alpine with Windows' line ends": {
			layers: []map[string]string{{"usr/lib/apk/db/installed": "P:musl\r\nV:1.2.5-r9\r\nA:x86_64\r\no:musl\r\nL:MIT\r\n\r\n"}},
			want:   []contents.Package{musl},
		},
		"Debian": {
			layers: []map[string]string{{"usr/lib/os-release": "ID=debian\nVERSION_ID=\"12\"\n", "var/lib/dpkg/status": contentstest.Dpkg}},
			distro: contents.Distro{ID: "debian", Version: "12"},
			want:   []contents.Package{libc},
		},
		"distroless": {
			layers: []map[string]string{{
				"var/lib/dpkg/status.d/libc6":         "Package: libc6\nSource: glibc (2.36)\nVersion: 2.36-9\nArchitecture: amd64\n",
				"var/lib/dpkg/status.d/libc6.md5sums": "0123  usr/lib/libc.so.6\n",
			}},
			want: []contents.Package{libc},
		},
		"an upper layer replaces the database": {
			layers: []map[string]string{{"lib/apk/db/installed": contentstest.APK}, {"lib/apk/db/installed": "P:musl\nV:1.2.5-r9\nA:x86_64\no:musl\nL:MIT\n"}},
			want:   []contents.Package{musl},
		},
		"an upper layer deletes it": {
			layers: []map[string]string{{"lib/apk/db/installed": contentstest.APK}, {"lib/apk/db/.wh.installed": ""}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := contents.Read(t.Context(), contentstest.Image(t, tt.layers...))
			require.NoError(t, err)
			require.Equal(t, tt.distro, got.Distro)
			require.Equal(t, tt.want, got.Packages)
			require.Empty(t, got.Programs)
		})
	}
}

func TestPrograms(t *testing.T) {
	program, err := os.ReadFile(contentstest.Program(t))
	require.NoError(t, err)
	got, err := contents.Read(t.Context(), contentstest.Image(t, map[string]string{
		"usr/bin/server": string(program), "lib/libc.so": "\x7fELF, and nothing of Go", "x": "", "script": "#!/bin/sh\n",
	}))
	require.NoError(t, err)
	require.Len(t, got.Programs, 1)
	require.Equal(t, "usr/bin/server", got.Programs[0].Path)
	require.Equal(t, "example.com/app", got.Programs[0].Info.Main.Path)
	require.Equal(t, program, got.Programs[0].Data)
	library := got.Programs[0].Info.Deps[0]
	require.Equal(t, "example.com/library", library.Path)
	require.Equal(t, "v1.2.3", library.Version)
	require.Contains(t, library.Sum, "h1:")
}

func TestReadFails(t *testing.T) {
	broken, err := mutate.AppendLayers(empty.Image, brokenLayer{})
	require.NoError(t, err)
	_, err = contents.Read(t.Context(), broken)
	require.ErrorContains(t, err, "reading the image's files: ")
	require.ErrorContains(t, err, "the line is cut")

	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("told to stop"))
	_, err = contents.Read(ctx, contentstest.Image(t, map[string]string{"a": "b"}))
	require.ErrorContains(t, err, "told to stop")
}

// brokenLayer is a layer that cannot be had.
type brokenLayer struct{}

func (brokenLayer) Digest() (v1.Hash, error) { return v1.Hash{Algorithm: "sha256", Hex: "00"}, nil }

func (brokenLayer) DiffID() (v1.Hash, error) { return v1.Hash{Algorithm: "sha256", Hex: "00"}, nil }

func (brokenLayer) Compressed() (io.ReadCloser, error) { return nil, errors.New("the line is cut") }

func (brokenLayer) Uncompressed() (io.ReadCloser, error) { return nil, errors.New("the line is cut") }
func (brokenLayer) Size() (int64, error)                 { return 1, nil }
func (brokenLayer) MediaType() (types.MediaType, error)  { return types.OCILayer, nil }
