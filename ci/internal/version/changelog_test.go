package version

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/semver"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

const text = `# Changelog

## [Unreleased]

- next

## [1.10.0] - 2026-03-04

- tenth

### Fixed

- more

## [1.9.0]

## v1.9.1 - 2026-02-01
- patch
`

func TestParseChangelog(t *testing.T) {
	all := parseChangelog(text)
	require.Equal(t, Releases{{"v1.10.0", "- tenth\n\n### Fixed\n\n- more"}, {"v1.9.1", "- patch"}, {"v1.9.0", ""}}, all)
	require.Equal(t, "v1.10.0", all.Newest())
	require.Equal(t, all[:2], all.Between("v1.9.0", "v1.10.0"))
	require.Empty(t, all.Between("v1.10.0", "v1.9.0"))
	require.Empty(t, Releases{}.Newest())
}

// TestChangelog checks that the embedded changelog is that of the repository.
func TestChangelog(t *testing.T) {
	data, err := os.ReadFile(sourcetest.Repository("CHANGELOG.md"))
	require.NoError(t, err)
	require.Equal(t, string(data), changelog, "run cp CHANGELOG.md ci/internal/version/changelog.txt")
	for _, c := range Changelog() {
		require.True(t, semver.IsValid(c.Version), c.Version)
	}
}

func TestResolve(t *testing.T) {
	known := parseChangelog(text)
	exists := func(found bool, err error) func(context.Context, string) (bool, error) {
		return func(context.Context, string) (bool, error) { return found, err }
	}
	for name, tt := range map[string]struct {
		of    Resolver
		named string
		want  string
		err   string
	}{
		"that of the build":        {Resolver{Own: "v1.9.1", Known: known}, "", "v1.9.1", ""},
		"the newest that is known": {Resolver{Known: known}, "", "v1.10.0", ""},
		"none":                     {Resolver{}, "", "", "this build of slipway is no release and knows none: name a version with --to, or go install github.com/slipway-cd/slipway/ci/cmd/slipway@latest"},
		"a known one":              {Resolver{Known: known}, "v1.9.0", "v1.9.0", ""},
		"its own":                  {Resolver{Own: "v2.0.0"}, "v2.0.0", "v2.0.0", ""},
		"one that exists":          {Resolver{Known: known, Exists: exists(true, nil)}, "v3.0.0", "v3.0.0", ""},
		"one that does not exist":  {Resolver{Own: "v1.10.0", Known: known, Exists: exists(false, nil)}, "v3.0.0", "", "version v3.0.0 does not exist in github.com/slipway-cd/slipway: leave out --to for v1.10.0"},
		"no network":               {Resolver{Known: known, Exists: exists(false, errors.New("no\nroute"))}, "v3.0.0", "", "version v3.0.0 is not in the changelog of this slipway (newest: v1.10.0), and github.com/slipway-cd/slipway cannot be asked for it: no route: go install github.com/slipway-cd/slipway/ci/cmd/slipway@v3.0.0, and run that one"},
		"no version":               {Resolver{Known: known}, "1.9.0", "", `invalid --to "1.9.0": want a version like v1.2.3`},
		"a short version":          {Resolver{Known: known}, "v1.9", "", `invalid --to "v1.9": want a version like v1.2.3`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tt.of.Resolve(t.Context(), "--to", tt.named)
			require.Equal(t, tt.want, got)
			if tt.err != "" {
				require.EqualError(t, err, tt.err)
				require.Equal(t, outcome.Usage, outcome.Of(err))
			} else {
				require.NoError(t, err)
			}
		})
	}
}

func TestRelease(t *testing.T) {
	require.Empty(t, Release(), "a test is no release")
	require.Empty(t, NewResolver().Own)
	release = "v1.2.3"
	t.Cleanup(func() { release = "" })
	require.Equal(t, "v1.2.3", Release())
	info := Read(t.Context(), sourcetest.Root("ci/go.mod"))
	require.Equal(t, "v1.2.3", info.Version)
	require.Empty(t, info.Commit, "the tree in the current directory is not what a release was built from")
}
