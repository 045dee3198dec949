package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// parentPollInterval is how often the parent is looked for.
const parentPollInterval = 500 * time.Millisecond

// startedByGoRun reports whether `go run` started this program: it compiles to a
// temporary folder of its own.
func startedByGoRun() bool {
	file, err := os.Executable()
	return err == nil && strings.Contains(filepath.ToSlash(file), "/go-build")
}

// followParent ends this program as SIGTERM does when its parent has ended.
// `go run` dies of a SIGTERM without passing it on, and would leave the
// program running.
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
