package image_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// smallDisk returns a directory on its own file system of 256 KiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a full disk takes a small file system, and mounting one takes root: sudo go test")
	}
	dir := t.TempDir()
	if err := unix.Mount("slipway-test", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("a full disk takes a small file system, and none can be mounted here: %v: give the container CAP_SYS_ADMIN", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, 0)) })
	return dir
}
