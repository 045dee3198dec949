package terraform_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/infratest"
)

// TestSuites runs terraform's own tests, each file by itself. They plan and apply
// nothing, so they need the provider and no account.
func TestSuites(t *testing.T) {
	if testing.Short() {
		t.Skip("terraform test takes minutes: run without -short, or terraform test in terraform/ and terraform/bootstrap/")
	}
	t.Parallel()
	for _, configuration := range []string{".", "bootstrap"} {
		w := infratest.New(t, configuration)
		w.Init("-backend=false")
		suites, err := filepath.Glob(filepath.Join(w.Dir, "tests", "*.tftest.hcl"))
		require.NoError(t, err)
		require.NotEmpty(t, suites)
		for _, suite := range suites {
			name := filepath.Base(suite)
			t.Run(filepath.Join(configuration, strings.TrimSuffix(name, ".tftest.hcl")), func(t *testing.T) {
				t.Parallel()
				require.Contains(t, w.ForSubtest(t).Run("test", "-filter=tests/"+name), "0 failed")
			})
		}
	}
}

// TestFormatted wants every file formatted, and both configurations valid.
func TestFormatted(t *testing.T) {
	t.Parallel()
	w := infratest.New(t, ".")
	require.Empty(t, w.Run("fmt", "-check", "-recursive", "-list=true"), "run terraform fmt -recursive in terraform/")
	for _, configuration := range []string{".", "bootstrap"} {
		w := infratest.New(t, configuration)
		w.Init("-backend=false")
		require.Contains(t, w.Run("validate"), "The configuration is valid")
	}
}
