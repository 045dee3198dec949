package source_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/config/source"
	"dagger/slipway/internal/sourcetest"
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
