package gotest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/check/coverage"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
)

var errFull = errors.New("no space left on device")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

// played is an executor that returns a given result.
type played func(s step.Step, dir string) (step.Result, error)

func (p played) Run(_ context.Context, s step.Step, dir string) (step.Result, error) {
	return p(s, dir)
}

func leave(t *testing.T, dir, events, profile string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, eventsFile), []byte(events), 0o644))
	if profile != "" {
		require.NoError(t, os.WriteFile(filepath.Join(dir, profileFile), []byte(profile), 0o644))
	}
}

const (
	greenEvents = `{"Action":"run","Package":"example.com/app","Test":"TestA"}
{"Action":"pass","Package":"example.com/app","Test":"TestA"}
{"Action":"pass","Package":"example.com/app"}
`
	halfProfile = "mode: atomic\nexample.com/app/app.go:1.1,2.2 1 1\nexample.com/app/app.go:3.1,4.2 1 0\n"
)

// write writes files into a new tree and returns its root.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
	return root
}

func appTree(t *testing.T) string {
	return write(t, map[string]string{
		"app/go.mod": "module example.com/app\n\ngo 1.26\n", "app/app.go": "package app\n",
		"ci/go.mod": "module example.com/app\n\ngo 1.26\n", "ci/app.go": "package app\n",
	})
}

func TestStepIsTheWholeInvocation(t *testing.T) {
	s := Step("backend/", Options{Image: "golang:1.26.8-bookworm", Race: true, Timeout: 90 * time.Second})
	require.Equal(t, step.Step{
		Name:  "test backend",
		Image: "golang:1.26.8-bookworm",
		Dir:   "backend",
		Args:  []string{"go", "test", "-json", "-race", "-timeout=1m30s", "-covermode=atomic", "-coverprofile=@out@/cover.out", "./..."},
		Env:   map[string]string{"GOWORK": "off", "GOTMPDIR": "@out@", "CGO_ENABLED": "1"},
		Caches: []step.Cache{
			{Name: "go-mod", Path: "/go/pkg/mod"},
			{Name: "go-build", Path: "/root/.cache/go-build"},
		},
		Stdout:    "test.json",
		LogFilter: logFilter,
		Include:   []string{"backend"},
	}, s)

	concurrency := []string{fmt.Sprintf("-p=%d", max(4, runtime.GOMAXPROCS(0))), fmt.Sprintf("-parallel=%d", max(8, runtime.GOMAXPROCS(0)))}
	own := func(first, last string) []string {
		return slices.Concat([]string{"go", "test", "-json"}, strings.Fields(first), concurrency, []string{"-timeout=30m0s"}, strings.Fields(last), []string{"./..."})
	}
	const covered = "-covermode=atomic -coverprofile=@out@/cover.out"
	plainStep := Step("ci", Options{})
	require.Equal(t, own("-vet=off", "-count=1 "+covered), plainStep.Args)
	require.NotContains(t, plainStep.Env, "CGO_ENABLED")
	require.NotContains(t, plainStep.Env, "GORACE")
	require.Empty(t, Step(".", Options{}).Include)
	require.Equal(t, []string{"go", "test", "-json", "-vet=off", "-covermode=atomic", "-coverprofile=@out@/cover.out", "./..."}, Step("backend", Options{SkipVet: true}).Args)

	whole := Step("ci/test", Options{})
	require.Equal(t, own("-vet=off", "-count=1"), whole.Args, "nothing of it is delivered, so nothing is covered")
	require.Empty(t, whole.Include)

	o := Options{Race: true, Tree: map[string]string{"": "1", "docs": "2", "docs/schema": "3", "terraform": "4", "terraform/modules": "5", "frontend": "6"}}
	known := Step("ci", o)
	require.Equal(t, own("-race -vet=off -gcflags=...compress/flate=-race=false", covered), known.Args)
	require.Equal(t, map[string]string{
		"GOWORK": "off", "GOTMPDIR": "@out@", "CGO_ENABLED": "1", "GORACE": "atexit_sleep_ms=0",
		"SLIPWAY_TREE_DOCS_SCHEMA": "3", "SLIPWAY_TREE_TERRAFORM": "4", "SLIPWAY_TREE_TERRAFORM_MODULES": "5",
	}, known.Env, "of the parts that it reads")
	require.Contains(t, known.Include, "docs/schema")
	require.NotContains(t, known.Include, "docs")
	whole = Step("ci/test", o)
	require.Equal(t, "1", whole.Env["SLIPWAY_TREE"])
	require.Equal(t, "6", whole.Env["SLIPWAY_TREE_FRONTEND"])
	require.NotContains(t, Step("backend", o).Env, "SLIPWAY_TREE", "a service reads its own folder alone")
}

