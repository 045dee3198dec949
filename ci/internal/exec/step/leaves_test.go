package step_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/exec/step"
)

// TestLeaves: what a tool leaves where it runs goes to the outputs, for its user
// alone, even if the tool fails.
func TestLeaves(t *testing.T) {
	source, out := t.TempDir(), t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(source, "in"), 0o755))
	run := func(script string) step.Result {
		t.Helper()
		result, err := step.Host{Source: source}.Run(t.Context(), step.Step{Name: "a", Dir: "in", Args: []string{"sh", "-c", script}, Leaves: []string{"left", "absent"}}, out)
		require.NoError(t, err)
		return result
	}
	require.Equal(t, 3, run("umask 022; echo secret >left; exit 3").ExitCode)
	require.NoFileExists(t, filepath.Join(source, "in", "left"))
	info, err := os.Stat(filepath.Join(out, "left"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	text, err := os.ReadFile(filepath.Join(out, "left"))
	require.NoError(t, err)
	require.Equal(t, "secret\n", string(text))

	require.NoError(t, os.Mkdir(filepath.Join(source, "in", "left"), 0o755))
	_, err = step.Host{Source: source}.Run(t.Context(), step.Step{Name: "a", Dir: "in", Args: []string{"true"}, Leaves: []string{"left"}}, out)
	require.ErrorContains(t, err, "taking left, which a left")
	require.DirExists(t, filepath.Join(source, "in", "left"), "what could not be taken stays")
}
