package terraform_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/infratest"
	"dagger/slipway/internal/sourcetest"
)

// TestEnvironmentFiles checks that terraform/README.md shows the environments of the
// tests, that the pipeline accepts them, and that each key is a variable.
func TestEnvironmentFiles(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(sourcetest.Repository("terraform/README.md"))
	require.NoError(t, err)
	shown := map[string]string{}
	for _, match := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(string(readme), -1) {
		var e platform.Environment
		require.NoError(t, json.Unmarshal([]byte(match[1]), &e))
		shown[e.Name] = match[1]
	}
	variables, err := os.ReadFile(sourcetest.Repository("terraform/variables.tf"))
	require.NoError(t, err)

	dir := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(dir, platform.EnvironmentsDir), os.DirFS("testdata/environments")))
	all, err := platform.Environments(dir)
	require.NoError(t, err)
	require.Len(t, all, 2)
	p, err := platform.Read(sourcetest.Root("terraform"))
	require.NoError(t, err)
	for _, e := range all {
		_, err := p.In(e)
		require.NoError(t, err)
		require.Equal(t, infratest.Account, e.AccountID)
		data, err := os.ReadFile(filepath.Join(dir, e.File))
		require.NoError(t, err)
		require.JSONEq(t, string(data), shown[e.Name])
		var keys map[string]any
		require.NoError(t, json.Unmarshal(data, &keys))
		for key := range keys {
			require.Contains(t, string(variables), "\nvariable \""+key+"\" {")
		}
	}
}
