package cli_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/cli"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// withPlatform makes a tree whose platform needs no provider but Terraform's
// own, and returns it with the flag that names the backend.
func withPlatform(t *testing.T) (dir, backend string) {
	t.Helper()
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Skip("terraform is not on PATH: install it from https://developer.hashicorp.com/terraform/install")
	}
	for _, name := range []string{"TF_CLI_ARGS", "TF_WORKSPACE", "TF_LOG", "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "GITHUB_ACTIONS"} {
		t.Setenv(name, "")
	}
	dir = sourcetest.New(t)
	sourcetest.Write(t, dir, "terraform/main.tf", `terraform {
  backend "local" {}
}

variable "services" {}

variable "size" {
  default = 1
}

resource "terraform_data" "service" {
  for_each         = var.services
  input            = each.value.path
  triggers_replace = [var.size]
}

output "size" {
  value = var.size
}
`)
	sourcetest.Commit(t, dir, "platform")
	return dir, "--backend-config=path=" + filepath.Join(t.TempDir(), "state.json")
}

func TestTerraformCommands(t *testing.T) {
	dir, backend := withPlatform(t)
	out := filepath.Join(t.TempDir(), "plan")

	code, stdout, stderr := run(t, "validate", "--source", dir, "--output", "json")
	require.Equal(t, outcome.Done, code, stderr)
	var validated struct{ Result string }
	require.NoError(t, json.Unmarshal([]byte(stdout), &validated), "one JSON document")
	require.Equal(t, "succeeded", validated.Result)

	code, stdout, stderr = run(t, "plan", "--source", dir, "--out", out, backend, "--output", "json")
	require.Equal(t, outcome.Done, code, stderr)
	var planned struct {
		Result  string
		Counts  map[string]int
		Binding struct{ Commit, Digest string }
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &planned), "one JSON document")
	require.Equal(t, "changes", planned.Result)
	require.Equal(t, map[string]int{"create": 2}, planned.Counts)
	require.Equal(t, strings.TrimSpace(sourcetest.Git(t, dir, "rev-parse", "HEAD")), planned.Binding.Commit)
	for _, file := range []string{"tfplan", "plan.json", "summary.md", "binding.json"} {
		require.FileExists(t, filepath.Join(out, file))
	}
	require.Contains(t, stderr, "the plan is in "+out)

	code, stdout, stderr = run(t, "apply", "--source", dir, "--plan", out, "--digest", "sha256:0")
	require.Equal(t, outcome.Refused, code)
	require.Empty(t, stdout)
	require.Contains(t, stderr, "is not the reviewed one")

	code, stdout, stderr = run(t, "apply", "--source", dir, "--plan", out, "--digest", planned.Binding.Digest)
	require.Equal(t, outcome.Done, code, stderr)
	require.Contains(t, stdout, "apply succeeded: 2 applied, 0 failed, 0 not reached")
	require.Contains(t, stdout, "  size = 1\n")
	require.Contains(t, stderr, `terraform_data.service["api"]: Creation complete`)

	code, _, stderr = run(t, "apply", "--source", dir, "--plan", out)
	require.Equal(t, outcome.Refused, code)
	require.Contains(t, stderr, "perhaps because this plan was already applied")

	code, stdout, _ = run(t, "plan", "--source", dir, "--out", out, backend, "--output", "markdown", "--state-lock=false", "--region", "eu-west-1")
	require.Equal(t, outcome.Done, code, "no changes")
	require.Contains(t, stdout, "### No changes: ")
	code, stdout, _ = run(t, "plan", "--source", dir, "--out", out, backend, "--refresh-only")
	require.Equal(t, outcome.Done, code)
	require.Contains(t, stdout, "No drift: ")
	code, stdout, _ = run(t, "plan", "--source", dir, "--out", out, backend, "--destroy")
	require.Equal(t, outcome.Done, code)
	require.Contains(t, stdout, "Plan: 2 destroyed")
	code, stdout, stderr = run(t, "apply", "--source", dir, "--plan", out, "--output", "json")
	require.Equal(t, outcome.Done, code, stderr)
	require.Contains(t, stdout, `"action": "destroy"`)

	gone := broken{syscall.EPIPE}
	for _, args := range [][]string{{"plan", "--out", out, backend}, {"apply", "--plan", out}} {
		require.Equal(t, outcome.Done, cli.Run(t.Context(), append(args, "--source", dir), gone, gone, nil), "%s, though nobody reads", args[0])
	}
	state, err := os.ReadFile(strings.TrimPrefix(backend, "--backend-config=path="))
	require.NoError(t, err)
	require.Contains(t, string(state), "terraform_data", "it was applied")
}

func TestTerraformCommandErrors(t *testing.T) {
	dir, backend := withPlatform(t)
	sourcetest.Write(t, dir, "terraform/unformatted.tf", "locals{\n}\n")
	broken := sourcetest.New(t)
	sourcetest.Write(t, broken, platform.ServicesFile, "{")
	sourcetest.Write(t, broken, "terraform/main.tf", "# nothing\n")
	tests := map[string]struct {
		args []string
		code outcome.Code
		want string
	}{
		"findings":                 {[]string{"validate", "--source", dir}, outcome.Failed, "terraform/unformatted.tf:1: error: not formatted: run slipway fmt"},
		"a services file":          {[]string{"validate", "--source", broken}, outcome.Usage, "line 1 is not JSON"},
		"no tree":                  {[]string{"plan", "--source", filepath.Join(dir, "nope")}, outcome.Usage, "name its root with --source"},
		"no tree to validate":      {[]string{"validate", "--source", filepath.Join(dir, "nope")}, outcome.Usage, "name its root with --source"},
		"no tree to apply to":      {[]string{"apply", "--source", filepath.Join(dir, "nope")}, outcome.Usage, "name its root with --source"},
		"a folder outside":         {[]string{"plan", "--source", dir, "--dir", "../x"}, outcome.Usage, `invalid --dir "../x": want a folder of the source tree`},
		"no configuration":         {[]string{"validate", "--source", dir, "--dir", "web"}, outcome.Usage, "web has no Terraform configuration"},
		"refresh-only and destroy": {[]string{"plan", "--source", dir, "--refresh-only", "--destroy"}, outcome.Usage, "exclude each other: leave out one of them"},
		"a bad variable":           {[]string{"plan", "--source", dir, backend, "--out", t.TempDir(), "--var", "nope=1"}, outcome.Usage, `"nope"`},
		"no plan":                  {[]string{"apply", "--source", dir, "--plan", filepath.Join(dir, "nope")}, outcome.Usage, "run slipway plan"},
		"half a credential":        {[]string{"plan", "--source", dir, backend}, outcome.Usage, "AWS_SECRET_ACCESS_KEY is not"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if name == "half a credential" {
				t.Setenv("AWS_ACCESS_KEY_ID", "x")
				t.Setenv("AWS_SECRET_ACCESS_KEY", "")
			}
			code, stdout, stderr := run(t, tt.args...)
			require.Equal(t, tt.code, code, stderr)
			require.Contains(t, stdout+stderr, tt.want)
		})
	}
}
