//go:build !unix

package step

import (
	"os/exec"
	"time"
)

// ownGroup does nothing where there are no process groups: cancelling kills
// the tool alone.
func ownGroup(*exec.Cmd, bool) {}

// endGroup does nothing where there are no process groups.
func endGroup(*exec.Cmd, time.Time) {}
