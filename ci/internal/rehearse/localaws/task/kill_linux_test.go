package task

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest/testapp"
)

// childModeVariable is set in a copy of the test program that starts a task and is then
// killed. Its value is the mode.
const childModeVariable, childDirVariable, childBinaryVariable = "TASK_CHILD_MODE", "TASK_CHILD_DIR", "TASK_CHILD_BINARY"

func runKilledChild() {
	fail := func(err error) {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	img, err := testapp.ServiceImage(os.Getenv(childBinaryVariable), "one", "spawn")
	if err != nil {
		fail(err)
	}
	rt, err := NewRuntime(Config{
		Dir: os.Getenv(childDirVariable), Mode: Mode(os.Getenv(childModeVariable)), Images: fakeRegistry{"app": img}, Clock: clock.NewScaled(1),
	})
	if err != nil {
		fail(err)
	}
	pulled, err := rt.Pull(context.Background(), "app", "")
	if err != nil {
		fail(err)
	}
	s, err := rt.NewSandbox("task", "10.0.10.4")
	if err != nil {
		fail(err)
	}
	out := make(chan string, 1)
	c, err := s.Start(Spec{Name: "app", Image: pulled, Output: func(_ time.Time, line string) { out <- line }})
	if err != nil {
		fail(err)
	}
	<-out
	fmt.Println(c.(*process).proc.Pid)
	select {}
}

// alive reports whether a process exists and is not a zombie.
func alive(pid int) bool {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(raw), ") Z ")
}

// children returns the children of a process.
func children(t *testing.T, pid int) []int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var list []int
	for text := range strings.FieldsSeq(string(raw)) {
		n, err := strconv.Atoi(text)
		require.NoError(t, err)
		list = append(list, n)
	}
	return list
}

func TestTasksAreKilledWithParent(t *testing.T) {
	modes := []Mode{ModePort}
	if probeNamespaces() == nil {
		modes = append(modes, ModeNamespace)
	}
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			self, err := os.Executable()
			require.NoError(t, err)
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), childModeVariable+"="+string(mode), childDirVariable+"="+t.TempDir(), childBinaryVariable+"="+binary)
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			line, err := bufio.NewReader(out).ReadString('\n')
			require.NoError(t, err)
			pid, err := strconv.Atoi(strings.TrimSpace(line))
			require.NoError(t, err, line)
			require.True(t, alive(pid))
			family := append(children(t, pid), pid)
			require.NoError(t, cmd.Process.Kill())
			_ = cmd.Wait()
			if mode == ModePort { // without a process namespace, children of a task's process are not bound to it
				family = []int{pid}
				t.Cleanup(func() { _ = syscall.Kill(-pid, syscall.SIGKILL) })
			}
			require.Eventually(t, func() bool {
				for _, p := range family {
					if alive(p) {
						return false
					}
				}
				return true
			}, time.Minute, 5*time.Millisecond)
		})
	}
}
