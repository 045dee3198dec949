//go:build !unix

package step

import (
	"os/exec"
	"time"
)

// setProcessGroup does nothing on systems without process groups: cancelling kills only
// the tool.
func setProcessGroup(*exec.Cmd, bool) {}

// killProcessGroup does nothing on systems without process groups.
func killProcessGroup(*exec.Cmd, time.Time) {}
