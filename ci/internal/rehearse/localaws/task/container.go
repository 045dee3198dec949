package task

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Spec describes one container, as its task definition does.
type Spec struct {
	Name       string
	Image      *Image
	EntryPoint []string // nil uses the image's
	Command    []string // nil uses the image's
	Env        []string // KEY=value, overrides the image's
	WorkDir    string   // "" uses the image's
	User       string   // "" uses the image's
	Ports      []int    // containerPorts
	ReadOnly   bool     // the root file system is read-only (ModeNamespace)
	Mounts     []Mount  // the task's volumes (ModeNamespace)
	OneOff     bool     // of a task that no service runs
	Output     LogFunc  // nil drops the output
}

// Mount mounts a volume of the task at a path of a container.
type Mount struct {
	Volume   string
	Shared   string // the folder of a volume that outlives the task, relative; "" for the task's
	Tmpfs    *Tmpfs // a file system in memory instead of a volume
	Path     string
	ReadOnly bool
}

// Tmpfs is a file system in memory.
type Tmpfs struct {
	MiB     int
	Options []string // mount options, as of Docker's --tmpfs
}

// Container is a started container.
type Container interface {
	// Done is closed when the container has exited and all its output was read.
	Done() <-chan struct{}
	// ExitCode is valid once Done is closed: 128 + n for signal n, as in Docker.
	ExitCode() int
	// Stop sends SIGTERM, kills the container after grace, and waits for its end.
	Stop(grace time.Duration)
	// Check runs a health check command in the container. A nil error means healthy.
	Check(ctx context.Context, command []string) error
}

// StartError reports a container that could not be started, with Fargate's message.
type StartError struct{ text string }

func (e *StartError) Error() string {
	return "CannotStartContainerError: ResourceInitializationError: failed to create new container runtime task: " +
		"failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: " + e.text
}

func startErrorf(format string, args ...any) error { return &StartError{fmt.Sprintf(format, args...)} }

// argv returns the container's command line: the image's entry point and command, with
// the task definition's overrides. As in Docker, a new entry point drops the image's
// command.
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

// environment returns the container's environment: the defaults, the image's, the
// platform's and the task definition's. Later ones override earlier ones.
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
