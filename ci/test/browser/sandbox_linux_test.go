package browser

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/slipway-cd/slipway/ci/internal/sourcetest"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestSiteReadOnly runs Nginx as a task does: with the image's file paths, as a user
// that owns no files, on a file system where only /tmp is writable.
func TestSiteReadOnly(t *testing.T) {
	binary := findNginx(t)
	if os.Geteuid() != 0 {
		t.Skip("a read-only root takes a mount namespace: run this test as root (sudo -E go test)")
	}
	dir := readable(t)
	require.NoError(t, os.CopyFS(filepath.Join(dir, "site"), os.DirFS(sourcetest.Repository("frontend", "site"))))
	address := FreeAddress(t)
	// Log to a file: standard output is root's pipe, which an unprivileged user may not
	// reopen.
	text := configure(t, "listen      8080;", "listen "+address+";", "access_log /dev/stdout json", "access_log /tmp/access.log json")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(text), 0o644))

	self, err := os.Executable()
	require.NoError(t, err)
	command := exec.Command(self)
	command.Env = []string{sandboxVariable + "=" + dir, "PATH=" + os.Getenv("PATH"), "NGINX=" + binary}
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	probe := exec.Command("/bin/true")
	probe.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if err := probe.Run(); err != nil {
		t.Skipf("no mount namespace may be made here (%v): run this test on a machine, or with CAP_SYS_ADMIN", err)
	}
	server := Start(t, command, "http://"+address+"/healthz")

	response, body := ask(t, "GET", "http://"+address+"/")
	require.Equal(t, 200, response.StatusCode)
	require.Contains(t, body, "<title>Slipway</title>")

	proc := fmt.Sprintf("/proc/%d", server.command.Process.Pid)
	status, err := os.ReadFile(proc + "/status")
	require.NoError(t, err)
	require.Regexp(t, fmt.Sprintf(`(?m)^Uid:\t%d\t%[1]d\t%[1]d\t%[1]d$`, nobody), string(status))
	require.Regexp(t, `(?m)^CapEff:\t0+$`, string(status))
	require.Equal(t, []string{"/tmp"}, writable(t, proc+"/mountinfo"))
	written, err := os.ReadDir(proc + "/root/tmp")
	require.NoError(t, err)
	require.NotEmpty(t, written)
	server.end(t, syscall.SIGQUIT)
	require.Empty(t, server.said.String())
}

// writable returns the writable mount points, without those of the kernel.
func writable(t testing.TB, mountinfo string) []string {
	t.Helper()
	text, err := os.ReadFile(mountinfo)
	require.NoError(t, err)
	var points []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line) // proc(5): field 5 is the mount point, field 6 its options
		if strings.HasPrefix(fields[5], "rw") {
			points = append(points, fields[4])
		}
	}
	return points
}

// enterSandbox gives this process the file system of a task's container and executes
// Nginx.
func enterSandbox() {
	dir := os.Getenv(sandboxVariable)
	if err := sandbox(dir); err != nil {
		fmt.Fprintln(os.Stderr, "entering the sandbox:", err)
		os.Exit(1)
	}
}

func sandbox(dir string) error {
	runtime.LockOSThread()
	everything := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keeping mounts to itself: %w", err)
	}
	for from, to := range map[string]string{"site": "/usr/share/nginx/html", "nginx.conf": "/etc/nginx/nginx.conf"} {
		if err := unix.Mount(filepath.Join(dir, from), to, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("putting %s to %s: %w", from, to, err)
		}
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, everything); err != nil {
		return fmt.Errorf("making everything read-only: %w", err)
	}
	if err := unix.Mount("tmpfs", "/tmp", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777,size=16m"); err != nil {
		return fmt.Errorf("mounting /tmp: %w", err)
	}
	if err := syscall.Setgroups(nil); err != nil {
		return err
	}
	if err := syscall.Setgid(nobody); err != nil {
		return err
	}
	if err := syscall.Setuid(nobody); err != nil {
		return err
	}
	nginx := os.Getenv("NGINX")
	return syscall.Exec(nginx, []string{nginx, "-e", "stderr", "-g", "daemon off;"}, nil)
}
