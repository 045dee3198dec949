// Command slipway runs the delivery pipeline with the tools of this machine.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/cli"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	notifySignals(signals)
	if startedByGoRun() {
		go exitWithParent(signals)
	}
	var recovery atomic.Pointer[string]
	go func() { os.Exit(int(handleSignals(signals, cancel, &recovery, os.Stderr))) }()
	os.Exit(int(cli.Run(ctx, os.Args[1:], os.Stdout, os.Stderr, func(command string) { recovery.Store(&command) })))
}

// notifySignals relays SIGINT, SIGTERM and SIGHUP, so that they do not kill the process
// during a release. It leaves SIGHUP ignored under nohup. It also catches SIGPIPE, so that
// writing to a closed pipe is only an error.
func notifySignals(signals chan<- os.Signal) {
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
}

// repeatWindow is how long after the first signal another one may be a repetition:
// supervisors signal the process and then its process group.
const repeatWindow = time.Second

// handleSignals interrupts the command at the first signal and returns the exit code after
// a second Ctrl-C. It ignores other signals in between: GitHub's runner sends a SIGTERM
// after a SIGINT, which must not stop a release that is being restored.
func handleSignals(signals <-chan os.Signal, interrupt context.CancelCauseFunc, recovery *atomic.Pointer[string], stderr io.Writer) outcome.Code {
	first := <-signals
	at := time.Now()
	restoring := ""
	if command := recovery.Load(); command != nil && *command != "" {
		restoring = "; the unfinished release is restored"
	}
	fmt.Fprintf(stderr, "%s: stopping%s; press Ctrl-C again to quit immediately\n", first, restoring)
	interrupt(outcome.Interruption(fmt.Sprintf("interrupted (%s)", first)))
	for again := range signals {
		if again == os.Interrupt && time.Since(at) > repeatWindow {
			break
		}
	}
	if command := recovery.Load(); command != nil && *command != "" {
		fmt.Fprintln(stderr, "quit without restoring: "+*command)
		return outcome.Unrestored
	}
	fmt.Fprintln(stderr, "quit: run the same command again")
	return outcome.Interrupted
}
