package task

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sysProcAttr returns the attributes of a container's process: a process group of its
// own, SIGKILL when its parent dies, and, as root, its root file system and user. It is
// the first of its own process namespace, so that its children die with it.
func sysProcAttr(root string, user *userIDs, namespaces bool) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Chroot: root}
	if user != nil {
		attr.Credential = &syscall.Credential{Uid: user.uid, Gid: user.gid}
	}
	if namespaces {
		attr.Cloneflags = syscall.CLONE_NEWPID
	}
	return attr
}

func killGroup(pid int, sig syscall.Signal) error { return syscall.Kill(-pid, sig) }

// probeChroot returns nil if a process may change its root. It tries on a thread that
// ends afterwards.
func probeChroot(dir string) error {
	if os.Geteuid() != 0 {
		return os.ErrPermission
	}
	return probeOnThread(func() error {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return err
		}
		return unix.Chroot(dir)
	})
}

// probeNamespaces returns nil if namespaces can be created. It creates some.
func probeNamespaces() error {
	return probeOnThread(func() error { return enterNamespaces("probe", "10.0.0.4") })
}

func probeOnThread(setup func() error) error {
	t, err := startOSThread(setup)
	if err == nil {
		t.close()
	}
	return err
}

// enterNamespaces gives the calling thread, and so the processes it forks, their own
// network with only a loopback interface, host name and mounts. The task's address is
// an alias of the loopback interface, so that a program that listens on 127.0.0.1 only
// is as unreachable as on Fargate.
func enterNamespaces(hostname, ip string) error {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unsharing namespaces: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keeping mounts private: %w", err)
	}
	if err := unix.Sethostname([]byte(hostname)); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	if err := configureLoopback(ip); err != nil {
		return fmt.Errorf("bringing the loopback interface up: %w", err)
	}
	// As in Docker's containers, any user may listen on low ports; if /proc is
	// read-only, only root may.
	_ = os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0)
	return nil
}

func configureLoopback(ip string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return err
	}
	alias, err := unix.NewIfreq("lo:0")
	if err != nil {
		return err
	}
	if err := alias.SetInet4Addr(net.ParseIP(ip).To4()); err != nil {
		return err
	}
	return unix.IoctlIfreq(fd, unix.SIOCSIFADDR, alias)
}

// dialInNamespace connects to a port of the task from within its network. Only the
// socket is created on the task's thread; it stays in that network on any thread.
func (s *Sandbox) dialInNamespace(ctx context.Context, port int) (net.Conn, error) {
	fd, err := -1, error(unix.ECONNREFUSED)
	s.thread.do(func() {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	})
	if err != nil {
		return nil, fmt.Errorf("dialling %s:%d: %w", s.ip, port, err)
	}
	address := &unix.SockaddrInet4{Port: port, Addr: [4]byte(net.ParseIP(s.ip).To4())}
	err = unix.Connect(fd, address)
	f := os.NewFile(uintptr(fd), "tcp "+s.ip)
	defer f.Close() // the connection holds a duplicate
	if errors.Is(err, unix.EINPROGRESS) {
		err = waitConnected(ctx, f)
	}
	if err != nil {
		return nil, fmt.Errorf("dialling %s:%d: %w", s.ip, port, err)
	}
	return net.FileConn(f)
}

// waitConnected waits until a non-blocking connect has succeeded or failed.
func waitConnected(ctx context.Context, f *os.File) error {
	defer context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) })()
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	err = raw.Write(func(fd uintptr) bool {
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil || code != 0 {
			failure = err
			if err == nil {
				failure = unix.Errno(code)
			}
			return true
		}
		_, err = unix.Getpeername(int(fd))
		return err == nil // false waits for the socket to become writable
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	return failure
}
