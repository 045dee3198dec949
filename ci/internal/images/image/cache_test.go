package image_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// TestCachedBuild: the cache saves time and never changes the result, even if it is
// damaged.
func TestCachedBuild(t *testing.T) {
	dir := smallTree(t)
	b := builder(t, dir)
	p, err := platform.Load(dir)
	require.NoError(t, err)
	build := func(cache string) string {
		b.Cache = cache
		images, err := b.Build(t.Context(), p.Services[:1])
		require.NoError(t, err)
		return digest(t, images[0])
	}
	cache := t.TempDir()
	kept := func() []string {
		names, err := filepath.Glob(filepath.Join(cache, "*"))
		require.NoError(t, err)
		return names
	}
	first := build("")
	require.Equal(t, first, build(cache))
	require.Len(t, kept(), 2, "a binary and a layer")
	before := kept()
	require.Equal(t, first, build(cache))
	require.Equal(t, before, kept())

	t.Run("damaged", func(t *testing.T) {
		for _, name := range kept() {
			content, err := os.ReadFile(name)
			require.NoError(t, err)
			content[len(content)/2] ^= 1
			require.NoError(t, os.WriteFile(name, content, 0o600))
		}
		require.Equal(t, first, build(cache))
	})
	t.Run("the source changes, and changes back", func(t *testing.T) {
		sourcetest.Write(t, dir, "api/extra.go", "package main\n\nfunc init() { print(\"extra\") }\n")
		changed := build("")
		require.NotEqual(t, first, changed)
		require.Equal(t, changed, build(cache))
		require.NoError(t, os.Remove(filepath.Join(dir, "api/extra.go")))
		require.Equal(t, first, build(cache))
	})
	t.Run("another tree has its own cache entry", func(t *testing.T) {
		other := builder(t, smallTree(t))
		other.Cache = cache
		images, err := other.Build(t.Context(), p.Services[:1])
		require.NoError(t, err)
		require.Equal(t, first, digest(t, images[0]))
	})
	t.Run("it cannot be written", func(t *testing.T) {
		require.Equal(t, first, build(filepath.Join(dir, "api/main.go")))
	})
	require.Contains(t, image.CacheDir(), "slipway")
}
