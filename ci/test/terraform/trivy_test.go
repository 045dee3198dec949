package terraform_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/check/lint"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/test/infratest"
)

// everything enables every optional feature of the platform.
const everything = `settings = {
  certificate_arn             = "arn:aws:acm:us-east-1:123456789012:certificate/0a0a0a0a-0000-0000-0000-000000000000"
  waf                         = true
  alb_access_logs             = true
  customer_managed_encryption = true
  nat                         = "per_az"
  alarm_emails                = ["a@example.com"]
}
`

const account = `
account_id        = "123456789012"
github_repository = "acme/shop"
`

// TestTrivyFindsNothing runs Trivy as lint does, with the default variables and with
// every optional feature.
func TestTrivyFindsNothing(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("trivy"); err != nil {
		t.Skip("trivy is not installed: get it from https://trivy.dev")
	}
	for name, variables := range map[string]string{"defaults": "", "everything": everything} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			require.NoError(t, os.CopyFS(filepath.Join(dir, "terraform"), infratest.Source()))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "terraform", "choice.auto.tfvars"), []byte(variables), 0o644))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "terraform", "bootstrap", "account.auto.tfvars"), []byte(account), 0o644))
			targets := lint.Targets{
				Terraform: "terraform", Roots: []string{"terraform", "terraform/bootstrap"},
				Tracked: []string{platform.ServicesFile, "terraform/choice.auto.tfvars", "terraform/bootstrap/account.auto.tfvars"},
			}
			report, err := lint.Run(t.Context(), dir, step.Host{Source: dir}, targets,
				lint.Options{Kinds: []lint.Kind{lint.Security}, Strict: true, Image: func(string) string { return "" }})
			require.NoError(t, err)
			require.Empty(t, report.Findings)
			require.Equal(t, lint.Succeeded, report.Result, "%+v", report.Checks)
		})
	}
}

// TestWhatTrivyIsToldToIgnore requires a reason above every trivy:ignore comment.
func TestWhatTrivyIsToldToIgnore(t *testing.T) {
	source, marks := infratest.Source(), 0
	for _, pattern := range []string{"modules/platform/*.tf", "modules/bootstrap/*.tf"} {
		files, err := fs.Glob(source, pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, name := range files {
			text, err := fs.ReadFile(source, name)
			require.NoError(t, err)
			lines := strings.Split(string(text), "\n")
			for n, line := range lines {
				if !strings.Contains(line, "trivy:ignore") {
					continue
				}
				marks++
				require.Regexp(t, `^#trivy:ignore:AWS-\d{4}$`, line, "%s:%d", name, n+1)
				require.Regexp(t, `^# \S`, lines[n-1], "%s:%d: say why above it", name, n+1)
				require.Regexp(t, `^resource "`, lines[n+1], "%s:%d: it is about one resource", name, n+1)
			}
		}
	}
	require.Equal(t, 11, marks)
}
