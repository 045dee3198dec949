//go:build unix

package step

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// groupPoll is how often a cancelled group is asked whether it has ended.
const groupPoll = 10 * time.Millisecond

// ownGroup gives cmd a process group of its own, so that cancelling it reaches
// what it started, too: `go test` leaves its test binaries running when it
// alone is killed (golang/go#22485), and a Ctrl-C at the terminal reaches
// slipway alone, which then decides in which order things end.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
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
func endGroup(cmd *exec.Cmd, deadline time.Time) {
	group := -cmd.Process.Pid
	poll := time.NewTicker(groupPoll)
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
