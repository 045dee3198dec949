package workflow_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/exec/tool"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
	"github.com/slipway-cd/slipway/ci/test/workflow"
)

// fakeGo builds a program whose content is the platform and the flags.
const fakeGo = `#!/bin/sh
[ "$1" = list ] && { echo example.com/slipway/ci; exit 0; }
while [ $# -gt 0 ]; do
  case "$1" in -o) out=$2;; -ldflags=*) flags=$1;; esac
  shift
done
echo "$GOOS/$GOARCH $CGO_ENABLED $flags" >"$out"
`

// releaseTree creates a source tree with a changelog of v1.2.3.
func releaseTree(t *testing.T) string {
	dir := sourcetest.New(t)
	sourcetest.Write(t, dir, "CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n\n- next\n\n## [1.2.3] - 2026-01-31\n\n- third\n\n## [1.2.2]\n\n- second\n\n## [1.2.1]\n")
	sourcetest.Write(t, dir, "LICENSE", "license\n")
	sourcetest.Write(t, dir, "ci/go.mod", "module example.com/slipway/ci\n")
	sourcetest.Commit(t, dir, "release")
	return dir
}

// build runs release-build in a tree, with a go command that builds nothing.
func build(t *testing.T, tree, umask, version, to string) (output string, err error) {
	t.Helper()
	bin := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "go"), []byte(fakeGo), 0o755))
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `umask "$1" && exec "$2" "$3" "$4"`, "sh", umask, filepath.Join(root(), workflow.ReleaseSetup, "bin", "release-build"), version, to)
	cmd.Dir = tree
	cmd.Env = []string{"PATH=" + bin + ":/usr/bin:/bin", "HOME=" + bin, "TMPDIR=" + bin, "GITHUB_REPOSITORY=acme/tool"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestReleaseBuild builds a commit in two clones: the files are the same byte for byte, also
// with other permissions and times of the files.
func TestReleaseBuild(t *testing.T) {
	tree := releaseTree(t)
	clone := filepath.Join(t.TempDir(), "elsewhere")
	sourcetest.Git(t, tree, "clone", "--quiet", tree, clone)
	var all []map[string]string
	for _, of := range [][2]string{{tree, "022"}, {clone, "077"}} {
		to := filepath.Join(t.TempDir(), "release")
		out, err := build(t, of[0], of[1], "v1.2.3", to)
		require.NoError(t, err, out)
		found := map[string]string{}
		entries, err := os.ReadDir(to)
		require.NoError(t, err)
		for _, entry := range entries {
			content, err := os.ReadFile(filepath.Join(to, entry.Name()))
			require.NoError(t, err)
			found[entry.Name()] = string(content)
		}
		all = append(all, found)
	}
	require.Equal(t, all[0], all[1])
	made := all[0]
	require.Len(t, made, 9, "five archives, checksums, formula, notes and outputs")
	require.Equal(t, "- third", strings.TrimSpace(made["notes.md"]))
	require.Equal(t, 5, strings.Count(made["checksums.txt"], ".tar.gz\n"))
	require.Regexp(t, `^digest=[0-9a-f]{64}\n$`, made["outputs"])
	require.Contains(t, made["slipway.rb"], `url "https://github.com/acme/tool/releases/download/v1.2.3/slipway_1.2.3_darwin_arm64.tar.gz"`)
	require.NotContains(t, made["slipway.rb"], `sha256 ""`)
	archive := filepath.Join(t.TempDir(), "a.tar.gz")
	require.NoError(t, os.WriteFile(archive, []byte(made["slipway_1.2.3_windows_amd64.tar.gz"]), 0o600))
	program, err := exec.CommandContext(t.Context(), "tar", "-xzOf", archive, "slipway.exe").Output()
	require.NoError(t, err)
	require.Equal(t, "windows/amd64 0 -ldflags=-s -w -buildid= -X example.com/slipway/ci/internal/version.release=v1.2.3\n", string(program))
}

func TestReleaseBuildRefuses(t *testing.T) {
	tree := releaseTree(t)
	full := t.TempDir()
	sourcetest.Write(t, full, "old", "x")
	for version, want := range map[string]string{
		"1.2.3":  `invalid version "1.2.3": want a tag like v1.2.3`,
		"v1.2":   `invalid version "v1.2"`,
		"v1.2.4": `CHANGELOG.md has no section "## [1.2.4] - DATE" with notes: write it, and move the tag`,
		"v1.2.1": `CHANGELOG.md has no section "## [1.2.1] - DATE" with notes`,
	} {
		out, err := build(t, tree, "022", version, filepath.Join(t.TempDir(), "release"))
		require.Error(t, err)
		require.Equal(t, 1, strings.Count(out, "\n"), out)
		require.Contains(t, out, "release-build: "+want)
	}
	out, err := build(t, tree, "022", "v1.2.3", full)
	require.Error(t, err)
	require.Contains(t, out, "is not empty")
	sourcetest.Write(t, tree, "LICENSE", "changed\n")
	out, err = build(t, tree, "022", "v1.2.3", filepath.Join(t.TempDir(), "release"))
	require.Error(t, err)
	require.Contains(t, out, "files differ from the commit")
}

// recordGo is a go command that records its arguments, and prints a digest as crane does.
const recordGo = `#!/bin/sh
[ "$1" = list ] && { echo v0.99.0; exit 0; }
echo "$@" >>"$CALLS"
[ "$1" = run ] && echo registry@sha256:0
true
`

// TestReleaseTools: the scripts run the versions that the pipeline pins, which they read from
// its files.
func TestReleaseTools(t *testing.T) {
	pinned := tool.Syft.Install + tool.Cosign.Install
	lock, err := os.ReadFile(filepath.Join(root(), "ci", "images.lock.json"))
	require.NoError(t, err)
	dir, bin := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "go"), []byte(recordGo), 0o755))
	for _, arch := range []string{"amd64", "arm64"} {
		sourcetest.Write(t, dir, "slipway", arch)
		require.NoError(t, exec.CommandContext(t.Context(), "tar", "-C", dir, "-czf", filepath.Join(dir, "slipway_1.2.3_linux_"+arch+".tar.gz"), "slipway").Run())
		sourcetest.Write(t, dir, "slipway_1.2.3_linux_"+arch+".spdx.json", "{}") // of syft
	}
	sourcetest.Write(t, dir, "slipway.rb", "")
	sourcetest.Write(t, dir, "outputs", "")
	calls := filepath.Join(bin, "calls")
	for _, args := range [][]string{{"release-sign", dir}, {"release-image", "v1.2.3", dir}} {
		cmd := exec.CommandContext(t.Context(), filepath.Join(root(), workflow.ReleaseSetup, "bin", args[0]), args[1:]...)
		cmd.Env = []string{"PATH=" + bin + ":/usr/bin:/bin", "TMPDIR=" + bin, "CALLS=" + calls, "GITHUB_REPOSITORY=Acme/Tool", "GITHUB_ACTOR=x", "REGISTRY_TOKEN=y"}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	recorded, err := os.ReadFile(calls)
	require.NoError(t, err)
	for _, program := range []string{"github.com/anchore/syft/cmd/syft", "github.com/sigstore/cosign/v3/cmd/cosign"} {
		version := regexp.MustCompile(regexp.QuoteMeta(program) + `@(v[0-9.]+)`).FindStringSubmatch(pinned)
		require.NotNil(t, version, program)
		require.Contains(t, string(recorded), "run "+program+"@"+version[1]+" ")
	}
	require.Contains(t, string(recorded), "scan file:slipway_1.2.3_linux_arm64.tar.gz --quiet --output=spdx-json=slipway_1.2.3_linux_arm64.spdx.json --source-name=slipway --source-version=v1.2.3\n")
	base := regexp.MustCompile(`"reference": "(docker\.io/library/golang:[^"]+)"`).FindSubmatch(lock)
	require.NotNil(t, base)
	require.Regexp(t, `run github\.com/google/go-containerregistry/cmd/crane@v0\.99\.0 append --platform=linux/amd64 --base=`+regexp.QuoteMeta(string(base[1]))+`(@sha256:[0-9a-f]{64})? `, string(recorded))
	require.Contains(t, string(recorded), "--new_tag=ghcr.io/acme/tool:v1.2.3-arm64")
	require.NotContains(t, string(recorded), "@ ", "every tool has a version")
	sums, err := os.ReadFile(filepath.Join(dir, "checksums.txt"))
	require.NoError(t, err)
	require.Equal(t, 5, strings.Count(string(sums), "\n"), "archives, bills of materials and the formula")
}
