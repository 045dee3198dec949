package browser

import (
	"context"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// startLimit is the time a program has to answer. It is generous, because tests of
// other packages may keep the machine busy.
const startLimit = time.Minute

// FreeAddress returns an unused address on loopback.
func FreeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

// Program is a process that runs until the test ends.
type Program struct {
	command *exec.Cmd
	said    lockedBuffer
	ended   chan struct{}
}

// Start starts a command and waits until url answers.
func Start(t testing.TB, command *exec.Cmd, url string) *Program {
	t.Helper()
	p := &Program{command: command, ended: make(chan struct{})}
	command.Stdout, command.Stderr = &p.said, &p.said
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.Setpgid = true // so that kill includes its children
	require.NoError(t, command.Start())
	go func() {
		_ = command.Wait() // the test decides how it ends
		close(p.ended)
	}()
	t.Cleanup(p.kill)

	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	for {
		if response, err := client.Get(url); err == nil {
			response.Body.Close()
			return p
		}
		select {
		case <-p.ended:
			t.Fatalf("%s ended: %s", command, p.said.String())
		case <-ctx.Done():
			t.Fatalf("%s does not answer at %s: %s", command, url, p.said.String())
		case <-tick.C:
		}
	}
}

// kill kills the program and its children at once, like a power failure.
func (p *Program) kill() {
	_ = syscall.Kill(-p.command.Process.Pid, syscall.SIGKILL) // it may have ended already
	<-p.ended
}

// end sends the program a signal and waits until it has ended.
func (p *Program) end(t testing.TB, signal syscall.Signal) {
	t.Helper()
	require.NoError(t, p.command.Process.Signal(signal))
	select {
	case <-p.ended:
	case <-time.After(startLimit):
		t.Fatalf("%s does not end: %s", p.command, p.said.String())
	}
}

// lockedBuffer collects the output of a program.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
