// Command slipway runs the delivery pipeline with the tools of this machine.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"dagger/slipway/internal/cli"
	"dagger/slipway/internal/report/outcome"
)

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	notifySignals(signals)
	if startedByGoRun() {
		go exitWithParent(signals)
	}
	var next atomic.Pointer[string]
	go func() { os.Exit(int(handleSignals(signals, cancel, &next))) }()
	os.Exit(int(cli.Run(ctx, os.Args[1:], os.Stdout, os.Stderr, func(command string) { next.Store(&command) })))
}

// notifySignals has signals told instead of ending the program halfway through a release:
// those that ask for its end, a terminal that is closed among them, unless nohup
// has said that it does not matter. Where nobody reads what is written any more,
// writing fails, and no more.
func notifySignals(signals chan<- os.Signal) {
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
}

// repeatWindow is how long after the first signal another one may be the same wish:
// supervisors signal the process and its group, one after the other.
const repeatWindow = time.Second

// obey interrupts the command at the first signal. Only a person who presses
// Ctrl-C again ends it at once: a supervisor that sends SIGTERM after SIGINT,
// as GitHub's runner does, shall not cut a release short that is being
// restored. Then it says what is left to run, and returns the exit code.
func handleSignals(signals <-chan os.Signal, interrupt context.CancelCauseFunc, next *atomic.Pointer[string]) outcome.Code {
	first := <-signals
	at := time.Now()
	fmt.Fprintf(os.Stderr, "%s: putting things in order; Ctrl-C once more quits at once\n", first)
	interrupt(outcome.Interruption(fmt.Sprintf("interrupted (%s)", first)))
	for again := range signals {
		if again == os.Interrupt && time.Since(at) > repeatWindow {
			break
		}
	}
	if left := next.Load(); left != nil && *left != "" {
		fmt.Fprintln(os.Stderr, "quit without putting things in order: "+*left)
		return outcome.Unrestored
	}
	fmt.Fprintln(os.Stderr, "quit: run the same command again")
	return outcome.Interrupted
}
