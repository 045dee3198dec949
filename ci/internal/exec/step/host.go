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

	"dagger/slipway/internal/config/source"
)

// defaultGracePeriod is how long a cancelled tool may take to end by itself.
const defaultGracePeriod = 5 * time.Second

// Host runs steps with the tools of this machine. It keeps no state: one Host
// may run several steps at once.
type Host struct {
	// Source is the root of the source tree.
	Source string
	// Log receives the tool's narration as it comes; nil drops it. It must
	// be safe for concurrent use where steps run at the same time.
	Log io.Writer
	// Tee receives, as it comes, the standard output that a step keeps in a
	// file; nil drops it. Like Narrate it must be safe for concurrent use.
	Tee io.Writer
	// Env is added to the environment of every step, and gives way to the
	// step's own.
	Env map[string]string
	// GracePeriod is how long a cancelled tool, and what it started, may take to end
	// by itself before it is killed. Zero means five seconds.
	GracePeriod time.Duration
}

var _ Executor = Host{}

// Run runs s and leaves its outputs in dir, which must exist. The error is nil
// when the tool ran to its end, whatever its exit code; it wraps
// [exec.ErrNotFound] when the tool is not installed, and the context's cause
// when it was cancelled.
//
// A step is over when everything that it started is over: what a tool leaves
// running in its process group is killed when the tool ends. A cancelled tool
// and its group are asked to stop (SIGTERM) and get [Host.GracePeriod] to do so; a careful one is
// interrupted (SIGINT) and gets all the time that it needs.
func (h Host) Run(ctx context.Context, s Step, dir string) (Result, error) {
	if len(s.Args) == 0 {
		return Result{}, fmt.Errorf("running %s: the step has no command", s.Name)
	}
	// The tool runs in another directory, where a relative dir means nothing.
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Result{}, fmt.Errorf("running %s: %w", s.Name, err)
	}
	var narration bytes.Buffer
	cmd := h.command(ctx, s.Expand(dir))
	cmd.Stderr = io.MultiWriter(&narration, orDiscard(h.Log))
	cmd.Stdout = cmd.Stderr
	if s.Stdout != "" {
		file, err := os.Create(filepath.Join(dir, s.Stdout))
		if err != nil {
			return Result{}, fmt.Errorf("keeping the output of %s: %w", s.Name, err)
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
	result := Result{ExitCode: cmd.ProcessState.ExitCode(), Stderr: narration.String()}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return result, fmt.Errorf("running %s: %w", s.Name, err)
	}
	return result, nil
}

// take moves what a step leaves where it ran to the output directory.
func moveFailureFiles(s Step, from, to string) error {
	for _, name := range s.FailureFiles {
		data, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), data, 0o600) //nolint:gosec // the step names what its own tool leaves
		}
		if err == nil {
			err = os.Remove(filepath.Join(from, name))
		}
		if err != nil {
			return fmt.Errorf("taking %s, which %s left: %w", name, s.Name, err)
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

// runGroup runs cmd and then ends its process group: at once where cmd ended
// by itself, or was waited for; after the grace period where it was cancelled.
func (h Host) runGroup(ctx context.Context, cmd *exec.Cmd, careful bool) error {
	cancelled := make(chan time.Time, 1)
	stop := context.AfterFunc(ctx, func() { cancelled <- time.Now() })
	if err := cmd.Start(); err != nil {
		stop()
		return err
	}
	err := cmd.Wait()
	if stop() || careful {
		killProcessGroup(cmd, time.Time{})
	} else {
		killProcessGroup(cmd, (<-cancelled).Add(h.gracePeriod()))
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		// The tool succeeded; a process that it left held its output open.
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
