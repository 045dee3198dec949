//go:build !unix

package step

import "os/exec"

// ownGroup does nothing where there are no process groups: cancelling kills
// the tool alone.
func ownGroup(*exec.Cmd) {}
