package source_test

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

func TestResolve(t *testing.T) {
	dir := sourcetest.New(t)
	sourcetest.Git(t, dir, "branch", "feature/x")
	sourcetest.Git(t, dir, "branch", "beef")
	sourcetest.Git(t, dir, "tag", "-am", "first", "v1.0.0")
	tree, err := source.Open(t.Context(), dir)
	require.NoError(t, err)
	head := strings.TrimSpace(sourcetest.Git(t, dir, "rev-parse", "HEAD"))
	blob := strings.TrimSpace(sourcetest.Git(t, dir, "rev-parse", "HEAD:web/nginx/nginx.conf"))
	elsewhere := strings.Repeat("0123456789", 4)

	tests := map[string]struct {
		sha  string
		want string
		err  string
	}{
		"HEAD":                {"", head, ""},
		"a full id":           {head, head, ""},
		"a commit git lacks":  {elsewhere, elsewhere, ""},
		"upper case":          {strings.ToUpper(head), head, ""},
		"a short id":          {head[:7], "", head[:7] + " is an abbreviated commit id: use the full id " + head},
		"all but one":         {head[:39], "", " is an abbreviated commit id: use the full id " + head},
		"an unknown short id": {"0123456", "", "unknown commit 0123456 (a shallow clone lacks older commits)"},
		"too short":           {head[:3], "", "unknown commit \"" + head[:3] + "\": use its full id"},
		"41 digits":           {head + "0", "", "unknown commit"},
		"a branch":            {"main", "", `"main" is not a commit id: use the id of the commit that it names now, ` + head},
		"a branch in digits":  {"beef", "", `"beef" is not a commit id: use the id of the commit that it names now, ` + head},
		"a branch's folder":   {"feature/x", "", `"feature/x" is not a commit id`},
		"a tag":               {"v1.0.0", "", "that it names now, " + head},
		"HEAD by name":        {"HEAD", "", "that it names now, " + head},
		"an unknown name":     {"nope", "", `unknown commit "nope": use its full id, 40 hexadecimal digits`},
		"a flag":              {"--help", "", `unknown commit "--help"`},
		"not a commit":        {blob[:12], "", "unknown commit " + blob[:12]},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := tree.Resolve(t.Context(), tt.sha)
			if tt.err == "" {
				require.NoError(t, err)
				require.Equal(t, tt.want, got)
				return
			}
			require.ErrorContains(t, err, tt.err)
			require.Equal(t, outcome.Usage, outcome.Of(err))
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestResolveAmbiguous(t *testing.T) {
	dir := sourcetest.New(t)
	tree, err := source.Open(t.Context(), dir)
	require.NoError(t, err)
	// Of some hundred commits two begin with the same four digits (the birthday
	// paradox), so commits are made until two do.
	head := strings.TrimSpace(sourcetest.Git(t, dir, "rev-parse", "HEAD"))
	seen := map[string]bool{head[:4]: true}
	for n := 0; ; n++ {
		id := strings.TrimSpace(sourcetest.Git(t, dir, "commit-tree", "-m", strconv.Itoa(n), head+"^{tree}"))
		if !seen[id[:4]] {
			seen[id[:4]] = true
			continue
		}
		_, err := tree.Resolve(t.Context(), id[:4])
		require.ErrorContains(t, err, "commit id "+id[:4]+" is ambiguous: use all 40 digits")
		require.Equal(t, outcome.Usage, outcome.Of(err))
		return
	}
}

func TestResolveWithoutCommit(t *testing.T) {
	dir := t.TempDir()
	sourcetest.Git(t, dir, "init", "-q")
	tree := source.Tree{Dir: dir}
	_, err := tree.Resolve(t.Context(), "")
	require.ErrorContains(t, err, "has no commit yet: commit first")
	require.Equal(t, outcome.Usage, outcome.Of(err))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = tree.Resolve(ctx, "")
	require.ErrorIs(t, err, context.Canceled)
	_, err = tree.Resolve(ctx, "main")
	require.ErrorIs(t, err, context.Canceled)
}
