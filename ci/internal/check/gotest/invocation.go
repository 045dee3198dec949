// Package gotest is the test stage: it runs the Go tests of every module, reports each
// failure with its output and location, and checks coverage.
//
// It reads the events of `go test -json` (`go doc test2json`). A run passes only if tests
// ran and nothing failed. Each of these is a failure of its own: a package that does not
// compile, a panic, a data race, an exit in TestMain, a truncated run.
package gotest

import (
	"cmp"
	"fmt"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
)

// Pipeline is the directory of the pipeline's module.
const Pipeline = "ci"

// pipelineInputs are the parts of the source tree that the tests of the pipeline's module
// read, so that they do not run again after a change of another part.
var pipelineInputs = []string{Pipeline, "terraform", "docs/schema", "examples/shop", "frontend/nginx", "dagger.json", "CHANGELOG.md"}

// PipelineTests is the directory of the module with the system tests of the pipeline. It
// contains only tests, so its coverage is not measured. They read the whole source tree.
const PipelineTests = Pipeline + "/test"

// pipelineTimeout is the default time limit of the pipeline's own packages. Some rehearse releases
// or run Terraform, for longer than go test's ten minutes while other modules are tested.
const pipelineTimeout = 30 * time.Minute

// Output files of the step.
const (
	eventsFile  = "test.json"
	profileFile = "cover.out"
)

// logFilter selects, of the events, the packages that are over and the tests that failed.
const logFilter = `s/^\{"Time":"[^"]*","Action":"(pass|fail|skip)","Package":"([^"]+)","Elapsed":([0-9.]+)[,}].*$/\2: \1 in \3s/p
s/^\{"Time":"[^"]*","Action":"fail","Package":"([^"]+)","Test":"([^"]+)".*$/\1: \2 failed/p`

// Step is the one definition of how the tests of a module are run. Of o it
// uses Image, Race, SkipVet, Timeout and Tree.
//
// The module builds alone (GOWORK=off): the same versions of the same modules
// are tested on the host, which has the workspace file, and in a container,
// which may have no more than the module's folder. Go's own temporary files go
// to the output directory of a container, and to [module.tempDir] on the host.
func Step(module string, o Options) step.Step {
	module = path.Clean(module)
	s := step.Step{
		Name:      "test " + module,
		Image:     o.Image,
		Dir:       module,
		Args:      []string{"go", "test", "-json"},
		Env:       map[string]string{"GOWORK": "off", "GOTMPDIR": step.Out},
		Stdout:    eventsFile,
		LogFilter: logFilter,
		Caches:    step.GoCaches(),
	}
	if o.Race {
		s.Args = append(s.Args, "-race")
		s.Env["CGO_ENABLED"] = "1" // which the race detector needs, whatever images are built with
	}
	own := module == Pipeline || module == PipelineTests
	if o.SkipVet || own { // the lint stage checks the pipeline with golangci-lint, which has go vet
		s.Args = append(s.Args, "-vet=off")
	}
	if own && o.Race {
		// Compressing images would take half of the tests' CPU time. What calls the compressors,
		// Go's and another, is watched. A race that is found while a test binary exits is not
		// worth a second for each of a hundred binaries.
		s.Args = append(s.Args, "-gcflags=...compress/flate=-race=false")
		s.Env["GORACE"] = "atexit_sleep_ms=0"
	}
	if own {
		// Many of the tests wait for what happens in real time: with one for each core, a fifth of
		// the time would pass idle.
		s.Args = append(s.Args, fmt.Sprintf("-p=%d", atLeast(4)), fmt.Sprintf("-parallel=%d", atLeast(8)))
		o.Timeout = cmp.Or(o.Timeout, pipelineTimeout)
	}
	if o.Timeout > 0 {
		s.Args = append(s.Args, "-timeout="+o.Timeout.Round(time.Millisecond).String())
	}
	switch module {
	case Pipeline:
		s.Include = pipelineInputs
	case PipelineTests, ".":
	default:
		s.Include = []string{module}
	}
	switch {
	case !own && module != ".":
	case len(o.Tree) == 0:
		s.Args = append(s.Args, "-count=1")
	default:
		for part, digest := range o.Tree {
			if len(s.Include) == 0 || slices.ContainsFunc(s.Include, func(read string) bool { return part == read || strings.HasPrefix(part, read+"/") }) {
				s.Env[source.DigestVariable(part)] = digest
			}
		}
	}
	if module != PipelineTests {
		s.Args = append(s.Args, "-covermode=atomic", "-coverprofile="+step.Out+"/"+profileFile)
	}
	s.Args = append(s.Args, "./...")
	return s
}

// atLeast returns n, or the number of cores if that is more.
func atLeast(n int) int { return max(n, runtime.GOMAXPROCS(0)) }
