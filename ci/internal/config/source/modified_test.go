package source_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

func TestModified(t *testing.T) {
	dir := sourcetest.New(t)
	sourcetest.Write(t, dir, "infra/main.tf", "x")
	sourcetest.Write(t, dir, "shared/a[1].tf", "x")
	sourcetest.Write(t, dir, ".gitignore", "ignored.tf\n")
	sourcetest.Commit(t, dir, "platform")
	tree := source.Tree{Dir: filepath.Join(dir, "infra")}
	top, err := tree.TopLevel(t.Context())
	require.NoError(t, err)
	want, err := filepath.EvalSymlinks(dir)
	require.NoError(t, err)
	require.Equal(t, want, top)
	differs := func(names ...string) bool {
		t.Helper()
		yes, err := tree.Modified(t.Context(), names)
		require.NoError(t, err)
		return yes
	}
	require.False(t, differs())
	require.False(t, differs("main.tf", "../shared/a[1].tf"))
	for _, flag := range []string{"assume-unchanged", "skip-worktree"} {
		sourcetest.Git(t, dir, "update-index", "--"+flag, "infra/main.tf")
		require.False(t, differs("main.tf"))
		sourcetest.Write(t, dir, "infra/main.tf", "y")
		require.True(t, differs("main.tf"), "git was told not to look")
		sourcetest.Write(t, dir, "infra/main.tf", "x")
		sourcetest.Git(t, dir, "update-index", "--no-"+flag, "infra/main.tf")
	}
	sourcetest.Write(t, dir, "infra/ignored.tf", "x")
	require.True(t, differs("main.tf", "ignored.tf"))
	sourcetest.Write(t, dir, "shared/a[1].tf", "y")
	require.True(t, differs("../shared/a[1].tf"))
	require.False(t, differs("main.tf"))
	sourcetest.Write(t, dir, "shared/new.tf", "y")
	require.True(t, differs("../shared/new.tf"))
	sourcetest.Git(t, dir, "add", "shared/new.tf")
	require.True(t, differs("../shared/new.tf"), "added, and not committed")
	sourcetest.Write(t, dir, "clone/main.tf", "x")
	sourcetest.Git(t, filepath.Join(dir, "clone"), "init", "-q")
	require.True(t, differs("../clone/main.tf"), "another repository, which no commit knows")
	require.True(t, differs("gone.tf", "main.tf", "ignored.tf"), "one of several")
	require.False(t, differs("gone.tf"), "neither here nor in the commit")
	require.False(t, differs("../../elsewhere", filepath.ToSlash(filepath.Join(t.TempDir(), "x"))), "outside of the repository")
	_, err = source.Tree{Dir: t.TempDir()}.TopLevel(t.Context())
	require.Error(t, err)
}
