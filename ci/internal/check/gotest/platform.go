package gotest

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/version"
)

// DefaultCoverage is the default minimum coverage of each module in percent of its
// statements.
const DefaultCoverage = 85

// ForServices returns options that test the modules of the Go services.
func ForServices(p platform.Platform) Options {
	var o Options
	for _, s := range p.Services {
		if s.Kind == platform.Go && !slices.Contains(o.Modules, s.Path) { // services may share a module
			o.Modules = append(o.Modules, s.Path)
		}
	}
	return o
}

// ForPlatform returns options that test every Go service of the source tree at dir, and the
// pipeline and its system tests if the tree is slipway's own. Another folder ci is the user's.
func ForPlatform(dir string, p platform.Platform) Options {
	o := ForServices(p)
	if !version.IsSlipwayTree(dir) {
		return o
	}
	for _, module := range []string{Pipeline, PipelineTests} {
		if _, err := os.Stat(filepath.Join(dir, module, "go.mod")); err == nil {
			o.Modules = append(o.Modules, module)
		}
	}
	if slices.Contains(o.Modules, Pipeline) {
		// What runs in an engine or as a process only is called there, by tests
		// that leave no coverage profile: the Dagger functions, the commands'
		// few lines, and the program that a rehearsal compiles. Packages for tests,
		// which are called like net/http/httptest, prove nothing by being run.
		o.Exclude = []string{
			Pipeline + "/*.go", Pipeline + "/cmd/**", Pipeline + "/internal/rehearse/rehearsal/faultyapp/*.go",
			Pipeline + "/**/*test/**", "!" + Pipeline + "/internal/check/gotest/**", // this one is none
		}
	}
	return o
}

// HasTests reports whether `go test ./...` has tests in a module of the source tree at dir.
func HasTests(dir, module string) bool {
	found := false
	walkPackages(os.DirFS(dir), path.Clean(module), func(name string) error {
		if !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		found = true
		return fs.SkipAll
	})
	return found
}