// TestTell: packages that are over and tests that failed, and nothing that they said.
func TestLogFilter(t *testing.T) {
	events, err := os.ReadFile(recording)
	require.NoError(t, err)
	sed := exec.CommandContext(t.Context(), "sed", "-nE", logFilter)
	sed.Stdin = bytes.NewReader(events)
	logged, err := sed.Output()
	require.NoError(t, err)
	require.Contains(t, string(logged), "example.com/zoo: TestExit0 failed\nexample.com/zoo: fail in 0.023s\nexample.com/zoo/brokendep: fail in 0s\n")
	require.NotContains(t, string(logged), "unexpected call")
}

func TestRunRefusesOptionsThatNameNothing(t *testing.T) {
	source := write(t, map[string]string{"app/go.mod": "module example.com/app\n", "web/index.html": "", "odd/go.mod": "go 1.26\n"})
	for want, o := range map[string]Options{
		"no module to test: name at least one module directory":                                           {},
		"module directory \"web\" has no go.mod: create it with `go mod init`, or name another directory": {Modules: []string{"web"}},
		"module directory \"../app\" is not inside the source tree":                                       {Modules: []string{"../app"}},
		"odd/go.mod has no module path: add the line `module PATH`":                                       {Modules: []string{"odd"}},
		"the coverage gate names module \"ap\", which is not tested: want one of [\"app\"]":               {Modules: []string{"app", "./app/"}, Gate: coverage.Gate{Modules: map[string]float64{"ap": 1}}},
		"files to exclude from coverage: pattern \"[\": syntax error in pattern":                          {Modules: []string{"app"}, Exclude: coverage.Globs{"["}},
	} {
		_, err := Run(t.Context(), source, played(nil), o)
		require.EqualError(t, err, want)
		var option *OptionError
		require.ErrorAs(t, err, &option)
		require.Error(t, option.Unwrap())
	}
}

func TestRunWritesTheReportAndCleansUp(t *testing.T) {
	source, out, temp := appTree(t), filepath.Join(t.TempDir(), "new", "report"), t.TempDir()
	t.Setenv("TMPDIR", temp)
	var lines []string
	summary, err := Run(t.Context(), source, played(func(_ step.Step, dir string) (step.Result, error) {
		leave(t, dir, greenEvents, halfProfile)
		return step.Result{}, nil
	}), Options{
		Modules: []string{"app", "ci"}, Out: out, Log: func(line string) { lines = append(lines, line) },
		Gate: coverage.Gate{Default: 50, Modules: map[string]float64{"ci": 50.1}},
	})

	require.NoError(t, err)
	require.Equal(t, Failed, summary.Result, "a module below its gate fails the stage")
	app, ci := summary.Modules[0], summary.Modules[1]
	require.Equal(t, Succeeded, app.Result)
	require.Equal(t, Failed, ci.Result)
	require.InDelta(t, 50, ci.Coverage, 0)
	require.False(t, ci.CoverageMet)
	require.Contains(t, summary.String(), "2 passed, 0 failed, 0 skipped\n")
	require.Len(t, lines, 4)
	require.Contains(t, lines, "app: compiling and testing 1 packages")

	names, err := filepath.Glob(filepath.Join(out, "*"))
	require.NoError(t, err)
	for i, name := range names {
		names[i] = filepath.Base(name)
	}
	require.Equal(t, []string{"cobertura.xml", "coverage.html", "coverage.out", "junit.xml", "summary.md"}, names)
	require.Empty(t, entries(t, temp))
}

func entries(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	list, err := os.ReadDir(dir)
	require.NoError(t, err)
	return list
}

func TestRunReportsAModuleThatCouldNotRunBesideOnesThatDid(t *testing.T) {
	broken := errors.New("the engine went away")
	summary, err := Run(t.Context(), appTree(t), played(func(s step.Step, dir string) (step.Result, error) {
		if s.Dir == "ci" {
			return step.Result{}, broken
		}
		leave(t, dir, greenEvents, halfProfile)
		return step.Result{}, nil
	}), Options{Modules: []string{"app", "ci"}, Out: t.TempDir()})

	require.ErrorIs(t, err, broken)
	require.Equal(t, Failed, summary.Result)
	require.Equal(t, 1, summary.Modules[0].Passed)
	require.Equal(t, "testing ci: the engine went away", summary.Modules[1].Failures[0].Message)
}

func TestRunWithoutEvidenceIsAFailure(t *testing.T) {
	for name, c := range map[string]struct {
		events, profile string
		end             step.Result
		want            string
	}{
		"no profile":        {greenEvents, "", step.Result{}, "its coverage is unknown: go test wrote no coverage profile"},
		"a damaged profile": {greenEvents, "mode: atomic\nnonsense\n", step.Result{}, "its coverage is unknown: reading the coverage profile of app"},
		"no tests":          {"", "mode: atomic\n", step.Result{}, "no test ran"},
		"no build":          {"", "", step.Result{ExitCode: 1, Stderr: "go: no such tool"}, "go test failed with exit code 1"},
	} {
		t.Run(name, func(t *testing.T) {
			summary, err := Run(t.Context(), appTree(t), played(func(_ step.Step, dir string) (step.Result, error) {
				leave(t, dir, c.events, c.profile)
				return c.end, nil
			}), Options{Modules: []string{"app"}})
			require.NoError(t, err)
			require.Equal(t, Failed, summary.Result)
			require.Len(t, summary.Modules[0].Failures, 1)
			require.Contains(t, summary.Modules[0].Failures[0].Message, c.want)
		})
	}
	_, err := Run(t.Context(), appTree(t), played(func(step.Step, string) (step.Result, error) { return step.Result{}, nil }),
		Options{Modules: []string{"app"}})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "testing app: go test wrote no events")
}

