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

// startLimit is the time a program has to answer. It is generous, because tests of
// other packages may keep the machine busy.
const startLimit = time.Minute

// sandboxVariable makes the test binary enter the sandbox instead of running tests.
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

// freeAddress returns an unused address on loopback.
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
func (p *program) kill() {
	_ = syscall.Kill(-p.command.Process.Pid, syscall.SIGKILL) // it may have ended already
	<-p.ended
}

// end sends the program a signal and waits until it has ended.
func (p *program) end(t testing.TB, signal syscall.Signal) {
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
