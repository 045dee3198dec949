// Command slipway runs the delivery pipeline with the tools of this machine.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

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
	go func() {
		interrupted := <-signals
		fmt.Fprintf(os.Stderr, "%s: putting things in order; once more quits at once\n", interrupted)
		cancel(outcome.Interruption(fmt.Sprintf("interrupted (%s)", interrupted)))
		<-signals
		fmt.Fprintln(os.Stderr, "quit without putting things in order: run the same command again")
		os.Exit(int(outcome.Interrupted))
	}()
	os.Exit(int(cli.Run(ctx, os.Args[1:], os.Stdout, os.Stderr)))
}
