// Package step describes one invocation of a tool as data.
//
// A stage defines its invocations once, as Steps. The slipway CLI runs them
// with the tools of the host ([Host]); the Dagger module turns the same value
// into a container. Neither executor takes a decision: what a Step's outcome
// means is the stage's business.
package step

import (
	"maps"
	"slices"
	"strings"
)

// Out stands, in arguments and environment values, for the directory that
// receives the step's outputs. Each executor replaces it by a directory of its
// own: a temporary one on the host, [ContainerOut] in a container.
const Out = "@out@"

// ContainerOut is the output directory of a step that runs in a container.
const ContainerOut = "/out"

// ContainerSource is where the source tree is mounted in a container.
const ContainerSource = "/src"

// Step is one invocation of a tool.
type Step struct {
	// Name is what people see: a line of the report, a span of a trace.
	Name string
	// Image is the container image that has the tool. The host executor
	// ignores it and takes the tool from PATH.
	Image string
	// Dir is the working directory, slash-separated and relative to the root
	// of the source tree.
	Dir string
	// Args is the command: the tool's name and its arguments.
	Args []string
	// Env is added to the executor's own environment.
	Env map[string]string
	// Secrets is Env whose values nobody may see: neither in a trace nor in what
	// an executor keeps.
	Secrets map[string]string
	// Caches are directories worth keeping between runs.
	Caches []Cache
	// Stdout names the file, relative to the output directory, that receives
	// standard output. Empty: standard output is narration.
	Stdout string
	// Tell is a program for sed -E -n that picks what people may see of that file, and
	// see while the tool runs, in a container; the host's stages watch it themselves.
	// It must print no values.
	Tell string
	// Include lists the parts of the source tree that the step reads,
	// slash-separated and relative to its root. A container gets nothing else,
	// so that a change elsewhere does not run the step again. Empty: all.
	Include []string
	// Inputs lists what the step reads of the output directory: files and
	// folders that an earlier step, or the stage, left there. On the host they
	// are there; a container is given them, as far as they are.
	Inputs []string
	// Keep lists folders of the output directory that nobody reads afterwards: they may
	// stay where the step ran.
	Keep []string
	// Leaves lists files that the tool leaves in Dir when something has gone
	// wrong, although they are outputs. They go to the output directory, for the
	// user alone, whatever the tool ended with; they need not be there.
	Leaves []string
	// Pass lists the variables that the tool takes from the environment around
	// the pipeline, a prefix where it ends in "*": credentials, for the most
	// part. The host's tools see all of it; a container is given these, as
	// secrets.
	Pass []string
	// Fresh says that the result hangs on more than what the step names, or
	// that the step changes the world: it runs at each call, and its result is
	// never taken from a cache.
	Fresh bool
	// Careful says that the tool leaves something half done when it is killed.
	// Cancelled, it is interrupted as by Ctrl-C at a terminal, and waited for
	// as long as it takes.
	Careful bool
}

// Takes tells whether s is given a variable of the environment around it.
func (s Step) Takes(variable string) bool {
	return slices.ContainsFunc(s.Pass, func(name string) bool {
		prefix, starts := strings.CutSuffix(name, "*")
		return variable == name || starts && strings.HasPrefix(variable, prefix)
	})
}

// Cache is a directory that a tool keeps between runs. On the host the tool
// finds its own; in a container it is a volume mounted at Path.
type Cache struct {
	Name     string // volume name, shared by all steps that say it
	Path     string // mount point in the container
	Variable string // tells the tool the mount point, where it does not look there by itself
}

// Expand returns a copy of s in which [Out] is replaced by dir.
func (s Step) Expand(dir string) Step {
	s.Args = slices.Clone(s.Args)
	for i, arg := range s.Args {
		s.Args[i] = strings.ReplaceAll(arg, Out, dir)
	}
	s.Env = maps.Clone(s.Env)
	for name, value := range s.Env {
		s.Env[name] = strings.ReplaceAll(value, Out, dir)
	}
	return s
}

// GoCaches are the caches of the Go toolchain.
func GoCaches() []Cache {
	return []Cache{
		{Name: "go-mod", Path: "/go/pkg/mod"},
		{Name: "go-build", Path: "/root/.cache/go-build"},
	}
}
