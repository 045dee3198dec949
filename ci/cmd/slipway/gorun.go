package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// parentPollInterval is the interval at which the parent process is checked.
const parentPollInterval = 500 * time.Millisecond

// startedByGoRun reports whether `go run` started this program: it compiles to a
// temporary folder of its own.
func startedByGoRun() bool {
	file, err := os.Executable()
	return err == nil && strings.Contains(filepath.ToSlash(file), "/go-build")
}

// exitWithParent sends a SIGTERM to signals when the parent process has exited. A SIGTERM
// kills `go run`, which does not forward it to this program.
func exitWithParent(signals chan<- os.Signal) {
	parent := os.Getppid()
	ticker := time.NewTicker(parentPollInterval)
	defer ticker.Stop()
	for range ticker.C {
		if os.Getppid() != parent {
			signals <- syscall.SIGTERM
			return
		}
	}
}
