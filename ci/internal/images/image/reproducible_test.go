package image_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// buildHere is the environment variable with a tree. A process of this test that
// has it builds the tree's images and prints their digests instead of running
// tests, for the platforms of buildFor, if that is set.
const (
	buildHere = "SLIPWAY_TEST_BUILD"
	buildFor  = "SLIPWAY_TEST_BUILD_FOR"
)

// buildAndPrint is the main function of such a process.
func buildAndPrint(ctx context.Context, dir string) error {
	tree, err := source.Open(ctx, dir)
	if err != nil {
		return err
	}
	p, err := platform.Load(dir)
	if err != nil {
		return err
	}
	lock, err := image.ReadLock(dir)
	if err != nil {
		return err
	}
	platforms, err := image.ParsePlatforms(strings.Fields(os.Getenv(buildFor)))
	if err != nil {
		return err
	}
	images, err := image.Builder{Source: tree, Lock: lock, Exec: step.Host{Source: dir}, Platforms: platforms, Offline: true}.Build(ctx, p.Services)
	if err != nil {
		return err
	}
	var digests []map[string]string
	for _, img := range images {
		manifest, err := img.Index.IndexManifest()
		if err != nil {
			return err
		}
		index, err := img.Digest()
		if err != nil {
			return err
		}
		of := map[string]string{"index": index.String()}
		for _, m := range manifest.Manifests {
			of[m.Platform.String()] = m.Digest.String()
		}
		digests = append(digests, of)
	}
	return json.NewEncoder(os.Stdout).Encode(digests)
}

// smallServer does not use the standard library, so that it compiles quickly with
// an empty cache.
const smallServer = `package main

import _ "embed"

//go:embed page.html
var page string

func main() { print(page) }
`

// TestReproducible builds clones of one commit in separate processes that differ in
// everything that differs between machines.
func TestReproducible(t *testing.T) {
	origin := sourcetest.New(t)
	sourcetest.Write(t, origin, "api/main.go", smallServer)
	sourcetest.Write(t, origin, "api/page.html", "<p>one\n<p>two\n")
	sourcetest.Write(t, origin, ".gitattributes", "* -text\n")
	sourcetest.Commit(t, origin, "small")
	program, err := os.Executable()
	require.NoError(t, err)
	goCache := goEnv(t, "GOCACHE")

	strange := filepath.Join(t.TempDir(), "goenv")
	require.NoError(t, os.WriteFile(strange, []byte("GOAMD64=v3\nGOEXPERIMENT=nogreenteagc\nGOFLAGS=-tags=other\nGOFIPS140=latest\n"), 0o600))
	conditions := map[string]struct {
		clone []string // options of git clone
		wrap  func(t *testing.T, dir string) []string
		env   []string
		only  string // a platform
	}{
		"as it comes": {},
		"another locale, another time zone, one core": {
			env: []string{"LC_ALL=tr_TR.UTF-8", "LANGUAGE=tr", "TZ=Pacific/Kiritimati", "GOMAXPROCS=1"},
		},
		"line endings converted by git": {clone: []string{"-c", "core.autocrlf=true"}},
		"another Go environment": {env: []string{
			"GOENV=" + strange, "GOFLAGS=-buildvcs=true -trimpath=false -ldflags=-X=main.page=other", "GOAMD64=v4", "GOARM64=v9.0", "CGO_ENABLED=1",
			"GOWORK=/nonexistent/go.work", "GO111MODULE=off", "GOOS=windows", "GODEBUG=asyncpreemptoff=1", "GO_EXTLINK_ENABLED=1", "GOPATH=/nonexistent",
			"GOMODCACHE=" + t.TempDir(),
		}},
		// Its empty cache makes it compile the runtime: ten seconds of CPU time for each platform.
		"another user, home, cache, temporary folder and umask": {wrap: commandAsOtherUser, only: "linux/amd64"},
	}
	want := []map[string]string{{}, {}} // digests by platform, of each image
	for name, c := range conditions {
		t.Run(name, func(t *testing.T) {
			clone := filepath.Join(t.TempDir(), strings.Repeat("deep/", len(name)%5), "clone of it")
			sourcetest.Git(t, "", append(append([]string{"clone", "-q"}, c.clone...), origin, clone)...)
			touchAll(t, clone)
			command := []string{program}
			env := append(os.Environ(), buildHere+"="+clone, buildFor+"="+c.only, "GOCACHE="+goCache)
			if c.wrap != nil {
				command = c.wrap(t, clone)
				env = append(env, "GOCACHE=") // its home has none
			}
			cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
			cmd.Env = slices.Concat(env, c.env)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			require.NoError(t, err, stderr.String())
			var got []map[string]string
			require.NoError(t, json.Unmarshal(out, &got))
			require.Len(t, got, 2)
			for n, digests := range got {
				if c.only != "" {
					delete(digests, "index") // of one platform
					require.Contains(t, digests, c.only)
					require.Len(t, digests, 1)
				} else {
					require.ElementsMatch(t, []string{"index", "linux/amd64", "linux/arm64"}, slices.Collect(maps.Keys(digests)))
				}
				for key, digest := range digests {
					if want[n][key] == "" {
						want[n][key] = digest
					}
					require.Equal(t, want[n][key], digest, key)
				}
			}
		})
	}
}