func TestRunNamesAMissingTool(t *testing.T) {
	source := appTree(t)
	run := func(o Options) error {
		_, err := Run(t.Context(), source, step.Host{Source: source}, o)
		return err
	}
	compiler := played(func(_ step.Step, dir string) (step.Result, error) {
		leave(t, dir, `{"ImportPath":"runtime/cgo","Action":"build-output","Output":"cgo: C compiler \"gcc\" not found: exec: \"gcc\": executable file not found in $PATH\n"}`, "")
		return step.Result{ExitCode: 1}, nil
	})
	_, err := Run(t.Context(), source, compiler, Options{Modules: []string{"app"}, Race: true})
	require.ErrorIs(t, err, ErrNoCompiler)
	platform := played(func(_ step.Step, dir string) (step.Result, error) {
		leave(t, dir, "", "")
		return step.Result{ExitCode: 1, Stderr: "-race is not supported on linux/386\n"}, nil
	})
	_, err = Run(t.Context(), source, platform, Options{Modules: []string{"app"}, Race: true})
	require.EqualError(t, err, "testing app: -race is not supported on linux/386")

	t.Setenv("PATH", t.TempDir())
	err = run(Options{Modules: []string{"app", "ci"}})
	require.ErrorIs(t, err, exec.ErrNotFound)
	require.EqualError(t, err, "testing app: go is not on PATH: install Go from https://go.dev/dl (executable file not found in $PATH)")
	supported, reason := RaceSupported(t.Context())
	require.False(t, supported)
	require.Equal(t, noGo, reason)
}

func TestRunNamesAReportDirectoryThatTakesNothing(t *testing.T) {
	source := write(t, map[string]string{"app/go.mod": "module example.com/app\n", "file": ""})
	dir := filepath.Join(source, "file", "report")
	_, err := Run(t.Context(), source, played(nil), Options{Modules: []string{"app"}, Out: dir})
	require.ErrorContains(t, err, "the test report cannot be written to directory "+dir+"; make room there or choose another: ")
}

func TestWriteReportLeavesNothingHalf(t *testing.T) {
	dir := t.TempDir()
	fine := document{"a.txt", func(w io.Writer) error { _, err := io.WriteString(w, "a"); return err }}
	err := writeReport(dir, []document{fine, {"b.txt", func(io.Writer) error { return errFull }}})
	require.ErrorIs(t, err, errFull)
	require.ErrorContains(t, err, dir)
	require.Empty(t, entries(t, dir))

	require.ErrorIs(t, writeReport(filepath.Join(dir, "gone"), []document{fine}), os.ErrNotExist)

	require.NoError(t, os.Mkdir(filepath.Join(dir, "a.txt"), 0o755))
	require.ErrorContains(t, writeReport(dir, []document{fine}), dir)
	require.Len(t, entries(t, dir), 1)
}

func TestPrepareReportRemovesAnEarlierReport(t *testing.T) {
	dir := write(t, map[string]string{"junit.xml": "old", "notes.txt": "mine"})
	require.NoError(t, prepareReportDir(dir))
	require.Len(t, entries(t, dir), 1)
	require.FileExists(t, filepath.Join(dir, "notes.txt"))
}

func TestRaceSupportedGivesTheReason(t *testing.T) {
	for name, c := range map[string]struct{ variable, value, want string }{
		"no compiler": {"CC", "no-such-cc -m64", `the race detector needs a C compiler, and "no-such-cc" is not on PATH: install gcc or clang`},
		"platform":    {"GOARCH", "386", "the race detector does not run on linux/386"},
		"a broken go": {"GOTOOLCHAIN", "nonsense", "go env failed: go: invalid GOTOOLCHAIN \"nonsense\""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOOS", "linux")
			t.Setenv(c.variable, c.value)
			supported, reason := RaceSupported(t.Context())
			require.False(t, supported)
			require.Equal(t, c.want, reason)
		})
	}
	t.Run("darwin needs no compiler", func(t *testing.T) {
		t.Setenv("GOOS", "darwin")
		t.Setenv("GOARCH", "arm64")
		t.Setenv("CC", "no-such-cc")
		supported, reason := RaceSupported(t.Context())
		require.True(t, supported, reason)
	})
}
