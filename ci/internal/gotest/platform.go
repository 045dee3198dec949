package gotest

import (
	"os"
	"path/filepath"

	"dagger/slipway/internal/platform"
)

// DefaultCoverage is the gate where nobody sets another, in percent of the
// statements of each module.
const DefaultCoverage = 85

// ForServices returns options that test the modules of the Go services.
func ForServices(p platform.Platform) Options {
	var o Options
	for _, s := range p.Services {
		if s.Kind == platform.Go {
			o.Modules = append(o.Modules, s.Path)
		}
	}
	return o
}

// ForPlatform returns options that test every Go service of the source tree at
// dir, and the pipeline itself where the tree has it.
func ForPlatform(dir string, p platform.Platform) Options {
	o := ForServices(p)
	if _, err := os.Stat(filepath.Join(dir, Pipeline, "go.mod")); err == nil {
		o.Modules = append(o.Modules, Pipeline)
		// What runs in an engine or as a process only is called there, by tests
		// that leave no coverage profile: the Dagger functions, the commands'
		// few lines, and the program that a rehearsal compiles. What stands
		// there for tests alone proves nothing by being run.
		o.Exclude = []string{
			Pipeline + "/*.go", Pipeline + "/cmd/**", Pipeline + "/internal/rehearsal/saboteur/*.go",
			Pipeline + "/internal/sourcetest/**", Pipeline + "/internal/localaws/localawstest/**", Pipeline + "/internal/localaws/testapp/**",
		}
	}
	return o
}