// commandAsOtherUser returns the command that runs this test's program with its own home,
// temporary directory and umask and, if possible, as another user, who becomes the
// owner of dir.
func commandAsOtherUser(t *testing.T, dir string) []string {
	const nobody = 65534
	home := t.TempDir()
	program := filepath.Join(home, "program")
	self, err := os.Executable()
	require.NoError(t, err)
	content, err := os.ReadFile(self)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, content, 0o755))
	temporary := filepath.Join(home, "tmp")
	require.NoError(t, os.Mkdir(temporary, 0o777))
	script := fmt.Sprintf(`umask 077; HOME=%q TMPDIR=%q XDG_CACHE_HOME= XDG_CONFIG_HOME= exec %q`, home, temporary, program)
	setpriv, err := exec.LookPath("setpriv")
	if os.Getuid() != 0 || err != nil {
		t.Log("not as another user: that takes root, and setpriv of util-linux")
		return []string{"sh", "-c", script}
	}
	for _, top := range []string{home, dir} {
		for folder := top; folder != os.TempDir() && folder != "/"; folder = filepath.Dir(folder) {
			require.NoError(t, os.Chmod(folder, 0o755)) // t.TempDir is for its own user alone
		}
		require.NoError(t, filepath.WalkDir(top, func(name string, _ os.DirEntry, err error) error {
			require.NoError(t, err)
			return os.Lchown(name, nobody, nobody)
		}))
	}
	id := strconv.Itoa(nobody)
	return []string{setpriv, "--reuid", id, "--regid", id, "--clear-groups", "sh", "-c", script}
}

// touchAll changes the time of every file of a tree.
func touchAll(t *testing.T, dir string) {
	t.Helper()
	then := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
	require.NoError(t, filepath.WalkDir(dir, func(name string, entry os.DirEntry, err error) error {
		if err == nil && entry.Name() == ".git" {
			return filepath.SkipDir
		}
		require.NoError(t, err)
		then = then.Add(time.Hour)
		return os.Chtimes(name, then, then)
	}))
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

// TestConvertedLineEndings: a tree whose line endings git converted would give
// other digests.
func TestConvertedLineEndings(t *testing.T) {
	origin := sourcetest.New(t)
	clone := filepath.Join(t.TempDir(), "clone")
	sourcetest.Git(t, "", "clone", "-q", "-c", "core.autocrlf=true", origin, clone)
	p, err := platform.Load(clone)
	require.NoError(t, err)
	for _, service := range p.Services {
		_, err := builder(t, clone).Build(t.Context(), []platform.Service{service})
		require.Equal(t, outcome.Usage, outcome.Of(err), err)
		require.ErrorContains(t, err, "git converted the line endings of "+service.Path+"/")
		require.ErrorContains(t, err, `put "* -text" in .gitattributes`)
	}
	own := smallTree(t)
	sourcetest.Write(t, own, "web/nginx/nginx.conf", "events {}\r\n")
	build(t, builder(t, own)) // somebody's own change
}
