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
)

// killAfter is how long a cancelled tool may take to end by itself.
const killAfter = 5 * time.Second

// Result is what a finished step left.
type Result struct {
	// ExitCode is the tool's exit status. A status other than 0 is not an
	// error of the executor: the stage judges it.
	ExitCode int
	// Stderr is what the tool wrote to standard error, and to standard output
	// where the step does not keep that in a file.
	Stderr string
}

// Host runs steps with the tools of this machine.
type Host struct {
	// Source is the root of the source tree.
	Source string
	// Narrate receives the tool's narration as it comes; nil drops it.
	Narrate io.Writer
}

// Run runs s and leaves its outputs in dir, which must exist. The error is nil
// when the tool ran to its end, whatever its exit code; it wraps
// [exec.ErrNotFound] when the tool is not installed, and the context's cause
// when it was cancelled. A cancelled tool is asked to stop together with the
// processes that it started, and killed after five seconds.
func (h Host) Run(ctx context.Context, s Step, dir string) (Result, error) {
	s = s.Expand(dir)
	cmd := exec.CommandContext(ctx, s.Args[0], s.Args[1:]...)
	cmd.Dir = filepath.Join(h.Source, filepath.FromSlash(s.Dir))
	cmd.Env = os.Environ()
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		cmd.Env = append(cmd.Env, name+"="+s.Env[name])
	}
	ownGroup(cmd)
	cmd.WaitDelay = killAfter

	var narration bytes.Buffer
	cmd.Stderr = io.MultiWriter(&narration, orDiscard(h.Narrate))
	cmd.Stdout = cmd.Stderr
	if s.Stdout != "" {
		file, err := os.Create(filepath.Join(dir, s.Stdout))
		if err != nil {
			return Result{}, fmt.Errorf("keeping the output of %s: %w", s.Name, err)
		}
		defer file.Close()
		cmd.Stdout = file
	}

	err := cmd.Run()
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

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}
