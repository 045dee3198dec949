package browser_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/slipway-cd/slipway/ci/internal/sourcetest"

	"github.com/stretchr/testify/require"
)

// builds is the directory of the backend's binary, or "" before the build.
var builds string

// build compiles the backend as its image is built: as a module of its own, without the
// workspace file.
var build = sync.OnceValues(func() (string, error) {
	var err error
	if builds, err = os.MkdirTemp("", "backend"); err != nil {
		return "", err
	}
	binary := filepath.Join(builds, "server")
	command := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "./cmd/server")
	command.Dir = sourcetest.Repository("backend")
	command.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOFLAGS=")
	if said, err := command.CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("building the backend: %w", err), errors.New(string(said)))
	}
	return binary, nil
})

// backend is a running backend.
type backend struct {
	*program
	url string
}

// startBackend starts the real backend with a host name and a version.
func startBackend(t testing.TB, hostname, version string) *backend {
	t.Helper()
	return startBackendAt(t, freeAddress(t), hostname, version)
}

// startBackendAt is startBackend at an address, to replace a stopped backend.
func startBackendAt(t testing.TB, address, hostname, version string) *backend {
	t.Helper()
	binary, err := build()
	require.NoError(t, err)
	port := address[len("127.0.0.1:"):]
	command := exec.Command(binary)
	command.Env = []string{"PORT=" + port, "HOSTNAME=" + hostname, "VERSION=" + version}
	return &backend{start(t, command, "http://"+address+"/health"), "http://" + address}
}

// stop ends the backend as ECS does.
func (b *backend) stop(t testing.TB) {
	t.Helper()
	b.end(t, syscall.SIGTERM)
}
