//go:build !linux && !windows

package task

import "syscall"

func sysProcAttr(string, *userIDs, bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

func killGroup(pid int, sig syscall.Signal) error { return syscall.Kill(-pid, sig) }
