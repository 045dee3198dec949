package version

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/modfile"

	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

const commit = "4d91040c9a3e0f5d1f6c2a7b8e9d0c1b2a3f4e5d"

func built(settings ...debug.BuildSetting) *debug.BuildInfo {
	return &debug.BuildInfo{Settings: settings}
}

// installed is the build of a version of the module.
func installed(version string, settings ...debug.BuildSetting) *debug.BuildInfo {
	build := built(settings...)
	build.Main.Version = version
	return build
}

func TestOfABuild(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	tests := map[string]struct {
		build *debug.BuildInfo
		want  Info
		text  string
	}{
		"clean": {
			built(debug.BuildSetting{Key: "vcs.revision", Value: commit}, debug.BuildSetting{Key: "vcs.time", Value: "2026-03-04T05:06:07Z"}, debug.BuildSetting{Key: "vcs.modified", Value: "false"}),
			Info{Version: "4d91040c9a3e", Commit: commit, CommittedAt: &at},
			"slipway 4d91040c9a3e (commit " + commit + " of 2026-03-04, ",
		},
		"with changes": {
			built(debug.BuildSetting{Key: "vcs.revision", Value: commit}, debug.BuildSetting{Key: "vcs.modified", Value: "true"}),
			Info{Version: "4d91040c9a3e-dirty", Commit: commit, Modified: true},
			"slipway 4d91040c9a3e-dirty (commit " + commit + ", ",
		},
		"at a tag": {
			installed("v1.2.3", debug.BuildSetting{Key: "vcs.revision", Value: commit}, debug.BuildSetting{Key: "vcs.modified", Value: "false"}),
			Info{Version: "v1.2.3", Commit: commit},
			"slipway v1.2.3 (commit " + commit + ", ",
		},
		"at a tag with changes": {
			installed("v1.2.3+dirty", debug.BuildSetting{Key: "vcs.revision", Value: commit}, debug.BuildSetting{Key: "vcs.modified", Value: "true"}),
			Info{Version: "4d91040c9a3e-dirty", Commit: commit, Modified: true},
			"slipway 4d91040c9a3e-dirty (",
		},
		"after a tag": {
			installed("v1.2.4-0.20260304050607-4d91040c9a3e", debug.BuildSetting{Key: "vcs.revision", Value: commit}, debug.BuildSetting{Key: "vcs.modified", Value: "false"}),
			Info{Version: "4d91040c9a3e", Commit: commit},
			"slipway 4d91040c9a3e (",
		},
		"installed":             {installed("v1.2.3"), Info{Version: "v1.2.3"}, "slipway v1.2.3 (go"},
		"installed by a commit": {installed("v1.2.4-0.20260304050607-4d91040c9a3e"), Info{Version: "v1.2.4-0.20260304050607-4d91040c9a3e"}, "slipway v1.2.4-0.20260304050607-4d91040c9a3e (go"},
		"go run":                {installed("(devel)"), Info{Version: Devel}, "slipway devel (go"},
		"unknown":               {built(debug.BuildSetting{Key: "vcs.time", Value: "yesterday"}), Info{Version: Devel}, "slipway devel (go"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.want.Go, tt.want.Platform = runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH
			got := fromBuildInfo(tt.build)
			got.setVersion()
			require.Equal(t, tt.want, got)
			var text, document, markdown bytes.Buffer
			require.NoError(t, got.Text(&text))
			require.Contains(t, text.String(), tt.text)
			require.Contains(t, text.String(), got.Go+", "+got.Platform+")\n")
			require.NoError(t, got.Markdown(&markdown))
			require.Contains(t, markdown.String(), "`"+got.Version+"`")
			require.NoError(t, got.JSON(&document))
			var read Info
			require.NoError(t, json.Unmarshal(document.Bytes(), &read))
			require.Equal(t, got, read)
		})
	}
}

// TestReadAsksTheTree: under go test, as under go run, the program has no commit
// of its own.
func TestReadAsksTheTree(t *testing.T) {
	dir := sourcetest.New(t)
	require.Equal(t, Devel, Read(t.Context(), dir).Version, "another tree is not this program's source")

	sourcetest.Write(t, dir, "ci/cmd/slipway/main.go", "package main\n")
	sourcetest.Commit(t, dir, "the program")
	clean := Read(t.Context(), dir)
	require.Regexp(t, "^[0-9a-f]{40}$", clean.Commit)
	require.Equal(t, clean.Commit[:12], clean.Version)
	require.WithinDuration(t, time.Now(), *clean.CommittedAt, time.Hour)

	sourcetest.Write(t, dir, "ci/cmd/slipway/main.go", "package main // changed\n")
	require.Equal(t, clean.Commit[:12]+"-dirty", Read(t.Context(), dir).Version)

	bare := t.TempDir()
	t.Setenv("GIT_CEILING_DIRECTORIES", bare)
	sourcetest.Write(t, bare, "ci/cmd/slipway/main.go", "package main\n")
	require.Equal(t, Devel, Read(t.Context(), bare).Version, "not a git tree")
}

// TestModuleCanBeInstalled checks what go install refuses of a module, and what dagger
// develop adds.
func TestModuleCanBeInstalled(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(sourcetest.Root("ci/go.mod"), "ci", "go.mod"))
	require.NoError(t, err)
	file, err := modfile.Parse("ci/go.mod", data, nil)
	require.NoError(t, err)
	require.Empty(t, file.Replace, "after dagger develop: git checkout ci/go.mod ci/go.sum")
	require.Empty(t, file.Exclude)
}
