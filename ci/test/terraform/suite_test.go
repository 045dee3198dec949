package terraform_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/test/infratest"
)

// TestSuites runs Terraform's own tests, which validate each configuration first. They
// only plan, so they need the provider and no account.
func TestSuites(t *testing.T) {
	if testing.Short() {
		t.Skip("terraform test takes minutes: run without -short, or terraform test in terraform/ and the folders below")
	}
	t.Parallel()
	for _, configuration := range []string{".", "modules/bootstrap", "modules/environment", "modules/platform"} {
		t.Run(configuration, func(t *testing.T) {
			t.Parallel()
			w := infratest.New(t, configuration)
			w.Init("-backend=false")
			suites, err := filepath.Glob(filepath.Join(w.Dir, "tests", "*.tftest.hcl"))
			require.NoError(t, err)
			require.NotEmpty(t, suites)
			said := w.Run("test")
			require.Contains(t, said, " 0 failed")
			for _, suite := range suites {
				require.Contains(t, said, "tests/"+filepath.Base(suite)+"... pass")
			}
		})
	}
}

// TestCallers validates the configurations that have no tests of their own, because they only
// call a module.
func TestCallers(t *testing.T) {
	t.Parallel()
	for _, configuration := range []string{"bootstrap", "modules/platform/examples/worker"} {
		t.Run(configuration, func(t *testing.T) {
			t.Parallel()
			w := infratest.New(t, configuration)
			w.Init("-backend=false")
			w.Run("validate")
		})
	}
}

// TestFormatted requires terraform fmt of every file.
func TestFormatted(t *testing.T) {
	t.Parallel()
	w := infratest.New(t, ".")
	require.Empty(t, w.Run("fmt", "-check", "-recursive", "-list=true"), "run terraform fmt -recursive in terraform/")
}
