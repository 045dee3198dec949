// Command slipway runs the delivery pipeline with the tools of this machine.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"dagger/slipway/internal/cli"
	"dagger/slipway/internal/outcome"
)

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if underGoRun() {
		go followParent(signals)
	}
	go obey(signals, cancel)
	os.Exit(int(cli.Run(ctx, os.Args[1:], os.Stdout, os.Stderr)))
}

// echo is how long after the first signal another one may be the same wish:
// supervisors signal the process and its group, one after the other.
const echo = time.Second

// obey interrupts the command at the first signal. Only a person who presses
// Ctrl-C again ends it at once: a supervisor that sends SIGTERM after SIGINT,
// as GitHub's runner does, shall not cut a release short that is being
// restored.
func obey(signals <-chan os.Signal, interrupt context.CancelCauseFunc) {
	first := <-signals
	at := time.Now()
	fmt.Fprintf(os.Stderr, "%s: putting things in order; Ctrl-C once more quits at once\n", first)
	interrupt(outcome.Interruption(fmt.Sprintf("interrupted (%s)", first)))
	for again := range signals {
		if again == os.Interrupt && time.Since(at) > echo {
			fmt.Fprintln(os.Stderr, "quit without putting things in order: run the same command again")
			os.Exit(int(outcome.Interrupted))
		}
	}
}
