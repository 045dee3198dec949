package infra_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/infra"
	"github.com/slipway-cd/slipway/ci/internal/infra/terraform"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

func TestMain(m *testing.M) {
	os.Setenv("GOGC", "400") // terraform starts hundreds of times, and collects little garbage
	goleak.VerifyTestMain(m)
}

// secret is the value of every sensitive attribute.
const secret = "hunter2-correct-horse"

// configuration uses only Terraform's built-in provider.
const configuration = `terraform {
  required_version = ">= 1.11"
  backend "local" {}
}

variable "services" {
  type = map(object({ path = string }))

  validation {
    condition     = alltrue([for s in values(var.services) : s.path != ""])
    error_message = "service ${join(", ", [for name, s in var.services : name if s.path == ""])} has no path."
  }
}

variable "password" {
  type      = string
  sensitive = true
}

variable "flavour" {
  type    = string
  default = "plain"
}

resource "terraform_data" "database" {
  input            = { password = var.password, url = "db://admin:${var.password}@host" }
  triggers_replace = [var.flavour]
}

resource "terraform_data" "service" {
  for_each = var.services
  input    = jsonencode({ path = each.value.path, flavour = var.flavour })
}

output "database" {
  value     = terraform_data.database.output
  sensitive = true
}

output "flavour" {
  value = var.flavour
}
`

const services = `{"services": {"backend": {"path": "backend"}, "frontend": {"path": "frontend"}}}
`

// tree is a source tree with a configuration and a local state.
type tree struct {
	infra.Stage
	dir   string
	state string // file of the state
	out   string // plan directory
}

// newTree creates a tree with files below terraform/, all committed.
func newTree(t *testing.T, files map[string]string) tree {
	t.Helper()
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Skip("terraform is not on PATH: " + terraform.NotInstalledHint)
	}
	offline(t)
	dir, beside := t.TempDir(), t.TempDir()
	sourcetest.Git(t, dir, "init", "-q", "-b", "main")
	for name, content := range files {
		sourcetest.Write(t, dir, "terraform/"+name, content)
	}
	sourcetest.Commit(t, dir, "first")
	state := filepath.Join(beside, "state.json")
	return tree{
		Stage: infra.Stage{
			Tree: source.Tree{Dir: dir}, Exec: step.Host{Source: dir},
			Backend: terraform.Backend{Config: []string{"path=" + state}},
			Now:     func() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) },
		},
		dir: dir, state: state, out: filepath.Join(beside, "plan"),
	}
}

// platformTree is newTree with the configuration of this file.
func platformTree(t *testing.T) tree {
	t.Helper()
	t.Setenv("TF_VAR_password", secret)
	return newTree(t, map[string]string{"main.tf": configuration, "services.auto.tfvars.json": services})
}

// offline disables network access and this machine's settings.
func offline(t *testing.T) {
	t.Helper()
	empty := t.TempDir()
	file := filepath.Join(empty, "terraform.rc")
	content := "provider_installation {\n  filesystem_mirror {\n    path = \"" + filepath.ToSlash(filepath.Join(empty, "mirror")) + "\"\n  }\n}\n"
	require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
	t.Setenv("TF_CLI_CONFIG_FILE", file)
	for _, name := range []string{"AWS_PROFILE", "TF_WORKSPACE", "TF_CLI_ARGS", "TF_CLI_ARGS_init", "TF_CLI_ARGS_plan", "TF_CLI_ARGS_apply", "TF_LOG"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

func (tr tree) plan(t *testing.T, o ...func(*infra.PlanOptions)) (infra.SavedPlan, error) {
	t.Helper()
	options := infra.PlanOptions{Out: tr.out}
	for _, set := range o {
		set(&options)
	}
	return tr.Plan(t.Context(), options)
}

func (tr tree) mustPlan(t *testing.T, o ...func(*infra.PlanOptions)) infra.SavedPlan {
	t.Helper()
	planned, err := tr.plan(t, o...)
	require.NoError(t, err)
	return planned
}

func (tr tree) apply(t *testing.T, o ...func(*infra.ApplyOptions)) (infra.ApplyReport, error) {
	t.Helper()
	options := infra.ApplyOptions{Plan: tr.out}
	for _, set := range o {
		set(&options)
	}
	return tr.Apply(t.Context(), options)
}

func (tr tree) mustApply(t *testing.T, o ...func(*infra.ApplyOptions)) infra.ApplyReport {
	t.Helper()
	applied, err := tr.apply(t, o...)
	require.NoError(t, err)
	return applied
}

// stateNow returns the state's content, or "".
func (tr tree) stateNow(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(tr.state)
	if os.IsNotExist(err) {
		return ""
	}
	require.NoError(t, err)
	return string(data)
}

// snapshot returns a function that restores the tree, its plan and its state, which
// is faster than creating them again.
func (tr tree) snapshot(t *testing.T) (again func(t *testing.T)) {
	t.Helper()
	head := strings.TrimSpace(sourcetest.Git(t, tr.dir, "rev-parse", "HEAD"))
	state, plan := tr.stateNow(t), map[string]string{}
	entries, err := os.ReadDir(tr.out)
	require.NoError(t, err)
	for _, entry := range entries {
		plan[entry.Name()] = tr.file(t, entry.Name())
	}
	return func(t *testing.T) {
		t.Helper()
		sourcetest.Git(t, tr.dir, "reset", "-q", "--hard", head)
		sourcetest.Git(t, tr.dir, "clean", "-q", "-d", "-f")
		require.NoError(t, os.RemoveAll(tr.out))
		require.NoError(t, os.MkdirAll(tr.out, 0o755))
		for name, content := range plan {
			require.NoError(t, os.WriteFile(filepath.Join(tr.out, name), []byte(content), 0o600))
		}
		require.NoError(t, os.RemoveAll(tr.state))
		if state != "" {
			require.NoError(t, os.WriteFile(tr.state, []byte(state), 0o600))
		}
	}
}

func (tr tree) write(t *testing.T, name, content string) {
	t.Helper()
	sourcetest.Write(t, tr.dir, "terraform/"+name, content)
}

func (tr tree) file(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(tr.out, name))
	require.NoError(t, err)
	return string(data)
}

// rendered returns a document in all formats.
func rendered(t *testing.T, d report.Document) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, d.Text(&b))
	require.NoError(t, d.Markdown(&b))
	require.NoError(t, d.JSON(&b))
	return b.String()
}

// account is an AWS account.
type account struct {
	id, region string
	err        error
}

func (a account) Identity(context.Context) (account, region string, err error) {
	return a.id, a.region, a.err
}
