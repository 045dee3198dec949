package browser_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// startLimit is how long a program may take until it answers. It is generous: the
// machine may be busy with other packages' tests.
const startLimit = time.Minute

// sandboxVariable makes of the test's own program the one that enters the sandbox.
const sandboxVariable = "BROWSER_TEST_SANDBOX"

func TestMain(m *testing.M) {
	if os.Getenv(sandboxVariable) != "" {
		enterSandbox() // does not return
	}
	code := m.Run()
	stopChromium()
	if builds != "" {
		os.RemoveAll(builds)
	}
	if code == 0 {
		if err := goleak.Find(goleak.IgnoreCurrent()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// freeAddress is an address on loopback that nobody listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

// program is a process that runs until the test ends.
type program struct {
	command *exec.Cmd
	said    lockedBuffer
	ended   chan struct{}
}

// start starts a command and waits until url answers.
func start(t testing.TB, command *exec.Cmd, url string) *program {
	t.Helper()
	p := &program{command: command, ended: make(chan struct{})}
	command.Stdout, command.Stderr = &p.said, &p.said
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.Setpgid = true // so that kill has its children, too
	require.NoError(t, command.Start())
	go func() {
		_ = command.Wait() // how it ends is the test's own doing
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

// kill ends the program and its children at once, as a machine does that loses its power.
func (p *program) kill() {
	_ = syscall.Kill(-p.command.Process.Pid, syscall.SIGKILL) // it may have ended
	<-p.ended
}

// end asks the program to stop and waits until it has.
func (p *program) end(t testing.TB, signal syscall.Signal) {
	t.Helper()
	require.NoError(t, p.command.Process.Signal(signal))
	select {
	case <-p.ended:
	case <-time.After(startLimit):
		t.Fatalf("%s does not end: %s", p.command, p.said.String())
	}
}

// lockedBuffer is what a program has said so far.
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
