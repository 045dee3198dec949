package source_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/source"
	"dagger/slipway/internal/sourcetest"
)

func TestTree(t *testing.T) {
	dir := t.TempDir()
	sourcetest.Git(t, dir, "init", "-q")
	sourcetest.Write(t, dir, ".gitignore", "*.log\n")
	sourcetest.Write(t, dir, "site/index.html", "x")
	sourcetest.Write(t, dir, "site/a b\n.css", "x")
	sourcetest.Write(t, dir, "site/gone.txt", "x")
	sourcetest.Write(t, dir, "site/x.log", "x")

	tree, err := source.Open(t.Context(), dir)
	require.NoError(t, err)
	_, err = tree.Revision(t.Context())
	require.ErrorContains(t, err, "has no commit yet: commit first")
	require.Equal(t, outcome.Usage, outcome.Of(err))

	sourcetest.Git(t, dir, "add", ".")
	sourcetest.Git(t, dir, "commit", "-qm", "first")
	revision, err := tree.Revision(t.Context())
	require.NoError(t, err)
	require.Regexp(t, "^[0-9a-f]{40}$", revision.SHA)
	require.False(t, revision.Dirty)
	require.Equal(t, revision.SHA, revision.Version())

	sourcetest.Write(t, dir, "site/new.js", "x")
	require.NoError(t, os.Remove(filepath.Join(dir, "site", "gone.txt")))
	revision, err = tree.Revision(t.Context())
	require.NoError(t, err)
	require.True(t, revision.Dirty)
	require.Equal(t, revision.SHA+"-dirty", revision.Version())

	files, err := tree.Files(t.Context(), "site")
	require.NoError(t, err)
	require.Equal(t, []string{"a b\n.css", "index.html"}, files, "neither ignored, nor deleted, nor never added")
}

func TestOpenRefuses(t *testing.T) {
	tests := map[string]struct {
		dir  string
		want string
	}{
		"no folder": {filepath.Join(t.TempDir(), "nope"), "no source tree at"},
		"no git":    {t.TempDir(), "is not a git work tree: clone the repository"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GIT_CEILING_DIRECTORIES", filepath.Dir(tt.dir))
			_, err := source.Open(t.Context(), tt.dir)
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, outcome.Usage, outcome.Of(err))
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestOpenWithoutGit(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := source.Open(t.Context(), t.TempDir())
	require.ErrorContains(t, err, "git is not installed")
	require.Equal(t, outcome.Usage, outcome.Of(err))
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := source.Open(ctx, t.TempDir())
	require.ErrorIs(t, err, context.Canceled)
}
