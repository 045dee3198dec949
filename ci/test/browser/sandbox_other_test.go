//go:build !linux

package browser

import "testing"

func enterSandbox() {}

func TestSiteReadOnly(t *testing.T) {
	t.Skip("a read-only root takes a mount namespace of Linux: run this test there")
}
