package cli_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/cli"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/infra/binding"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal/rehearsaltest"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// newEnvironments returns a tree with two environments in two accounts.
func newEnvironments(t *testing.T) string {
	t.Helper()
	dir := sourcetest.New(t)
	sourcetest.Write(t, dir, platform.EnvironmentsDir+"/staging.tfvars.json",
		`{"environment": "staging", "account_id": "111111111111", "region": "eu-west-1", "name_prefix": "stg", "size": 1, "service_overrides": {"api": {"desired_count": 1}}}`)
	sourcetest.Write(t, dir, platform.EnvironmentsDir+"/production.tfvars.json",
		`{"environment": "production", "account_id": "222222222222", "size": 2}`)
	sourcetest.Write(t, dir, "terraform/main.tf", `terraform {
  backend "local" {}
}

variable "services" {}
variable "environment" {}
variable "account_id" {}
variable "size" {}

variable "region" {
  default = ""
}

variable "name_prefix" {
  default = "ecs"
}

variable "service_overrides" {
  default = {}
}

variable "extra" {
  default = ""
}

resource "terraform_data" "size" {
  input = "${var.name_prefix} ${var.size}"
}

output "size" {
  value = terraform_data.size.output
}
`)
	sourcetest.Commit(t, dir, "environments")
	return dir
}

// TestEnvironmentFlag checks the flag of every command that uses the account.
func TestEnvironmentFlag(t *testing.T) {
	for _, command := range cli.Command().Commands() {
		uses := func(name string) bool { return command.Flags().Lookup(name) != nil }
		if command.Name() == "promote" { // it has --from and --to
			continue
		}
		require.Equal(t, uses("region"), uses("env"), command.Name())
	}
	dir := newEnvironments(t)
	for _, command := range cli.Command().Commands() {
		if command.Flags().Lookup("env") == nil || command.Name() == "init" { // it writes the tree's first file
			continue
		}
		t.Run(command.Name(), func(t *testing.T) {
			code, _, stderr := run(t, append(arguments(command), "--source", dir)...)
			require.Equal(t, outcome.Usage, code, stderr)
			require.Equal(t, "slipway: several environments: name one with --env (in Dagger --environment): production, staging\n", stderr)
			code, _, stderr = run(t, append(arguments(command), "--source", dir, "--env", "production2")...)
			require.Equal(t, outcome.Usage, code, stderr)
			require.Equal(t, "slipway: no environment \"production2\": did you mean \"production\"?\n", stderr)
		})
	}
}

// arguments returns a command line with what the command needs.
func arguments(command *cobra.Command) []string {
	args := []string{command.Name()}
	switch command.Name() {
	case "run":
		args = append(args, "api")
	case "verify":
		args = append(args, "--identity", "https://github.com/o/r/.github/workflows/f@refs/heads/main")
	case "scan":
		args = append(args, "--sha", strings.Repeat("ab", 20))
	}
	return args
}

// TestEnvironments uses the commands in two environments in two accounts.
func TestEnvironments(t *testing.T) {
	dir := newEnvironments(t)
	rehearsaltest.DeliverToBoth(t, dir, func(staging, production string, first report.Release) {
		in := func(t *testing.T, endpoint string) {
			rehearsaltest.SetEnv(t, endpoint)
			t.Setenv("AWS_REGION", "") // of the environment
		}
		t.Run("staging", func(t *testing.T) {
			in(t, staging)
			testStaging(t, dir, first)
		})
		t.Run("production", func(t *testing.T) {
			in(t, production)
			status := decode[report.Status](t, ran(t, dir, "status", "--env", "production"))
			require.Equal(t, "production", status.Environment)
			require.Equal(t, "ecs-cluster", status.Cluster)
			require.Equal(t, first.URL, status.URL)
			require.Equal(t, first.SHA, status.Services[0].Version.SHA, "the release was to staging")
			require.EqualValues(t, 2, status.Services[0].Tasks.Desired)
		})
		t.Run("credentials of another account", func(t *testing.T) {
			in(t, production)
			code, _, stderr := run(t, "status", "--source", dir, "--env", "staging")
			require.Equal(t, outcome.Refused, code)
			require.Contains(t, stderr, "slipway: environment staging is in account 111111111111, but the credentials are of account 222222222222: use credentials of 111111111111\n")
		})
		t.Run("terraform", func(t *testing.T) {
			testTerraformEnvironments(t, dir, func(t *testing.T, e string) {
				in(t, map[string]string{"staging": staging, "production": production}[e])
			})
		})
	})
}

