// Command server is the backend: it tells clients which instance of it answers.
package main

import (
	"context"
	"os"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

func main() {
	// The runtime takes the processors from the container's limit by itself, but
	// not the memory. Without a limit, or with one of the operator's own in
	// GOMEMLIMIT, nothing is set.
	_, _ = memlimit.Set()
	os.Exit(run(context.Background(), os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}
