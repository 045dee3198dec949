package source_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/source"
)

func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_SYSTEM="+os.DevNull,
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func write(t *testing.T, file, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
}

func TestTree(t *testing.T) {
	dir := t.TempDir()
	git(t, dir, "init", "-q")
	write(t, filepath.Join(dir, ".gitignore"), "*.log\n")
	write(t, filepath.Join(dir, "site", "index.html"), "x")
	write(t, filepath.Join(dir, "site", "a b\n.css"), "x")
	write(t, filepath.Join(dir, "site", "gone.txt"), "x")
	write(t, filepath.Join(dir, "site", "x.log"), "x")

	tree, err := source.Open(t.Context(), dir)
	require.NoError(t, err)
	_, err = tree.Revision(t.Context())
	require.ErrorContains(t, err, "has no commit yet: commit first")
	require.Equal(t, outcome.Usage, outcome.Of(err))

	git(t, dir, "add", ".")
	git(t, dir, "commit", "-qm", "first")
	revision, err := tree.Revision(t.Context())
	require.NoError(t, err)
	require.Regexp(t, "^[0-9a-f]{40}$", revision.SHA)
	require.False(t, revision.Dirty)
	require.Equal(t, revision.SHA, revision.Version())

	write(t, filepath.Join(dir, "site", "new.js"), "x")
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
