package source_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// TestGitHookEnvironment checks that variables exported by git hooks do not select the
// repository.
func TestGitHookEnvironment(t *testing.T) {
	dir, other := sourcetest.New(t), sourcetest.New(t)
	sourcetest.Write(t, other, "other", "x")
	sourcetest.Commit(t, other, "another repository")
	want, err := source.Tree{Dir: dir}.Revision(t.Context())
	require.NoError(t, err)
	linked := filepath.Join(t.TempDir(), "linked")
	sourcetest.Git(t, dir, "worktree", "add", "-q", "--detach", linked)
	index := filepath.Join(t.TempDir(), "index")
	sourcetest.Write(t, filepath.Dir(index), "index", "no index at all")

	tests := map[string]map[string]string{
		"another repository":        {"GIT_DIR": filepath.Join(other, ".git"), "GIT_WORK_TREE": other},
		"a relative one":            {"GIT_DIR": ".git", "GIT_PREFIX": ""},
		"a linked work tree's":      {"GIT_DIR": filepath.Join(dir, ".git", "worktrees", "linked"), "GIT_COMMON_DIR": filepath.Join(other, ".git")},
		"another index":             {"GIT_INDEX_FILE": index},
		"other objects":             {"GIT_OBJECT_DIRECTORY": t.TempDir(), "GIT_ALTERNATE_OBJECT_DIRECTORIES": t.TempDir()},
		"a namespace":               {"GIT_NAMESPACE": "other"},
		"configuration, by number":  {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.worktree", "GIT_CONFIG_VALUE_0": other},
		"configuration, by git -c":  {"GIT_CONFIG_PARAMETERS": "'core.worktree'='" + other + "'"},
		"configuration, unreadable": {"GIT_CONFIG_COUNT": "many"},
		"how paths are read":        {"GIT_NOGLOB_PATHSPECS": "1", "GIT_ICASE_PATHSPECS": "1"},
		"a monitor that is told":    {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.fsmonitor", "GIT_CONFIG_VALUE_0": "false"},
	}
	for name, env := range tests {
		t.Run(name, func(t *testing.T) {
			for key, value := range env {
				t.Setenv(key, value)
			}
			for _, dir := range []string{dir, linked} {
				tree, err := source.Open(t.Context(), dir)
				require.NoError(t, err)
				revision, err := tree.Revision(t.Context())
				require.NoError(t, err)
				require.Equal(t, want, revision)
				files, err := tree.Files(t.Context(), "web/site")
				require.NoError(t, err)
				require.Equal(t, []string{"css/style.css", "index.html"}, files)
			}
		})
	}
}

// TestSafeDirectoryIsKept checks that only safe.directory of the configuration in the
// environment is passed to git.
func TestSafeDirectoryIsKept(t *testing.T) {
	for key, value := range map[string]string{
		"GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": "core.worktree", "GIT_CONFIG_VALUE_0": "/nonexistent",
		"GIT_CONFIG_KEY_1": "Safe.Directory", "GIT_CONFIG_VALUE_1": "/some/tree",
	} {
		t.Setenv(key, value)
	}
	tree := source.Tree{Dir: sourcetest.New(t)}
	said, err := tree.Git(t.Context(), "config", "--get-all", "safe.directory")
	require.NoError(t, err)
	require.Contains(t, said, "/some/tree\n")
	_, err = tree.Git(t.Context(), "config", "core.worktree")
	require.Error(t, err)
}

func TestEnviron(t *testing.T) {
	list, err := source.Tree{Dir: t.TempDir()}.Git(t.Context(), "rev-parse", "--local-env-vars")
	require.NoError(t, err)
	for _, name := range strings.Fields(list) {
		t.Setenv(name, "x")
	}
	var left []string
	for _, entry := range source.Environ() {
		if name, _, _ := strings.Cut(entry, "="); slices.Contains(strings.Fields(list), name) {
			left = append(left, name)
		}
	}
	require.ElementsMatch(t, []string{"GIT_CONFIG", "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT"}, left, "a newer git has another variable that names a repository")
}

// TestParentRepository checks that a folder does not get the commit of a parent repository
// that does not track it.
func TestParentRepository(t *testing.T) {
	above := sourcetest.New(t)
	sourcetest.Write(t, above, ".gitignore", "ignored/\n")
	sourcetest.Commit(t, above, "ignore")
	for name, content := range sourcetest.Files() {
		sourcetest.Write(t, above, "ignored/"+name, content)
		sourcetest.Write(t, above, "untracked/"+name, content)
	}
	tests := map[string]struct{ dir, want string }{
		"ignored there":            {"ignored", "tracks none of its files: add them with git add, or run git init there"},
		"a folder of what is":      {"ignored/api", "tracks none of its files"},
		"never added there":        {"untracked", "tracks none of its files"},
		"git's own folder":         {".git", "inside a .git folder: set --source to the work tree"},
		"a folder of git's folder": {".git/objects", "inside a .git folder"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tree := source.Tree{Dir: filepath.Join(above, tt.dir)}
			_, err := source.Open(t.Context(), tree.Dir)
			require.ErrorContains(t, err, tt.want)
			_, revisionErr := tree.Revision(t.Context())
			require.EqualError(t, revisionErr, err.Error())
			_, resolveErr := tree.Resolve(t.Context(), "")
			require.EqualError(t, resolveErr, err.Error())
			require.Equal(t, outcome.Usage, outcome.Of(err))
			require.NotContains(t, err.Error(), "\n")
		})
	}
	t.Run("added and not committed", func(t *testing.T) {
		sourcetest.Git(t, above, "add", "untracked")
		tree, err := source.Open(t.Context(), filepath.Join(above, "untracked"))
		require.NoError(t, err)
		_, err = tree.Revision(t.Context())
		require.ErrorContains(t, err, "commit first")
	})
}
