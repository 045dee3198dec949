//go:build unix

package step_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/exec/step"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func shell(script string) step.Step {
	return step.Step{Name: "script", Args: []string{"sh", "-c", script}}
}

func TestHostDirAndEnv(t *testing.T) {
	source, out := t.TempDir(), t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(source, "a", "b"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(source, "a", "b", "input"), []byte("read me\n"), 0o644))
	s := shell(`cat input; echo "$GREETING"; echo narrated >&2; echo kept > "$TARGET/file"; exit 3`)
	s.Dir, s.Stdout = "a/b", "stdout.txt"
	s.Env = map[string]string{"GREETING": "hello", "TARGET": step.Out}
	var narration bytes.Buffer

	result, err := step.Host{Source: source, Log: &narration}.Run(t.Context(), s, out)

	require.NoError(t, err, "the exit code is the stage's to judge")
	require.Equal(t, step.Result{ExitCode: 3, Stderr: "narrated\n"}, result)
	require.Equal(t, "narrated\n", narration.String())
	require.Equal(t, "read me\nhello\n", read(t, filepath.Join(out, "stdout.txt")))
	require.Equal(t, "kept\n", read(t, filepath.Join(out, "file")))
}

func TestHostLogsStdout(t *testing.T) {
	result, err := step.Host{Source: t.TempDir()}.Run(t.Context(), shell(`echo out; echo err >&2`), t.TempDir())
	require.NoError(t, err)
	require.Equal(t, step.Result{Stderr: "out\nerr\n"}, result)
}

func TestHostRelativeOutputDir(t *testing.T) {
	here := t.TempDir()
	t.Chdir(here)
	require.NoError(t, os.Mkdir("out", 0o755))
	_, err := step.Host{Source: t.TempDir()}.Run(t.Context(), shell(`echo x > @out@/file`), "out")
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(here, "out", "file"))
}

func TestHostErrors(t *testing.T) {
	host := step.Host{Source: t.TempDir()}

	_, err := host.Run(t.Context(), step.Step{Name: "lint", Args: []string{"no-such-tool-anywhere"}}, t.TempDir())
	require.ErrorIs(t, err, exec.ErrNotFound)
	require.ErrorContains(t, err, "running lint")

	_, err = host.Run(t.Context(), step.Step{Name: "nothing"}, t.TempDir())
	require.EqualError(t, err, "running nothing: the step has no command")

	s := shell("true")
	s.Stdout = "missing/stdout.txt"
	_, err = host.Run(t.Context(), s, t.TempDir())
	require.ErrorIs(t, err, os.ErrNotExist)

	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the job was cancelled"))
	_, err = host.Run(cancelled, shell("true"), t.TempDir())
	require.EqualError(t, err, "running script: the job was cancelled")
}

func TestHostKillsAfterGracePeriod(t *testing.T) {
	out := t.TempDir()
	// Child processes inherit ignored signals, so neither the tool nor its child exits.
	s := shell(`trap "" TERM; sleep 300 & echo $! $$ > @out@/new; mv @out@/new @out@/pids; wait`)
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := step.Host{Source: t.TempDir(), GracePeriod: 100 * time.Millisecond}.Run(ctx, s, out)
		done <- err
	}()
	pids := awaitPids(t, filepath.Join(out, "pids"))

	cause := errors.New("interrupted")
	cancel(cause)

	require.ErrorIs(t, <-done, cause)
	requireGone(t, pids)
}

// lateContext ends before it starts the functions that are registered for its end, as every
// context does for a moment.
type lateContext struct {
	context.Context
	start <-chan struct{}
}

func (c lateContext) Value(any) any { return nil }

func (c lateContext) AfterFunc(f func()) (stop func() bool) {
	go func() { <-c.Done(); <-c.start; f() }()
	return func() bool { return true }
}

func TestHostGracePeriod(t *testing.T) {
	out := t.TempDir()
	// The signal kills the tool immediately; its child needs a moment to exit.
	s := shell(`(trap 'sleep 0.2; echo tidy > @out@/tidied; exit' TERM; echo $$ > @out@/new; mv @out@/new @out@/pids; while :; do sleep 0.05; done) >/dev/null 2>&1 & wait`)
	ctx, cancel := context.WithCancel(t.Context())
	done, start := make(chan error, 1), make(chan struct{})
	go func() {
		_, err := step.Host{Source: t.TempDir(), GracePeriod: 20 * time.Second}.Run(lateContext{ctx, start}, s, out)
		done <- err
	}()
	awaitPids(t, filepath.Join(out, "pids"))

	cancel()

	tidied := func() bool {
		_, err := os.Stat(filepath.Join(out, "tidied"))
		return err == nil
	}
	assert.Eventually(t, tidied, 10*time.Second, 10*time.Millisecond)
	close(start)
	require.ErrorIs(t, <-done, context.Canceled)
}

