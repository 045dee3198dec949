package source_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
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

func TestOpenErrors(t *testing.T) {
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

// A tree arrives in a container without what lies outside of it: the repository of a
// linked worktree or of a submodule, and the objects that a clone borrows.
func TestTreeWithoutItsRepository(t *testing.T) {
	dir := sourcetest.New(t)
	arrived := func(made ...string) source.Tree {
		t.Helper()
		there := filepath.Join(t.TempDir(), "there")
		sourcetest.Git(t, dir, append(made, there)...)
		here := t.TempDir()
		require.NoError(t, os.CopyFS(here, os.DirFS(there)))
		require.NoError(t, os.RemoveAll(there))
		return source.Tree{Dir: here}
	}
	tree := arrived("worktree", "add", "-q", "--detach")
	sourcetest.Git(t, dir, "worktree", "prune")
	_, err := source.Open(t.Context(), tree.Dir)
	require.ErrorContains(t, err, "linked worktree")
	require.ErrorContains(t, err, "git clone . DIR")
	require.Equal(t, outcome.Usage, outcome.Of(err))

	tree = arrived("clone", "-q", "--shared", ".")
	sourcetest.Write(t, tree.Dir, ".git/objects/info/alternates", "/nowhere\n")
	_, err = tree.Revision(t.Context())
	require.ErrorContains(t, err, "lacks its own commit")
	require.Equal(t, outcome.Usage, outcome.Of(err))
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

func TestDisplay(t *testing.T) {
	tests := map[string]struct{ name, want string }{
		"plain":           {"site/index.html", "site/index.html"},
		"another script":  {"漢字.html", "漢字.html"},
		"a line break":    {"a\nb", `"a\nb"`},
		"a tabulator":     {"a\tb", `"a\tb"`},
		"no UTF-8":        {"a\xff", `"a\xff"`},
		"very long":       {strings.Repeat("a", 300) + strings.Repeat("z", 300), strings.Repeat("a", 100) + "…" + strings.Repeat("z", 100)},
		"cut in a letter": {strings.Repeat("a", 99) + "漢" + strings.Repeat("z", 300), strings.Repeat("a", 99) + "…" + strings.Repeat("z", 100)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { require.Equal(t, tt.want, source.Display(tt.name)) })
	}
}

func TestConvertedLineEndings(t *testing.T) {
	tests := map[string]struct {
		config, attributes, edited, want string
	}{
		"nothing is converted":         {"false", "", "", ""},
		"by the user's settings":       {"true", "", "", "index.html"},
		"not where attributes say":     {"true", "* -text\n", "", ""},
		"everywhere":                   {"true", "*.html text eol=crlf\n*.css -text\n", "", ""},
		"somebody edited it":           {"false", "", "a\r\n", ""},
		"edited against the attribute": {"true", "* -text\n", "a\r\n", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			origin := sourcetest.New(t)
			require.NoError(t, os.RemoveAll(filepath.Join(origin, "web/site")))
			sourcetest.Write(t, origin, "web/site/index.html", "a\nb\n")
			sourcetest.Write(t, origin, "web/site/unix.css", "a\n")
			if tt.attributes == "" {
				sourcetest.Write(t, origin, ".gitattributes", "*.css -text\n")
			} else {
				sourcetest.Write(t, origin, ".gitattributes", tt.attributes)
			}
			sourcetest.Commit(t, origin, "files")
			clone := filepath.Join(t.TempDir(), "clone")
			sourcetest.Git(t, "", "clone", "-q", "-c", "core.autocrlf="+tt.config, origin, clone)
			if tt.edited != "" {
				sourcetest.Write(t, clone, "web/site/index.html", tt.edited)
			}
			got, err := source.Tree{Dir: clone}.ConvertedLineEndings(t.Context(), "web/site")
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
	_, err := source.Tree{Dir: t.TempDir()}.ConvertedLineEndings(t.Context(), ".")
	require.ErrorContains(t, err, "running git")
}
