// Command server is the backend: an API that returns which instance serves a request.
package main

import (
	"context"
	"os"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

func main() {
	// The runtime reads the container's CPU limit, but not its memory limit. Set does
	// nothing without a limit or if GOMEMLIMIT is set.
	_, _ = memlimit.Set()
	os.Exit(run(context.Background(), os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}