func TestHostInterruptOnly(t *testing.T) {
	out := t.TempDir()
	// The tool takes longer than the grace period; a SIGTERM would kill it.
	s := shell(`trap 'sleep 0.3; echo tidy; exit 7' INT; echo $$ > @out@/new; mv @out@/new @out@/pids; while :; do sleep 0.05; done`)
	s.InterruptOnly, s.Stdout = true, "said"
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := step.Host{Source: t.TempDir(), GracePeriod: time.Millisecond}.Run(ctx, s, out)
		done <- err
	}()
	pids := awaitPids(t, filepath.Join(out, "pids"))

	cancel()

	require.ErrorIs(t, <-done, context.Canceled)
	require.Equal(t, "tidy\n", read(t, filepath.Join(out, "said")))
	requireGone(t, pids)
}

func TestHostTee(t *testing.T) {
	var tee bytes.Buffer
	out := t.TempDir()
	s := shell(`echo kept; echo "$ONE $TWO" >&2`)
	s.Stdout, s.Env = "said", map[string]string{"TWO": "step"}
	host := step.Host{Source: t.TempDir(), Tee: &tee, Env: map[string]string{"ONE": "host", "TWO": "host"}}

	result, err := host.Run(t.Context(), s, out)

	require.NoError(t, err)
	require.Equal(t, "kept\n", tee.String())
	require.Equal(t, "kept\n", read(t, filepath.Join(out, "said")))
	require.Equal(t, "host step\n", result.Stderr, "the step's own environment comes first")
}

func TestHostKillsLeftoverProcesses(t *testing.T) {
	out := t.TempDir()
	for name, redirect := range map[string]string{"silent": ">/dev/null 2>&1", "holding the output": ""} {
		t.Run(name, func(t *testing.T) {
			s := shell(`sleep 300 ` + redirect + ` & echo $! > @out@/pids; echo done`)
			result, err := step.Host{Source: t.TempDir(), GracePeriod: 100 * time.Millisecond}.Run(t.Context(), s, out)
			require.NoError(t, err)
			require.Equal(t, step.Result{Stderr: "done\n"}, result)
			requireGone(t, awaitPids(t, filepath.Join(out, "pids")))
		})
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(content)
}

func awaitPids(t *testing.T, path string) []int {
	t.Helper()
	require.Eventually(t, func() bool { _, err := os.Stat(path); return err == nil }, 10*time.Second, 5*time.Millisecond)
	var pids []int
	for field := range strings.FieldsSeq(read(t, path)) {
		pid, err := strconv.Atoi(field)
		require.NoError(t, err)
		pids = append(pids, pid)
	}
	require.NotEmpty(t, pids)
	return pids
}

// requireGone waits until none of the processes runs. A zombie does not run:
// its parent, here the machine's init, has yet to collect it.
func requireGone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		require.Eventually(t, func() bool {
			if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
				return true
			}
			state, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
			if errors.Is(err, exec.ErrNotFound) {
				return false // no evidence
			}
			return err != nil || strings.HasPrefix(string(state), "Z")
		}, 10*time.Second, 20*time.Millisecond, "process %d still runs", pid)
	}
}

// TestHostUnsetsGitRepository checks that a tool that calls git uses the repository of its
// working directory even in a git hook, with the environment's credentials.
func TestHostUnsetsGitRepository(t *testing.T) {
	t.Setenv("GIT_DIR", "/elsewhere/.git")
	t.Setenv("GIT_INDEX_FILE", "/elsewhere/index")
	t.Setenv("GIT_CONFIG_COUNT", "0")
	s := shell(`echo "$GIT_DIR$GIT_INDEX_FILE$GIT_CONFIG_COUNT"`)
	s.Stdout = "said"
	out := t.TempDir()
	_, err := step.Host{Source: t.TempDir()}.Run(t.Context(), s, out)
	require.NoError(t, err)
	require.Equal(t, "0\n", read(t, filepath.Join(out, "said")))
}
