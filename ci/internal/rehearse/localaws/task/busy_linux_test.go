package task

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestStartRetriesBusyProgram holds a program open for writing, as a child does that was
// forked while it was unpacked.
func TestStartRetriesBusyProgram(t *testing.T) {
	self, err := os.ReadFile("/bin/true")
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "program")
	require.NoError(t, os.WriteFile(name, self, 0o700))
	writer, err := os.OpenFile(name, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer writer.Close()
	own, err := startOSThread(func() error { return nil })
	require.NoError(t, err)
	defer own.close()
	s := &Sandbox{thread: own}

	tries := 0
	prepare := func() (*exec.Cmd, error) {
		if tries++; tries == 3 {
			require.NoError(t, writer.Close())
		}
		return exec.Command(name), nil
	}
	cmd, err := s.startCommand(prepare)
	require.NoError(t, err)
	require.NoError(t, cmd.Wait())
	require.Equal(t, 3, tries)

	writer, err = os.OpenFile(name, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = s.startCommand(prepare)
	require.ErrorIs(t, err, syscall.ETXTBSY, "not for ever")

	own.close()
	_, err = s.startCommand(prepare)
	require.Error(t, err, "a task that is gone starts nothing")
}
