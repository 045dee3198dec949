package source_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// TestGitCallCount checks that the number of git processes does not grow with the files.
func TestGitCallCount(t *testing.T) {
	dir := sourcetest.New(t)
	var names []string
	for n := range 60 {
		name := fmt.Sprintf("web/site/%d.txt", n)
		sourcetest.Write(t, dir, name, fmt.Sprintf("%d\r\n", n))
		names = append(names, name)
	}
	sourcetest.Write(t, dir, ".gitattributes", "*.txt text eol=crlf\n")
	sourcetest.Commit(t, dir, "pages")
	git, err := exec.LookPath("git")
	require.NoError(t, err)
	bin, log := t.TempDir(), filepath.Join(t.TempDir(), "log")
	script := fmt.Sprintf("#!/bin/sh\necho \"$@\" >> %q\nexec %q \"$@\"\n", log, git)
	require.NoError(t, os.WriteFile(filepath.Join(bin, "git"), []byte(script), 0o755))
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	check := func() error {
		t.Helper()
		require.NoError(t, os.WriteFile(log, nil, 0o600))
		held, err := source.Tree{Dir: dir}.CommittedFiles(t.Context(), "web")
		require.NoError(t, err)
		checked := held.Check(t.Context(), names, true)
		calls, err := os.ReadFile(log)
		require.NoError(t, err)
		require.Less(t, strings.Count(string(calls), "\n"), 15)
		return checked
	}
	require.NoError(t, check(), "every file is what git writes of the commit")
	for _, name := range names {
		require.NoError(t, os.Remove(filepath.Join(dir, filepath.FromSlash(name))))
	}
	require.ErrorContains(t, check(), "web/site/0.txt (and 59 more) is in the commit but missing in the work tree (git status)")
}

// TestCheck names the file that differs from the commit, and the fix.
func TestCheck(t *testing.T) {
	const file = "web/site/it's.txt"
	git := func(args ...string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { t.Helper(); sourcetest.Git(t, dir, args...) }
	}
	write := func(name, content string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { t.Helper(); sourcetest.Write(t, dir, name, content) }
	}
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { t.Helper(); require.NoError(t, os.Remove(filepath.Join(dir, name))) }
	}
	link := func(target, name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			require.NoError(t, os.Symlink(target, filepath.Join(dir, name)))
		}
	}
	commit := func(t *testing.T, dir string) { t.Helper(); sourcetest.Commit(t, dir, "change") }
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("0", 64) + "\nsize 3\n"
	for name, tt := range map[string]struct {
		steps []func(*testing.T, string)
		names []string
		want  string // "" if nothing differs
	}{
		"as committed": {nil, []string{file, "web/site/index.html", "../outside"}, ""},
		"changed":      {[]func(*testing.T, string){write(file, "2")}, []string{file}, `it's.txt differs from the commit (git status): commit it, or rm -f 'web/site/it'\''s.txt' && git checkout HEAD -- `},
		"ignored":      {[]func(*testing.T, string){write("web/site/x.log", "")}, []string{"web/site/x.log"}, "web/site/x.log is part of the image but ignored by git, so no commit contains it: git add -f web/site/x.log"},
		"untracked":    {[]func(*testing.T, string){write("web/site/x.txt", "")}, []string{"web/site/x.txt"}, "is part of the image but not in the commit: git add it and commit"},
		"staged":       {[]func(*testing.T, string){write("web/site/x.txt", ""), git("add", "-A")}, []string{"web/site/x.txt"}, "is not in the commit: commit it"},
		"assume-unchanged": {
			[]func(*testing.T, string){git("update-index", "--assume-unchanged", file), write(file, "2")},
			[]string{file},
			"(marked assume-unchanged in git): git update-index --no-assume-unchanged ",
		},
		"skip-worktree": {
			[]func(*testing.T, string){git("update-index", "--skip-worktree", file), remove(file)},
			[]string{file},
			"is in the commit but missing in the work tree (marked skip-worktree in git): git update-index --no-skip-worktree ",
		},
		"sparse checkout": {[]func(*testing.T, string){git("sparse-checkout", "set", "api")}, []string{file}, "(excluded by a sparse checkout): git sparse-checkout disable"},
		"link replaced":   {[]func(*testing.T, string){link("index.html", "web/site/link"), commit, remove("web/site/link"), write("web/site/link", "")}, []string{"web/site/link"}, "is a symbolic link in the commit but not in the work tree: git config core.symlinks true"},
		"another link":    {[]func(*testing.T, string){link("index.html", "web/site/link"), commit, remove("web/site/link"), link("other", "web/site/link")}, []string{"web/site/link"}, "points to another target than in the commit (git status)"},
		"file replaced":   {[]func(*testing.T, string){remove(file), link("index.html", file)}, []string{file}, "is a regular file in the commit but not in the work tree"},
		"unknown filter":  {[]func(*testing.T, string){write(".gitattributes", "*.txt filter=gone\n"), commit, git("update-index", "--assume-unchanged", file), write(file, "2")}, []string{file}, "has filter=gone in .gitattributes, but git has no such filter: configure it (git config filter.gone.smudge), then run rm -f "},
		"failing filter": {[]func(*testing.T, string){
			write(".gitattributes", "*.txt filter=bad\n"), commit, git("config", "filter.bad.smudge", "false"), write(file, "2"),
		}, []string{file}, "cannot be compared with the commit, because filter=bad fails: "},
		"a Git LFS pointer": {[]func(*testing.T, string){write(".gitattributes", "*.txt filter=lfs\n"), write(file, pointer), commit}, []string{file}, "is a Git LFS pointer in the work tree, not the file itself"},
		"another object":    {[]func(*testing.T, string){write(".gitattributes", "*.txt filter=lfs\n"), write(file, pointer), commit, write(file, "abc")}, []string{file}, "differs from the commit's Git LFS object"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := sourcetest.New(t)
			sourcetest.Write(t, dir, file, "1")
			commit(t, dir)
			for _, step := range tt.steps {
				step(t, dir)
			}
			held, err := source.Tree{Dir: dir}.CommittedFiles(t.Context(), "web")
			require.NoError(t, err)
			err = held.Check(t.Context(), tt.names, true)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, outcome.Usage, outcome.Of(err))
		})
	}
}

