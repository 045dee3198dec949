//go:build !linux

package image_test

import "testing"

// smallDisk returns a directory on its own small file system, on Linux only.
func smallDisk(t *testing.T) string {
	t.Helper()
	t.Skip("a full disk takes a small file system, which this test makes on Linux only")
	return ""
}
