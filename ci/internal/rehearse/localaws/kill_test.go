package localaws_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
)

// childDirVariable is set in a copy of the test program that runs an embedded AWS, in the
// directory that is the value, until it is killed.
const childDirVariable = "LOCALAWS_CHILD_DIR"

func runKilledChild() {
	s, err := localaws.Start(context.Background(), localaws.Options{Dir: os.Getenv(childDirVariable)})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	fmt.Println(s.Endpoint())
	select {} // until it is killed
}

func TestDirectoryOfKilledServerIsRemoved(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childDirVariable+"="+dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(line, "http://"), line)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	_, err = http.Get(strings.TrimSpace(line))
	require.Error(t, err)

	left, err := filepath.Glob(filepath.Join(dir, "local-aws-*", "lock"))
	require.NoError(t, err)
	require.Len(t, left, 1, "it could not clean up after itself")
	old := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(left[0], old, old))

	s, err := localaws.Start(t.Context(), localaws.Options{Dir: dir})
	require.NoError(t, err)
	held, err := filepath.Glob(filepath.Join(dir, "local-aws-*", "lock"))
	require.NoError(t, err)
	require.Len(t, held, 1, "the next one does")
	require.NotEqual(t, left[0], held[0])
	require.NoError(t, os.Chtimes(held[0], old, old))
	other, err := localaws.Start(t.Context(), localaws.Options{Dir: dir})
	require.NoError(t, err)
	require.FileExists(t, held[0], "but it leaves those alone that live")
	require.NoError(t, other.Close())
	require.NoError(t, s.Close())
}
