//go:build unix

package step

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// groupPollInterval is the interval at which a cancelled group is checked.
const groupPollInterval = 10 * time.Millisecond

// setProcessGroup runs cmd in its own process group, so that cancelling it also reaches
// its child processes: `go test` leaves its test binaries running when only it is killed
// (golang/go#22485). A Ctrl-C at the terminal then reaches only slipway, which decides in
// which order processes end. With interruptOnly it sends SIGINT instead of SIGTERM:
// Terraform's providers finish their work after a SIGINT, but a SIGTERM kills them.
func setProcessGroup(cmd *exec.Cmd, interruptOnly bool) {
	sig := syscall.SIGTERM
	if interruptOnly {
		sig = syscall.SIGINT
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, sig)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
}

// killProcessGroup waits until deadline for the remaining processes of the finished cmd's
// process group, and then kills them. The kernel does not reuse the id of a group that
// has members, so the signal cannot reach another group.
func killProcessGroup(cmd *exec.Cmd, deadline time.Time) {
	group := -cmd.Process.Pid
	poll := time.NewTicker(groupPollInterval)
	defer poll.Stop()
	for time.Now().Before(deadline) {
		if errors.Is(syscall.Kill(group, 0), syscall.ESRCH) {
			return
		}
		<-poll.C
	}
	// It fails only for an empty group.
	_ = syscall.Kill(group, syscall.SIGKILL)
}
