package browser

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/slipway-cd/slipway/ci/internal/sourcetest"

	"github.com/stretchr/testify/require"
)

// nobody is the user id that Nginx runs as if the tests run as root: a user that owns
// no files.
const nobody = 65532

// Nginx is a running Nginx with the frontend's files and configuration.
type Nginx struct {
	*Program
	URL string
	dir string // writable directory
}

// findNginx returns the path of Nginx, or skips the test.
func findNginx(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx is not installed: apt-get install -y nginx-light")
	}
	if _, err := os.Stat("/etc/nginx/mime.types"); err != nil {
		t.Skip("this nginx keeps its mime.types elsewhere than the image: apt-get install -y nginx-light")
	}
	return path
}

// configure writes the frontend's configuration with other paths: the original is made
// for a container with its own file system.
func configure(t testing.TB, places ...string) string {
	t.Helper()
	text, err := os.ReadFile(sourcetest.Repository("frontend", "nginx", "nginx.conf"))
	require.NoError(t, err)
	for n := 0; n < len(places); n += 2 {
		require.Contains(t, string(text), places[n], "nginx.conf no longer has what is replaced here")
	}
	return strings.NewReplacer(places...).Replace(string(text))
}

// StartNginx serves the frontend. locations are files for the directory locations.d,
// which exists only in development.
func StartNginx(t testing.TB, locations ...string) *Nginx {
	t.Helper()
	binary := findNginx(t)
	dir := readable(t)
	require.NoError(t, os.CopyFS(filepath.Join(dir, "site"), os.DirFS(sourcetest.Repository("frontend", "site"))))
	for n, text := range locations {
		sourcetest.Write(t, dir, fmt.Sprintf("locations.d/%d.conf", n), text)
	}
	address := FreeAddress(t)
	text := configure(t,
		"listen      8080;", "listen "+address+";",
		"/usr/share/nginx/html", filepath.Join(dir, "site"),
		"/etc/nginx/locations.d", filepath.Join(dir, "locations.d"),
		"/dev/stdout", filepath.Join(dir, "access.log"),
		"/tmp/", dir+"/",
	)
	file := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	command := exec.Command(binary, "-c", file, "-p", dir, "-e", "stderr", "-g", "daemon off;")
	unprivileged(t, command, dir)
	return &Nginx{Start(t, command, "http://"+address+"/healthz"), "http://" + address, dir}
}

// readable returns a new directory that every user may read. It makes the temporary
// directories above it searchable, but not listable, for others.
func readable(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	for above := filepath.Dir(dir); above != filepath.Dir(above); above = filepath.Dir(above) {
		info, err := os.Stat(above)
		require.NoError(t, err)
		if info.Mode().Perm()&0o001 == 0 {
			require.NoError(t, os.Chmod(above, info.Mode().Perm()|0o011))
		}
	}
	return dir
}

// unprivileged makes a command run as nobody with write access to dir, if this process
// runs as root.
func unprivileged(t testing.TB, command *exec.Cmd, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	require.NoError(t, os.Chown(dir, nobody, nobody))
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}
