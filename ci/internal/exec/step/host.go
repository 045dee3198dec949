package step

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
)

// defaultGracePeriod is the default of [Host.GracePeriod].
const defaultGracePeriod = 5 * time.Second

// Host runs steps with the tools of this machine. It has no state and may run several
// steps concurrently.
type Host struct {
	// Source is the root of the source tree.
	Source string
	// Log receives the tool's standard error, and its standard output unless a step
	// writes that to a file; nil discards it. It must be safe for concurrent use if
	// steps run concurrently.
	Log io.Writer
	// Tee receives a copy of the standard output that a step writes to a file; nil
	// discards it. It must be safe for concurrent use, like Log.
	Tee io.Writer
	// Env is added to the environment of every step; the step's own Env overrides it.
	Env map[string]string
	// GracePeriod is how long a cancelled tool and its child processes may take to exit
	// before they are killed. Zero means five seconds.
	GracePeriod time.Duration
}

var _ Executor = Host{}

// Run runs s and writes its outputs to dir, which must exist. The error is nil if the tool
// ran to completion, whatever its exit code; it wraps [exec.ErrNotFound] if the tool is not
// installed, and the context's cause if it was cancelled.
//
// When the tool exits, Run kills the processes that remain in its process group. A
// cancelled tool gets a SIGTERM and [Host.GracePeriod] to exit; with
// [Step.InterruptOnly] it gets a SIGINT and unlimited time.
func (h Host) Run(ctx context.Context, s Step, dir string) (Result, error) {
	if len(s.Args) == 0 {
		return Result{}, fmt.Errorf("running %s: the step has no command", s.Name)
	}
	// The tool runs in another directory, so dir must be absolute.
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Result{}, fmt.Errorf("running %s: %w", s.Name, err)
	}
	var log bytes.Buffer
	cmd := h.command(ctx, s.Expand(dir))
	cmd.Stderr = io.MultiWriter(&log, orDiscard(h.Log))
	cmd.Stdout = cmd.Stderr
	if s.Stdout != "" {
		file, err := os.Create(filepath.Join(dir, s.Stdout))
		if err != nil {
			return Result{}, fmt.Errorf("writing the output of %s: %w", s.Name, err)
		}
		defer file.Close()
		cmd.Stdout = file
		if h.Tee != nil {
			cmd.Stdout = io.MultiWriter(file, h.Tee)
		}
	}

	err = h.runGroup(ctx, cmd, s.InterruptOnly)
	if err := moveFailureFiles(s, cmd.Dir, dir); err != nil {
		return Result{}, err
	}
	if ctx.Err() != nil {
		return Result{}, fmt.Errorf("running %s: %w", s.Name, context.Cause(ctx))
	}
	result := Result{ExitCode: cmd.ProcessState.ExitCode(), Stderr: log.String()}
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		return result, fmt.Errorf("running %s: %w", s.Name, err)
	}
	return result, nil
}

// moveFailureFiles moves the step's failure files to the output directory.
func moveFailureFiles(s Step, from, to string) error {
	for _, name := range s.FailureFiles {
		data, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), data, 0o600) //nolint:gosec // the step names the files
		}
		if err == nil {
			err = os.Remove(filepath.Join(from, name))
		}
		if err != nil {
			return fmt.Errorf("moving %s, which %s wrote, to the output directory: %w", name, s.Name, err)
		}
	}
	return nil
}

func (h Host) command(ctx context.Context, s Step) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.Args[0], s.Args[1:]...)
	cmd.Dir = filepath.Join(h.Source, filepath.FromSlash(s.Dir))
	cmd.Env = source.Environ()
	for _, env := range []map[string]string{h.Env, s.Env, s.Secrets} {
		for _, name := range slices.Sorted(maps.Keys(env)) {
			cmd.Env = append(cmd.Env, name+"="+env[name])
		}
	}
	if !s.InterruptOnly {
		cmd.WaitDelay = h.gracePeriod()
	}
	setProcessGroup(cmd, s.InterruptOnly)
	return cmd
}

// runGroup runs cmd and then kills its process group: after the grace period if cmd was
// cancelled, otherwise immediately.
func (h Host) runGroup(ctx context.Context, cmd *exec.Cmd, interruptOnly bool) error {
	cancelled := make(chan time.Time, 1)
	stop := context.AfterFunc(ctx, func() { cancelled <- time.Now() })
	if err := cmd.Start(); err != nil {
		stop()
		return err
	}
	err := cmd.Wait()
	if ctx.Err() == nil || interruptOnly { // a context ends before it starts the functions of AfterFunc
		stop()
		killProcessGroup(cmd, time.Time{})
	} else {
		killProcessGroup(cmd, (<-cancelled).Add(h.gracePeriod()))
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		// The tool succeeded, but a child process kept its output open.
		err = nil
	}
	return err
}

func (h Host) gracePeriod() time.Duration {
	if h.GracePeriod > 0 {
		return h.GracePeriod
	}
	return defaultGracePeriod
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}