func testStaging(t *testing.T, dir string, first report.Release) {
	at := []string{"--env", "staging"}
	with := func(args ...string) string { return ran(t, dir, append(args, at...)...) }
	status := decode[report.Status](t, with("status"))
	require.Equal(t, "staging", status.Environment)
	require.Equal(t, "stg-cluster", status.Cluster)
	require.Equal(t, first.Staging.URL, status.URL, "of the load balancer stg-alb")
	require.Contains(t, status.Services[0].Version.TaskDefinition, "arn:aws:ecs:eu-west-1:111111111111:task-definition/stg-api-task:")

	sourcetest.Write(t, dir, "web/site/index.html", "<!doctype html><title>two</title>")
	sourcetest.Commit(t, dir, "second")
	published := decode[delivery.Published](t, with("publish"))
	require.Contains(t, published.Images[0].Image, "/stg-microservices-api@")
	diff := decode[report.Diff](t, with("diff"))
	require.True(t, diff.Changed)
	require.Equal(t, "staging", diff.Environment)
	second := decode[report.Release](t, with("deploy", "--no-build"))
	require.Equal(t, report.Succeeded, second.Result)
	require.Equal(t, "staging", second.Environment)
	require.Equal(t, status.URL, second.URL)
	require.Contains(t, stageNames(second), "smoke")
	code, stdout, stderr := run(t, "run", "api", "--source", dir, "--output", "json", "--env", "staging", "--", "exit", "0")
	require.Equal(t, outcome.Done, code, stderr)
	task := decode[report.Run](t, stdout)
	require.Equal(t, "staging", task.Environment)
	logs := decode[report.Logs](t, with("logs", "--task", task.Task.Task))
	require.Len(t, logs.Lines, 1)
	back := decode[report.Release](t, with("rollback"))
	require.Equal(t, first.SHA, back.SHA)

	short := second.SHA[:12]
	for _, tt := range []struct{ args, want string }{
		{"status", "environment staging\napi "},
		{"status --output markdown", "## What runs in staging\n"},
		{"diff", "environment staging\napi: "},
		{"diff --output markdown", "## What a deploy of `" + short + "` changes in staging\n"},
		{"rollback --to " + second.SHA, "staging: " + short + ": succeeded"},
		{"deploy --output markdown", "## Release `" + short + "` to staging: unchanged\n"},
	} {
		code, stdout, stderr := run(t, append(strings.Fields(tt.args), "--source", dir, "--env", "staging")...)
		require.Equal(t, outcome.Done, code, stderr)
		require.Contains(t, stdout, tt.want)
	}
}

// testTerraformEnvironments plans and applies in both environments.
func testTerraformEnvironments(t *testing.T, dir string, in func(t *testing.T, environment string)) {
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Skip("terraform is not on PATH: install it from https://developer.hashicorp.com/terraform/install")
	}
	states := t.TempDir()
	plan := func(environment string, args ...string) (out string) {
		in(t, environment)
		out = filepath.Join(t.TempDir(), "plan")
		backend := "--backend-config=path=" + filepath.Join(states, environment+".json")
		code, stdout, stderr := run(t, append([]string{"plan", "--source", dir, "--env", environment, "--out", out, backend}, args...)...)
		require.Equal(t, outcome.Done, code, stderr)
		require.Contains(t, stdout, environment+": Plan: 1 created")
		require.Contains(t, stderr, "apply it with slipway apply --env "+environment+" --plan "+out)
		bound, err := binding.Read(filepath.Join(out, binding.File))
		require.NoError(t, err)
		require.Equal(t, environment, bound.Environment)
		require.Contains(t, bound.Variables, "--var-file "+environment+".tfvars.json")
		return out
	}
	apply := func(environment, out string, args ...string) (outcome.Code, string) {
		in(t, environment)
		code, stdout, stderr := run(t, append([]string{"apply", "--source", dir, "--env", environment, "--plan", out}, args...)...)
		return code, stdout + stderr
	}
	ofStaging, ofProduction := plan("staging", "--var", "extra=x"), plan("production")
	for environment, out := range map[string]string{"production": ofStaging, "staging": ofProduction} {
		code, said := apply(environment, out)
		require.Equal(t, outcome.Refused, code, said)
		require.Contains(t, said, "now "+environment)
		require.Contains(t, said, "the inputs of the plan have changed: environment: bound ")
	}
	code, said := apply("staging", ofStaging, "--var", "extra=y")
	require.Equal(t, outcome.Refused, code, said)
	require.Contains(t, said, "variables (--var extra)")
	code, said = apply("staging", ofStaging, "--var", "extra=x")
	require.Equal(t, outcome.Done, code, said)
	require.Contains(t, said, "apply to staging succeeded: 1 applied")
	require.Contains(t, said, "  size = \"stg 1\"\n")
	code, said = apply("production", ofProduction)
	require.Equal(t, outcome.Done, code, said)
	require.Contains(t, said, "  size = \"ecs 2\"\n")
	code, said = apply("production", ofProduction)
	require.Equal(t, outcome.Refused, code, said)
}
