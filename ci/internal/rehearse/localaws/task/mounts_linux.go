package task

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// devices are the device nodes of every container.
var devices = []string{"null", "zero", "full", "random", "urandom"}

// makeDevices creates the devices that programs expect in an unpacked image, if the
// system allows it. Most programs need none.
func makeDevices(dir string) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return
	}
	defer root.Close()
	if err := root.MkdirAll("dev", 0o755); err != nil {
		return
	}
	dev, err := root.Open("dev")
	if err != nil {
		return
	}
	defer dev.Close()
	for _, name := range devices {
		var node unix.Stat_t
		if unix.Stat("/dev/"+name, &node) == nil && unix.Mknodat(int(dev.Fd()), name, unix.S_IFCHR|0o666, int(node.Rdev)) == nil {
			_ = root.Chmod("dev/"+name, 0o666) // whatever the umask
		}
	}
}

// mountRoot mounts a container's root file system: a writable layer in memory over the
// unpacked files, with /proc, /dev and the task's volumes. All mounts are in the task's
// namespace and end with it, also if this program is killed. It runs on the task's
// thread.
func (s *Sandbox) mountRoot(spec Spec) (string, error) {
	root := filepath.Join(s.dir, "containers", spec.Name)
	layers := filepath.Join(s.dir, "layers", spec.Name)
	upper, work := filepath.Join(layers, "upper"), filepath.Join(layers, "work")
	if err := s.mountTmpfs(); err != nil {
		return "", err
	}
	for _, dir := range []string{root, upper, work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", spec.Image.Root, upper, work)
	if err := unix.Mount("overlay", root, "overlay", 0, options); err != nil {
		// Without an overlay file system, the tasks of an image share its files.
		if err := unix.Mount(spec.Image.Root, root, "", unix.MS_BIND, ""); err != nil {
			return "", fmt.Errorf("mounting the image: %w", err)
		}
	}
	for _, mount := range []func(string, Spec) error{s.mountProc, s.mountDev, s.mountVolumes, s.writeHosts} {
		if err := mount(root, spec); err != nil {
			return "", err
		}
	}
	if _, err := ensureDir(root, spec.workDir()); err != nil {
		return "", fmt.Errorf("creating the working directory: %w", err)
	}
	if spec.ReadOnly {
		if err := s.makeReadOnly(root); err != nil {
			return "", fmt.Errorf("making the root file system read-only: %w", err)
		}
	}
	return root, nil
}

// For how long, and after which pause, a busy mount is made read-only again.
const (
	maxBusy   = time.Second
	busyPause = 20 * time.Millisecond
)

// makeReadOnly makes a mount read-only. It is busy while a process that this one is just
// starting has a copy of an open file of it.
func (s *Sandbox) makeReadOnly(root string) error {
	ctx, cancel := context.WithTimeout(context.Background(), maxBusy)
	defer cancel()
	for {
		err := unix.Mount("", root, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
		if !errors.Is(err, unix.EBUSY) || s.rt.cfg.Clock.Sleep(ctx, busyPause) != nil {
			return err
		}
	}
}

// mountTmpfs mounts a file system in memory for what the task writes.
func (s *Sandbox) mountTmpfs() error {
	if s.tmpfsMounted {
		return nil
	}
	if err := unix.Mount("tmpfs", s.dir, "tmpfs", unix.MS_NOSUID, "mode=755"); err != nil {
		return fmt.Errorf("mounting tmpfs: %w", err)
	}
	s.tmpfsMounted = true
	return nil
}

// mountProc mounts /proc, which /dev/stdout links to. It skips it if that is forbidden,
// as in a container without a /proc of its own.
func (s *Sandbox) mountProc(root string, _ Spec) error {
	at, err := ensureDir(root, "/proc")
	if err != nil {
		return fmt.Errorf("creating /proc: %w", err)
	}
	err = unix.Mount("proc", at, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if err != nil && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	return nil
}

func (s *Sandbox) mountDev(root string, _ Spec) error {
	at, err := ensureDir(root, "/dev")
	if err != nil {
		return fmt.Errorf("creating /dev: %w", err)
	}
	if err := unix.Mount("tmpfs", at, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755,size=64k"); err != nil {
		return fmt.Errorf("mounting /dev: %w", err)
	}
	for _, name := range devices {
		node := filepath.Join(at, name)
		if err := os.WriteFile(node, nil, 0o666); err != nil {
			return fmt.Errorf("creating /dev/%s: %w", name, err)
		}
		if err := unix.Mount("/dev/"+name, node, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mounting /dev/%s: %w", name, err)
		}
	}
	for name, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, filepath.Join(at, name)); err != nil {
			return fmt.Errorf("creating /dev/%s: %w", name, err)
		}
	}
	return nil
}

// mountVolumes mounts the task's volumes: empty directories that its containers share,
// folders that outlive it, and file systems in memory.
func (s *Sandbox) mountVolumes(root string, spec Spec) error {
	for _, m := range spec.Mounts {
		at, err := ensureDir(root, m.Path)
		if err != nil {
			return fmt.Errorf("creating the mount point %s: %w", m.Path, err)
		}
		if m.Tmpfs != nil {
			if err := mountTmpfsVolume(at, m.Tmpfs); err != nil {
				return fmt.Errorf("mounting tmpfs at %s: %w", m.Path, err)
			}
			continue
		}
		volume, err := s.volume(m)
		if err != nil {
			return fmt.Errorf("creating the volume %s: %w", m.Volume, err)
		}
		err = unix.Mount(volume, at, "", unix.MS_BIND, "")
		if err == nil && m.ReadOnly {
			err = unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
		}
		if err != nil {
			return fmt.Errorf("mounting the volume %s at %s: %w", m.Volume, m.Path, err)
		}
	}
	return nil
}

// volume creates the directory of a volume, if it is missing.
func (s *Sandbox) volume(m Mount) (string, error) {
	dir := filepath.Join(s.dir, "volumes", filepath.Base(m.Volume))
	if m.Shared != "" {
		dir = filepath.Join(s.rt.cfg.Dir, "shared", m.Shared)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	// Fargate gives a volume the owner of the directory it covers, and an EFS access
	// point a user. Mode 1777 has the same effect for any user.
	return dir, os.Chmod(dir, 0o777|os.ModeSticky)
}

// tmpfsFlags are the mount options of a tmpfs that are flags of the mount, not data for
// the file system.
var tmpfsFlags = map[string]uintptr{
	"ro": unix.MS_RDONLY, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC,
	"sync": unix.MS_SYNCHRONOUS, "dirsync": unix.MS_DIRSYNC, "noatime": unix.MS_NOATIME, "nodiratime": unix.MS_NODIRATIME,
	"relatime": unix.MS_RELATIME, "strictatime": unix.MS_STRICTATIME,
}

// mountTmpfsVolume mounts a tmpfs as Docker does: nosuid, nodev and noexec unless its
// options say otherwise.
func mountTmpfsVolume(at string, t *Tmpfs) error {
	flags, data := uintptr(unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC), fmt.Sprintf("mode=1777,size=%dm", t.MiB)
	for _, option := range t.Options {
		flag, known := tmpfsFlags[option]
		cleared, negative := tmpfsFlags["no"+option]
		switch {
		case known:
			flags |= flag
		case negative:
			flags &^= cleared
		case strings.Contains(option, "="):
			data += "," + option
		}
	}
	return unix.Mount("tmpfs", at, "tmpfs", flags, data)
}

// writeHosts writes /etc/hosts, so that a container can resolve its host name.
func (s *Sandbox) writeHosts(root string, _ Spec) error {
	etc, err := ensureDir(root, "/etc")
	if err != nil {
		return fmt.Errorf("creating /etc: %w", err)
	}
	r, err := os.OpenRoot(etc)
	if err != nil {
		return fmt.Errorf("opening /etc: %w", err)
	}
	defer r.Close()
	_ = r.Remove("hosts") // a symbolic link is not followed
	if err := r.WriteFile("hosts", []byte("127.0.0.1 localhost\n"+s.ip+" "+s.hostname+"\n"), 0o644); err != nil {
		return fmt.Errorf("writing /etc/hosts: %w", err)
	}
	return nil
}
