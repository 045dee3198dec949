package terraform_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/scaffold"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
	"github.com/slipway-cd/slipway/ci/internal/version"
	"github.com/slipway-cd/slipway/ci/test/infratest"
)

// suite tests a root that slipway init wrote: without an environment, and in one.
const suite = `provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}
override_data {
  target = module.environment.module.platform.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}
override_data {
  target = module.environment.module.platform.data.aws_kms_alias.platform
  values = { target_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/0a0a0a0a-0000-0000-0000-000000000000" }
}
run "alone" {
  command = plan
  assert {
    condition     = output.platform.ecs_cluster_name == "ecs-cluster" && output.platform.region == "eu-west-1" && output.platform.tags.Repository == "acme/shop"
    error_message = jsonencode(output.platform)
  }
}
run "staging" {
  command = plan
  variables {
    environment = "staging"
    settings    = { project_name = "shop", name_prefix = "two" }
  }
  assert {
    condition     = output.platform.ecs_cluster_name == "two-cluster" && output.platform.tags.Project == "shop" && output.platform.region == "eu-west-1" && output.platform.tags.Environment == "staging"
    error_message = jsonencode(output.platform)
  }
}
`

// TestOneProvider requires one provider of all configurations: only one of them installs it in
// these tests, as its lock file has it.
func TestOneProvider(t *testing.T) {
	t.Parallel()
	source := infratest.Source()
	lock, err := fs.ReadFile(source, ".terraform.lock.hcl")
	require.NoError(t, err)
	constraint := matches(t, "terraform/terraform.tf", `(?m)^ +version += (.*)$`)
	require.Len(t, constraint, 1)
	locks, constraints := 0, 0
	require.NoError(t, fs.WalkDir(source, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(source, name)
		switch {
		case path.Base(name) == ".terraform.lock.hcl":
			require.Equal(t, string(lock), string(text), "run cp terraform/.terraform.lock.hcl terraform/%s", name)
			locks++
		case bytes.Contains(text, []byte("required_providers {")) && path.Ext(name) == ".tf":
			require.Equal(t, constraint, matches(t, "terraform/"+name, `(?m)^ +version += (.*)$`), name)
			constraints++
		}
		return err
	}))
	require.Equal(t, []int{5, 6}, []int{locks, constraints})
}

// TestInitializedRepository plans what slipway init wrote, unedited: git gets the modules of
// this tree in place of those of the release on GitHub.
func TestInitializedRepository(t *testing.T) {
	t.Parallel()
	release, configuration := t.TempDir(), filepath.Join(t.TempDir(), "gitconfig")
	require.NoError(t, os.CopyFS(filepath.Join(release, "terraform"), infratest.Source()))
	sourcetest.Git(t, release, "init", "-q", "-b", "main")
	sourcetest.Commit(t, release, "a release")
	sourcetest.Git(t, release, "tag", "v1.2.3")
	content := fmt.Sprintf("[url %q]\n\tinsteadOf = https://%s.git\n", filepath.ToSlash(release), version.Repository)
	require.NoError(t, os.WriteFile(configuration, []byte(content), 0o644))

	dir := t.TempDir()
	sourcetest.Git(t, dir, "init", "-q", "-b", "main")
	sourcetest.Write(t, dir, "go.mod", "module example.com/shop\n")
	sourcetest.Write(t, dir, "main.go", "package main\n\nfunc main() {}\n")
	sourcetest.Commit(t, dir, "a service")
	_, err := scaffold.Init(t.Context(), dir, scaffold.InitOptions{Version: "v1.2.3", GitHub: "acme/shop", Region: "eu-west-1", Choices: scaffold.Choices{Services: []string{"shop=."}}})
	require.NoError(t, err)
	sourcetest.Write(t, dir, "terraform/environments/staging.tfvars.json", `{"environment": "staging", "name_prefix": "stg", "service_overrides": {"shop": {"desired_count": 1}}, "state_key": "staging"}`)
	sourcetest.Write(t, dir, "terraform/tests/environments.tftest.hcl", suite)

	versions, err := os.ReadFile(sourcetest.Repository("terraform", "modules", "environment", "terraform.tf"))
	require.NoError(t, err)
	constraints := regexp.MustCompile(`(?m)^.*version +=.*$`).FindAllString(string(versions), -1)
	require.Len(t, constraints, 2, "of Terraform and of the provider")
	for _, root := range []string{"terraform/main.tf", "terraform/bootstrap/main.tf"} {
		main, err := os.ReadFile(filepath.Join(dir, root))
		require.NoError(t, err)
		for _, constraint := range constraints { // which tflint requires of a root module
			require.Contains(t, string(main), constraint)
		}
	}

	w := infratest.New(t, ".", "GIT_CONFIG_GLOBAL="+configuration)
	w.Dir = filepath.Join(dir, "terraform")
	w.Install("-backend=false", "-lockfile=readonly") // as slipway plan does
	w.Init("-backend=false")
	require.Empty(t, w.Run("fmt", "-check", "-recursive"))
	require.Contains(t, w.Run("test"), "2 passed, 0 failed")

	w = infratest.New(t, ".", "GIT_CONFIG_GLOBAL="+configuration)
	w.Dir = filepath.Join(dir, "terraform", "bootstrap")
	w.Install("-lockfile=readonly")
	w.Init()
	w.Run("validate")
}
