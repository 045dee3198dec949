package source_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

func TestChanged(t *testing.T) {
	dir := sourcetest.New(t)
	git := func(args ...string) string { return strings.TrimSpace(sourcetest.Git(t, dir, args...)) }
	first := git("rev-parse", "HEAD")
	sourcetest.Write(t, dir, "web/site/café and tea.html", "x")
	git("mv", "web/site/css/style.css", "web/site/css/main.css")
	sourcetest.Commit(t, dir, "second")
	second := git("rev-parse", "HEAD")

	git("checkout", "-q", "-b", "side", first)
	sourcetest.Write(t, dir, "api/more.go", "package main\n")
	sourcetest.Commit(t, dir, "side")
	side := git("rev-parse", "HEAD")
	git("checkout", "-q", "main")
	git("merge", "-q", "--no-ff", "-m", "merge", "side")

	tests := map[string]struct {
		since string
		want  []string
		known bool
	}{
		"a merge, since the branch before it": {second, []string{"api/more.go"}, true},
		"a merge, since what was merged":      {side, []string{"web/site/café and tea.html", "web/site/css/main.css", "web/site/css/style.css"}, true},
		"several commits":                     {first, []string{"api/more.go", "web/site/café and tea.html", "web/site/css/main.css", "web/site/css/style.css"}, true},
		"nothing":                             {git("rev-parse", "HEAD"), nil, true},
		"a first push":                        {strings.Repeat("0", 40), nil, false},
		"no commit named":                     {"", nil, false},
		"a commit that is gone":               {strings.Repeat("ab", 20), nil, false},
		"a tree":                              {git("rev-parse", "HEAD^{tree}"), nil, false},
		"a flag":                              {"--output=x", nil, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			files, known, err := source.Tree{Dir: dir}.Changed(t.Context(), tt.since)
			require.NoError(t, err)
			require.Equal(t, tt.known, known)
			require.Equal(t, tt.want, files)
		})
	}

	t.Run("a shallow clone", func(t *testing.T) {
		clone := filepath.Join(t.TempDir(), "clone")
		git("clone", "-q", "--depth=1", "file://"+dir, clone)
		_, known, err := source.Tree{Dir: clone}.Changed(t.Context(), second)
		require.NoError(t, err)
		require.False(t, known)
	})
	t.Run("a clone without trees, whose origin is gone", func(t *testing.T) {
		git("config", "uploadpack.allowFilter", "true")
		clone := filepath.Join(t.TempDir(), "clone")
		git("clone", "-q", "--filter=tree:0", "file://"+dir, clone)
		sourcetest.Git(t, clone, "remote", "set-url", "origin", "file:///nowhere")
		_, known, err := source.Tree{Dir: clone}.Changed(t.Context(), first)
		require.NoError(t, err)
		require.False(t, known)
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, _, err := source.Tree{Dir: dir}.Changed(ctx, second)
		require.ErrorIs(t, err, context.Canceled)
	})
}
