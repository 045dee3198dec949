//go:build unix

package step

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// groupPollInterval is how often a cancelled group is asked whether it has ended.
const groupPollInterval = 10 * time.Millisecond

// setProcessGroup gives cmd a process group of its own, so that cancelling it reaches
// what it started, too: `go test` leaves its test binaries running when it
// alone is killed (golang/go#22485), and a Ctrl-C at the terminal reaches
// slipway alone, which then decides in which order things end. A careful tool
// is interrupted, not terminated: Terraform's providers outlive a SIGINT, by
// design, and end what they are doing, but die of a SIGTERM.
func setProcessGroup(cmd *exec.Cmd, careful bool) {
	sig := syscall.SIGTERM
	if careful {
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

// endGroup waits until deadline for what the ended cmd left in its process
// group and kills the rest. The kernel keeps the number of a group that has
// members from being given to another process, so the signal reaches no
// stranger.
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
	// It fails only for an empty group, which is what is wanted.
	_ = syscall.Kill(group, syscall.SIGKILL)
}
