//go:build !linux

package task

import (
	"context"
	"net"
	"os"
)

// Systems other than Linux cannot use an image's root file system and have no
// namespaces: programs are run from the unpacked image.

func probeChroot(string) error { return os.ErrPermission }

func makeDevices(string) {}

func probeNamespaces() error { return os.ErrPermission }

func enterNamespaces(string, string) error { return os.ErrPermission }

func (s *Sandbox) dialInNamespace(context.Context, int) (net.Conn, error) {
	return nil, os.ErrPermission
}

func (s *Sandbox) mountRoot(Spec) (string, error) { return "", os.ErrPermission }
