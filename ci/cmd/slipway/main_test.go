package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/outputtest"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal/rehearsaltest"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// asSlipway makes the test binary run the command.
const asSlipway = "SLIPWAY_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asSlipway) != "" {
		main()
	}
	os.Exit(m.Run())
}

// slipway returns the command without starting it.
func slipway(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	command, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), command, args...)
	cmd.Env = append(os.Environ(), asSlipway+"=yes")
	return cmd
}

// midway matches the first change of a release.
const midway = `deployment \S+ started\n`

// TestReleaseSurvivesTerminalLoss closes the terminal or the reader of a release:
// production ends on the new or the previous version.
func TestReleaseSurvivesTerminalLoss(t *testing.T) {
	// Under nohup, programs would inherit that the signal is ignored.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	defer signal.Stop(signals)
	dir := sourcetest.New(t)
	rehearsaltest.RunWithAWS(t, dir, func() {
		before := running(t, dir)
		sourcetest.Write(t, dir, "web/site/index.html", "<!doctype html><title>two</title>")
		sourcetest.Commit(t, dir, "second")

		hungUp := slipway(t, "deploy", "--source", dir)
		said := outputtest.NewMatchWriter(midway, func([]string) { _ = hungUp.Process.Signal(syscall.SIGHUP) })
		hungUp.Stderr = said
		_ = hungUp.Run()
		require.Equal(t, int(outcome.Interrupted), hungUp.ProcessState.ExitCode(), said)
		require.Equal(t, before, running(t, dir), "what ran before runs again")

		unread := slipway(t, "deploy", "--source", dir)
		reader, writer, err := os.Pipe()
		require.NoError(t, err)
		said = outputtest.NewMatchWriter(midway, func([]string) { _ = reader.Close() })
		unread.Stdout, unread.Stderr = writer, writer
		require.NoError(t, unread.Start())
		require.NoError(t, writer.Close())
		_, err = io.Copy(said, reader)
		require.ErrorIs(t, err, os.ErrClosed)
		_ = unread.Wait()
		require.Equal(t, int(outcome.Done), unread.ProcessState.ExitCode(), said)
		require.NotEqual(t, before, running(t, dir), "the release went on")
	})
}

var commit = regexp.MustCompile(`"sha": "([0-9a-f]{40})"`)

// running returns the running commits.
func running(t *testing.T, dir string) []string {
	t.Helper()
	cmd := slipway(t, "status", "--source", dir, "--output", "json")
	output, err := cmd.Output()
	require.NoError(t, err)
	services, _, _ := strings.Cut(string(output), `"releases"`)
	return commit.FindStringSubmatch(services)
}

// TestSecondInterrupt checks the exit code of a second Ctrl-C, which quits without
// restoring.
func TestSecondInterrupt(t *testing.T) {
	for name, tt := range map[string]struct {
		recovery string
		code     outcome.Code
		output   string
	}{
		"nothing to restore": {"", outcome.Interrupted, "interrupt: stopping; press Ctrl-C again to quit immediately\nquit: run the same command again\n"},
		"unfinished release": {
			"aws ecs update-service …", outcome.Unrestored,
			"interrupt: stopping; the unfinished release is restored; press Ctrl-C again to quit immediately\nquit without restoring: aws ecs update-service …\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				signals, ended := make(chan os.Signal), make(chan outcome.Code, 1)
				var recovery atomic.Pointer[string]
				recovery.Store(&tt.recovery)
				ctx, interrupt := context.WithCancelCause(t.Context())
				var stderr strings.Builder
				go func() { ended <- handleSignals(signals, interrupt, &recovery, &stderr) }()
				signals <- os.Interrupt
				<-ctx.Done()
				require.Equal(t, outcome.Interrupted, outcome.Of(context.Cause(ctx)))
				signals <- os.Interrupt // a repetition by the supervisor
				time.Sleep(2 * repeatWindow)
				signals <- syscall.SIGTERM // not from a terminal
				synctest.Wait()
				require.Empty(t, ended)
				signals <- os.Interrupt
				require.Equal(t, tt.code, <-ended)
				require.Equal(t, tt.output, stderr.String())
			})
		})
	}
}
