package image_test

import (
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// imageOf returns an image of api with the given program.
func imageOf(t *testing.T, content []byte) image.Image {
	t.Helper()
	builder := image.Builder{Offline: true, Platforms: []v1.Platform{image.HostPlatform()}}
	built, err := builder.Build(t.Context(), []platform.Service{{Name: "api", Port: 80, Build: platform.Build{Kind: platform.Prebuilt, Image: "api:1"}}})
	require.NoError(t, err)
	img, err := image.WithProgram(built[0], "server", content)
	require.NoError(t, err)
	return img
}

// TestWriteLayoutsConcurrently: each of several concurrent builds leaves a complete
// layout.
func TestWriteLayoutsConcurrently(t *testing.T) {
	out := t.TempDir()
	var group errgroup.Group
	for n := range 8 {
		img := imageOf(t, []byte{byte(n)})
		group.Go(func() error { return image.WriteLayouts(out, []image.Image{img}) })
	}
	require.NoError(t, group.Wait())
	got, err := image.ReadLayout(out, platform.Service{Name: "api"})
	require.NoError(t, err)
	require.NoError(t, validate.Index(got.Index))
	left, err := os.ReadDir(out)
	require.NoError(t, err)
	require.Len(t, left, 1, "no temporary folder is left")
}

// TestWriteLayoutsKeepsOtherFiles: such as in the source tree itself, where a
// service's folder has its layout's name.
func TestWriteLayoutsKeepsOtherFiles(t *testing.T) {
	for name, file := range map[string]string{"a folder": "web/main.go", "a file": "web"} {
		t.Run(name, func(t *testing.T) {
			out := t.TempDir()
			sourcetest.Write(t, out, file, "weeks of work")
			api, web := imageOf(t, nil), imageOf(t, nil)
			web.Service.Name = "web"
			err := image.WriteLayouts(out, []image.Image{api, web})
			require.EqualError(t, err, filepath.Join(out, "web")+" is not an OCI layout and is left unchanged: choose another directory with --out")
			require.Equal(t, outcome.Usage, outcome.Of(err))
			content, err := os.ReadFile(filepath.Join(out, file))
			require.NoError(t, err)
			require.Equal(t, "weeks of work", string(content))
			require.NoDirExists(t, filepath.Join(out, "api"), "all or none")
		})
	}
	out := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(out, "api"), 0o700))
	require.NoError(t, image.WriteLayouts(out, []image.Image{imageOf(t, nil)}), "an empty folder is nobody's")
}

// TestWriteLayoutsDiskFull: the existing layout stays unchanged, without leftovers.
func TestWriteLayoutsDiskFull(t *testing.T) {
	out := smallDisk(t)
	before := imageOf(t, []byte("small"))
	require.NoError(t, image.WriteLayouts(out, []image.Image{before}))

	err := image.WriteLayouts(out, []image.Image{imageOf(t, randomBytes(1<<20))})

	require.ErrorContains(t, err, "writing the layout of api")
	require.ErrorContains(t, err, "no space left on device: free disk space, or choose another directory with --out")
	got, err := image.ReadLayout(out, platform.Service{Name: "api"})
	require.NoError(t, err)
	require.Equal(t, digest(t, before), digest(t, got))
	left, err := filepath.Glob(filepath.Join(out, "*"))
	require.NoError(t, err)
	hidden, err := filepath.Glob(filepath.Join(out, ".*"))
	require.NoError(t, err)
	require.Len(t, append(left, hidden...), 1)
}

// randomBytes returns content that does not compress.
func randomBytes(size int) []byte {
	content := make([]byte, size)
	state := uint32(1)
	for n := range content {
		state ^= state << 13
		state ^= state >> 17
		state ^= state << 5
		content[n] = byte(state)
	}
	return content
}
