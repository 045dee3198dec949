package task

import (
	"os"
	"syscall"
)

func sysProcAttr(string, *userIDs, bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// killGroup ends the process: Windows has no signal that another process could handle, so a
// task gets no time to stop.
func killGroup(pid int, _ syscall.Signal) error {
	process, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return process.Kill()
}
