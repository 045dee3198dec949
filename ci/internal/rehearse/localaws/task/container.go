package task

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Spec is what a task definition says about one container.
type Spec struct {
	Name       string
	Image      *Image
	EntryPoint []string // nil keeps the image's
	Command    []string // nil keeps the image's
	Env        []string // KEY=value, over the image's
	WorkDir    string   // "" keeps the image's
	User       string   // "" keeps the image's
	Ports      []int    // containerPorts
	ReadOnly   bool     // the root file system must not be written to (ModeNamespace)
	Mounts     []Mount  // the task's volumes (ModeNamespace)
	Output     LogFunc  // nil drops the output
}

// Mount is a volume of the task at a path of a container.
type Mount struct {
	Volume   string
	Path     string
	ReadOnly bool
}

// Container is a container that was started.
type Container interface {
	// Done is closed when the container has ended and all its output was read.
	Done() <-chan struct{}
	// ExitCode is valid once Done is closed; 128 + n for signal n, as Docker counts.
	ExitCode() int
	// Stop asks the container to end and kills it after grace. It waits until
	// the container has ended.
	Stop(grace time.Duration)
	// Check runs a health check command next to the container. A nil error is a
	// healthy answer.
	Check(ctx context.Context, command []string) error
}

// StartError is a container that could not be started; its text is Fargate's.
type StartError struct{ text string }

func (e *StartError) Error() string {
	return "CannotStartContainerError: ResourceInitializationError: failed to create new container runtime task: " +
		"failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: " + e.text
}

func startErrorf(format string, args ...any) error { return &StartError{fmt.Sprintf(format, args...)} }

// argv is what a container runs: the image's entry point and command with the
// task definition's overrides. As in Docker, a new entry point drops the
// image's command.
func (s Spec) argv() []string {
	entry, command := s.Image.Config.Entrypoint, s.Image.Config.Cmd
	if s.EntryPoint != nil {
		entry, command = s.EntryPoint, nil
	}
	if s.Command != nil {
		command = s.Command
	}
	return slices.Concat(entry, command)
}

func (s Spec) workDir() string {
	if s.WorkDir != "" {
		return s.WorkDir
	}
	if s.Image.Config.WorkingDir != "" {
		return s.Image.Config.WorkingDir
	}
	return "/"
}

func (s Spec) user() string {
	if s.User != "" {
		return s.User
	}
	return s.Image.Config.User
}

// environment is the container's whole environment: defaults, then the image's,
// the platform's and the task definition's, later ones winning.
func (s Spec) environment(platform ...string) []string {
	last := map[string]string{}
	var order []string
	for _, kv := range slices.Concat([]string{"PATH=" + defaultPath}, s.Image.Config.Env, platform, s.Env) {
		key, _, _ := strings.Cut(kv, "=")
		if _, known := last[key]; !known {
			order = append(order, key)
		}
		last[key] = kv
	}
	env := make([]string, 0, len(order))
	for _, key := range order {
		env = append(env, last[key])
	}
	return env
}
