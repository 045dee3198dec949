package task

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// devices are the nodes every container has.
var devices = []string{"null", "zero", "full", "random", "urandom"}

// makeDevices gives an unpacked image the devices that programs expect. Where the
// system does not allow it they go without: most need none.
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

// mountRoot builds a container's own view of its image: a writable layer in
// memory over the unpacked files, with /proc, /dev and the task's volumes. All
// mounts are in the task's namespace and vanish with it, also when this program
// is killed. It runs on the task's thread.
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
		// No overlay file system here: the tasks of an image share its files.
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
		return "", fmt.Errorf("making the working directory: %w", err)
	}
	if spec.ReadOnly {
		if err := unix.Mount("", root, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			return "", fmt.Errorf("making the root file system read-only: %w", err)
		}
	}
	return root, nil
}

// mountScratch puts a file system in memory where the task keeps what it writes.
func (s *Sandbox) mountTmpfs() error {
	if s.tmpfsMounted {
		return nil
	}
	if err := unix.Mount("tmpfs", s.dir, "tmpfs", unix.MS_NOSUID, "mode=755"); err != nil {
		return fmt.Errorf("mounting the scratch space: %w", err)
	}
	s.tmpfsMounted = true
	return nil
}

// mountProc gives programs /proc, which their /dev/stdout leads to. Where that
// is forbidden, in a container without its own, they go without.
func (s *Sandbox) mountProc(root string, _ Spec) error {
	at, err := ensureDir(root, "/proc")
	if err != nil {
		return fmt.Errorf("making /proc: %w", err)
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
		return fmt.Errorf("making /dev: %w", err)
	}
	if err := unix.Mount("tmpfs", at, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755,size=64k"); err != nil {
		return fmt.Errorf("mounting /dev: %w", err)
	}
	for _, name := range devices {
		node := filepath.Join(at, name)
		if err := os.WriteFile(node, nil, 0o666); err != nil {
			return fmt.Errorf("making /dev/%s: %w", name, err)
		}
		if err := unix.Mount("/dev/"+name, node, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mounting /dev/%s: %w", name, err)
		}
	}
	for name, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, filepath.Join(at, name)); err != nil {
			return fmt.Errorf("making /dev/%s: %w", name, err)
		}
	}
	return nil
}

// mountVolumes mounts the task's volumes, empty directories that its containers
// share.
func (s *Sandbox) mountVolumes(root string, spec Spec) error {
	for _, m := range spec.Mounts {
		volume := filepath.Join(s.dir, "volumes", filepath.Base(m.Volume))
		if err := os.MkdirAll(volume, 0o777); err != nil {
			return fmt.Errorf("making the volume %s: %w", m.Volume, err)
		}
		// The container's user is not known to the volume; Fargate gives it the
		// owner of the directory it covers, which mode 1777 amounts to.
		if err := os.Chmod(volume, 0o777|os.ModeSticky); err != nil {
			return fmt.Errorf("making the volume %s: %w", m.Volume, err)
		}
		at, err := ensureDir(root, m.Path)
		if err == nil {
			err = unix.Mount(volume, at, "", unix.MS_BIND, "")
		}
		if err == nil && m.ReadOnly {
			err = unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
		}
		if err != nil {
			return fmt.Errorf("mounting the volume %s at %s: %w", m.Volume, m.Path, err)
		}
	}
	return nil
}

// writeHosts lets a container resolve its own name, as container runtimes do.
func (s *Sandbox) writeHosts(root string, _ Spec) error {
	etc, err := ensureDir(root, "/etc")
	if err != nil {
		return fmt.Errorf("making /etc: %w", err)
	}
	r, err := os.OpenRoot(etc)
	if err != nil {
		return fmt.Errorf("opening /etc: %w", err)
	}
	defer r.Close()
	_ = r.Remove("hosts") // a link in its place is not followed
	if err := r.WriteFile("hosts", []byte("127.0.0.1 localhost\n"+s.ip+" "+s.hostname+"\n"), 0o644); err != nil {
		return fmt.Errorf("writing /etc/hosts: %w", err)
	}
	return nil
}
