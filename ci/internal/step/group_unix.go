//go:build unix

package step

import (
	"os/exec"
	"syscall"
)

// ownGroup gives cmd a process group of its own, so that cancelling it reaches
// what it started, too: `go test` leaves its test binaries running when it
// alone is killed (golang/go#22485), and a Ctrl-C at the terminal reaches
// slipway alone, which then decides in which order things end.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	}
}
