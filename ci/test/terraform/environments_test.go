package terraform_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
	"github.com/slipway-cd/slipway/ci/test/infratest"
)

// TestEnvironmentFiles checks that terraform/README.md shows the environments of the
// tests, that the pipeline accepts them, and that each key is a setting of
// modules/environment.
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
	inputs := matches(t, "terraform/modules/platform/variables.tf", `(?m)^variable "(\w+)"`)
	ours := []string{"promote_from", "state_bucket", "state_key", "state_region"}
	passed := matches(t, "terraform/modules/environment/main.tf", `lookup\(var\.settings, "(\w+)"`)
	require.ElementsMatch(t, inputs, append(passed, "services"))
	settings := strings.FieldsFunc(matches(t, "terraform/modules/environment/main.tf", `(?s)known = \[(.*?)\]`)[0], func(r rune) bool { return strings.ContainsRune("\", \n", r) })
	require.ElementsMatch(t, append(passed, ours...), settings)
	require.Subset(t, platform.KnownKeys(t.TempDir()), settings)

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
			require.Contains(t, settings, key)
		}
	}
}

// matches returns what the first group of a pattern matches in a file of the repository.
func matches(t *testing.T, name, pattern string) (all []string) {
	t.Helper()
	data, err := os.ReadFile(sourcetest.Repository(name))
	require.NoError(t, err)
	for _, match := range regexp.MustCompile(pattern).FindAllSubmatch(data, -1) {
		all = append(all, string(match[1]))
	}
	return all
}
