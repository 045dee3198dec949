// Package gotest is the test stage: it runs the Go tests of every module,
// reports each failure with its own output and place, and judges coverage.
//
// It reads what `go test -json` says (`go doc test2json`) and holds to one
// rule: a run is green only if tests ran and nothing that can go wrong around
// them did. A package that does not compile, a panic, a data race, an exit in
// TestMain, a run cut short: each is a failure of its own.
package gotest

import (
	"path"
	"time"

	"dagger/slipway/internal/config/source"
	"dagger/slipway/internal/exec/step"
)

// Pipeline is the directory of the pipeline's own module. Its tests rehearse
// the delivery of the real services and read the whole source tree; those of
// every other module read nothing but the module.
const Pipeline = "ci"

// PipelineTests is the directory of the module that tests the pipeline as a whole. It
// has no code that is delivered, and so no coverage.
const PipelineTests = Pipeline + "/test"

// Files that the invocation leaves in its output directory.
const (
	eventsFile  = "test.json"
	profileFile = "cover.out"
)

// tell picks, of the events, the packages that are over and the tests that failed.
const tell = `s/^\{"Time":"[^"]*","Action":"(pass|fail|skip)","Package":"([^"]+)","Elapsed":([0-9.]+)[,}].*$/\2: \1 in \3s/p
s/^\{"Time":"[^"]*","Action":"fail","Package":"([^"]+)","Test":"([^"]+)".*$/\1: \2 failed/p`

// Step is the one definition of how the tests of a module are run. Of o it
// uses Image, Race, Timeout and Tree.
//
// The module builds alone (GOWORK=off): the same versions of the same modules
// are tested on the host, which has the workspace file, and in a container,
// which may have no more than the module's folder. Go's own temporary files go
// to the output directory of a container, and to [module.temp] on the host.
func Step(module string, o Options) step.Step {
	module = path.Clean(module)
	s := step.Step{
		Name:   "test " + module,
		Image:  o.Image,
		Dir:    module,
		Args:   []string{"go", "test", "-json"},
		Env:    map[string]string{"GOWORK": "off", "GOTMPDIR": step.Out},
		Stdout: eventsFile,
		Tell:   tell,
		Caches: step.GoCaches(),
	}
	if o.Race {
		s.Args = append(s.Args, "-race")
		s.Env["CGO_ENABLED"] = "1" // which the race detector needs, whatever images are built with
	}
	if o.Timeout > 0 {
		s.Args = append(s.Args, "-timeout="+o.Timeout.Round(time.Millisecond).String())
	}
	switch alone := module != Pipeline && module != PipelineTests && module != "."; {
	case alone:
		s.Include = []string{module}
	case len(o.Tree) == 0:
		s.Args = append(s.Args, "-count=1")
	default:
		for part, digest := range o.Tree {
			s.Env[source.DigestVariable(part)] = digest
		}
	}
	if module != PipelineTests {
		s.Args = append(s.Args, "-covermode=atomic", "-coverprofile="+step.Out+"/"+profileFile)
	}
	s.Args = append(s.Args, "./...")
	return s
}
