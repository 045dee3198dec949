package manual_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// TestEvidence: the tests are there that docs/reference-system.md names for each defect,
// and none is without one.
func TestEvidence(t *testing.T) {
	suites := terraformRuns(t)
	rows := 0
	for _, r := range pageNamed(t, "docs/reference-system.md").rows {
		if r.cells["defect"] == "" {
			continue
		}
		rows++
		require.NotEmpty(t, r.code["test"], "%s has no test", r.cells["defect"])
		for _, name := range r.code["test"] {
			if suite, run, ofTerraform := strings.Cut(name, ": "); ofTerraform {
				require.True(t, suites[suite+": "+run], "docs/reference-system.md: there is no run %s", name)
				continue
			}
			folder, test, ok := strings.Cut(name, ".")
			require.True(t, ok, name)
			require.True(t, hasTest(t, folder, test), "docs/reference-system.md: there is no %s", name)
		}
	}
	require.Equal(t, 23, rows)
}

// TestControlsHaveTests: the runs are there that docs/security-controls.md names for
// each control that it calls met.
func TestControlsHaveTests(t *testing.T) {
	suites := terraformRuns(t)
	named := 0
	for _, r := range pageNamed(t, "docs/security-controls.md").rows {
		column, has := r.cells["test"]
		if !has {
			continue
		}
		require.NotEmpty(t, column, "%s has no test", r.cells["control"])
		for name := range strings.SplitSeq(column, ";") {
			name = strings.TrimPrefix(strings.TrimSpace(name), "bootstrap ")
			if folder, inGo := strings.CutPrefix(name, "Go: "); inGo {
				require.DirExists(t, sourcetest.Repository("ci", "test", folder))
				continue
			}
			require.True(t, suites[name], "docs/security-controls.md: %s: there is no run %s", r.cells["control"], name)
			named++
		}
	}
	require.Greater(t, named, 35)
}

// terraformRuns are the runs of Terraform's tests, as "file: run", and the parts of a run
// that has several under headings of their own: what the defaults make is planned once.
func terraformRuns(t testing.TB) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	run := regexp.MustCompile(`(?m)^(?:run "|  # )([a-z0-9_]+)(?:" \{)?$`)
	for _, configuration := range []string{".", "modules/bootstrap", "modules/platform"} {
		files, err := filepath.Glob(sourcetest.Repository("terraform", configuration, "tests", "*.tftest.hcl"))
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, file := range files {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			for _, match := range run.FindAllStringSubmatch(string(data), -1) {
				found[strings.TrimSuffix(filepath.Base(file), ".tftest.hcl")+": "+match[1]] = true
			}
		}
	}
	return found
}

// hasTest reports whether a folder below ci/internal or ci/test has a test.
func hasTest(t testing.TB, folder, name string) bool {
	t.Helper()
	for _, parent := range []string{"ci/internal", "ci/internal/*", "ci/test"} {
		files, err := filepath.Glob(sourcetest.Repository(parent, folder, "*_test.go"))
		require.NoError(t, err)
		for _, file := range files {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			if strings.Contains(string(data), "\nfunc "+name+"(") {
				return true
			}
		}
	}
	return false
}
