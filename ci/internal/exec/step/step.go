// Package step describes tool invocations as data.
//
// A stage defines each invocation once, as a [Step]. The slipway CLI runs it with the
// host's tools ([Host]); the Dagger module runs it in a container. Executors make no
// decisions: the stage judges the result of a step.
package step

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// Out is a placeholder for the step's output directory in arguments and environment
// values. The host replaces it by a temporary directory, a container by [ContainerOut].
const Out = "@out@"

// ContainerOut is the output directory of a step that runs in a container.
const ContainerOut = "/out"

// ContainerSource is where the source tree is mounted in a container.
const ContainerSource = "/src"

// Step is one invocation of a tool.
type Step struct {
	// Name is shown in reports and traces.
	Name string
	// Image is the container image that contains the tool. The host ignores it and
	// finds the tool in PATH.
	Image string
	// Dir is the working directory, slash-separated and relative to the root
	// of the source tree.
	Dir string
	// Args is the command: the tool's name and its arguments.
	Args []string
	// Env is added to the executor's own environment.
	Env map[string]string
	// Secrets are environment variables whose values must not appear in traces or
	// caches.
	Secrets map[string]string
	// Caches are directories that are kept between runs.
	Caches []Cache
	// Stdout names the file, relative to the output directory, that receives
	// standard output. If it is empty, standard output is logged.
	Stdout string
	// LogFilter is a sed -nE program: a container logs the lines of that file that it
	// prints, while the tool runs. It must print no values. On the host, the stages log
	// progress themselves.
	LogFilter string
	// Include lists the parts of the source tree that the step reads,
	// slash-separated and relative to its root; empty means all, and "." all but .git. A
	// container gets only these, so that other changes do not invalidate its cache.
	Include []string
	// Inputs lists the files and folders in the output directory that the step reads:
	// those of earlier steps or of the stage. They are mounted in a container if they
	// exist.
	Inputs []string
	// Intermediate lists folders of the output directory that only later steps read.
	// They need not be exported from a container.
	Intermediate []string
	// FailureFiles lists files that the tool writes to Dir when it fails, such as
	// Terraform's errored.tfstate. The executor moves them to the output directory,
	// with mode 0600. They need not exist.
	FailureFiles []string
	// PassEnv lists the variables of the pipeline's environment that the tool needs,
	// mostly credentials; a trailing "*" matches a prefix. A container gets only these,
	// as secrets; tools on the host get all variables.
	PassEnv []string
	// NoCache makes a container run the step at each call, because the result depends
	// on more than the step's inputs, or because the step has side effects.
	NoCache bool
	// InterruptOnly is set for a tool that must not be killed, such as terraform apply.
	// When cancelled, it gets a SIGINT, and the executor waits until it exits.
	InterruptOnly bool
}

// PassesEnv reports whether PassEnv matches a variable.
func (s Step) PassesEnv(variable string) bool {
	return slices.ContainsFunc(s.PassEnv, func(name string) bool {
		prefix, starts := strings.CutSuffix(name, "*")
		return variable == name || starts && strings.HasPrefix(variable, prefix)
	})
}

// Filter returns the patterns of the parts of the tree that a container of s gets, and of
// those that it does not get. Without any, it gets the whole tree.
func (s Step) Filter() (include, exclude []string) {
	for _, part := range s.Include {
		if part = path.Clean(part); part == "." { // as a pattern, it matches nothing
			return nil, []string{".git"}
		}
		include = append(include, part)
	}
	return include, nil
}

// Cache is a cache directory of a tool. On the host the tool uses its own; in a container
// it is a volume mounted at Path.
type Cache struct {
	Name     string // volume name, shared by all steps
	Path     string // mount point in the container
	Variable string // environment variable that names the mount point, for a tool that needs it
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