// TestCommittedSubmodules lists the files of a submodule, and notices one that is not
// checked out or at another commit.
func TestCommittedSubmodules(t *testing.T) {
	dir, theme := sourcetest.New(t), sourcetest.New(t)
	sourcetest.Git(t, dir, "-c", "protocol.file.allow=always", "submodule", "add", "-q", theme, "web/site/theme")
	sourcetest.Commit(t, dir, "theme")
	tree := source.Tree{Dir: dir}
	require.NoError(t, tree.CheckComplete(t.Context(), "web"))
	list := func() []source.File {
		held, err := tree.CommittedFiles(t.Context(), "web")
		require.NoError(t, err)
		files, err := held.In("web/site")
		require.NoError(t, err)
		return files
	}
	require.Contains(t, list(), source.File{Name: "theme/web/site/index.html", Tracked: true, Exists: true})
	require.NoError(t, os.Remove(filepath.Join(dir, "web/site/index.html")))
	require.Contains(t, list(), source.File{Name: "index.html", Tracked: true})
	sourcetest.Git(t, dir, "checkout", "--", ".")

	nested := filepath.Join(dir, "web/site/theme")
	sourcetest.Write(t, nested, "more.txt", "")
	sourcetest.Commit(t, nested, "more")
	held, err := tree.CommittedFiles(t.Context(), "web")
	require.NoError(t, err)
	require.ErrorContains(t, held.Check(t.Context(), []string{"web/site/theme/more.txt"}, true), "web/site/theme is a submodule at commit ")

	sourcetest.Git(t, dir, "submodule", "deinit", "-q", "-f", "web/site/theme")
	require.Contains(t, list(), source.File{Name: "theme", Tracked: true, Submodule: true})
	require.ErrorContains(t, tree.CheckComplete(t.Context(), "web"), "web/site/theme is a submodule that is not checked out: git submodule update --init web/site/theme")
}
