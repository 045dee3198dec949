package infra_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/infra"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

const wellTested = `variables {
  password = "x"
  services = { backend = { path = "backend" } }
}

run "flavour" {
  command = plan

  assert {
    condition     = output.flavour == "plain"
    error_message = "the flavour is not plain"
  }
}
`

func TestValidateFindsNothing(t *testing.T) {
	tr := newTree(t, map[string]string{
		"main.tf": configuration, "tests/platform.tftest.hcl": wellTested,
		"bootstrap/main.tf": "resource \"terraform_data\" \"state\" {}\n", "bootstrap/.terraform.lock.hcl": "",
		"modules/unused/main.tf": "no HCL, and no root module of its own",
	})
	tr.write(t, "modules/unused/main.tf", "# nothing\n")
	found, err := tr.Validate(t.Context())
	require.NoError(t, err)
	require.Equal(t, infra.Succeeded, found.Result)
	require.Empty(t, found.Findings)
	require.Equal(t, []infra.Root{{Dir: "terraform", Passed: 1}, {Dir: "terraform/bootstrap"}}, found.Roots)
	require.Contains(t, rendered(t, found), "terraform: 1 tests passed, 0 failed\nterraform/bootstrap: no tests\nnothing found\n")
}

func TestValidateFindsEverythingAtOnce(t *testing.T) {
	tr := newTree(t, map[string]string{
		"main.tf":  configuration + "\nresource \"terraform_data\" \"bad\" {\n  colour = 3\n}\n",
		"other.tf": "# fine\nlocals {\n  a = 1\n  long =    2\n}\n",
		"bootstrap/main.tf": `resource "terraform_data" "state" {
  input = var.none
}
`, "bootstrap/.terraform.lock.hcl": "",
	})
	found, err := tr.Validate(t.Context())
	require.NoError(t, err)
	require.Equal(t, infra.Failed, found.Result)
	require.Equal(t, []infra.Finding{
		{Root: "terraform/bootstrap", File: "terraform/bootstrap/main.tf", Line: 2, Column: 11, Severity: "error", Rule: "validate", Message: `Reference to undeclared input variable: An input variable with the name "none" has not been declared. This variable can be declared with a variable "none" {} block.`},
		{Root: "terraform", File: "terraform/main.tf", Line: 45, Column: 3, Severity: "error", Rule: "validate", Message: `Unsupported argument: An argument named "colour" is not expected here.`},
		{Root: "terraform", File: "terraform/other.tf", Line: 3, Severity: "error", Rule: "fmt", Message: "not formatted: run slipway fmt"},
	}, found.Findings)
	text := rendered(t, found)
	require.Contains(t, text, "terraform/main.tf:45:3: error: Unsupported argument")
	require.Contains(t, text, "terraform/other.tf:3: error: not formatted: run slipway fmt (fmt)")
	require.Contains(t, text, "### Terraform: 3 findings")
}

func TestValidateFindsFailedTests(t *testing.T) {
	tr := newTree(t, map[string]string{
		"main.tf": configuration,
		"platform.tftest.hcl": `variables {
  password = "x"
  services = { backend = { path = "backend" } }
}

run "spicy" {
  command = plan

  assert {
    condition     = output.flavour == "spicy"
    error_message = "it is not spicy"
  }
}

run "broken" {
  command = plan

  variables {
    services = { backend = { path = "" } }
  }
}
`,
	})
	found, err := tr.Validate(t.Context())
	require.NoError(t, err)
	require.Equal(t, infra.Failed, found.Result)
	require.Equal(t, infra.Finding{
		Root: "terraform", File: "terraform/platform.tftest.hcl", Line: 10, Column: 21, Severity: "error", Rule: "test",
		Message: `run "spicy": Test assertion failed: it is not spicy`,
	}, found.Findings[0])
	require.Contains(t, found.Findings[1].Message, `run "broken": Invalid value for variable: service backend has no path.`)
	require.Equal(t, 2, found.Roots[0].Failed)
}

func TestValidateBadInput(t *testing.T) {
	tests := map[string]struct {
		spoil func(t *testing.T, tr *tree)
		code  outcome.Code
		want  string
	}{
		"another version of Terraform": {
			func(t *testing.T, tr *tree) {
				tr.write(t, "main.tf", "terraform {\n  required_version = \">= 99.0\"\n}\n")
			}, outcome.Usage, "and the configuration requires another version",
		},
		"a provider that cannot be installed": {
			func(t *testing.T, tr *tree) {
				tr.write(t, "main.tf", "terraform {\n  required_providers {\n    aws = {\n      source = \"hashicorp/aws\"\n    }\n  }\n}\n")
			}, outcome.Usage, "provider hashicorp/aws cannot be installed",
		},
		"no Terraform":     {func(t *testing.T, _ *tree) { hideTerraform(t) }, outcome.Usage, "terraform is not on PATH"},
		"no configuration": {func(_ *testing.T, tr *tree) { tr.Dir = "nope" }, outcome.Usage, "nope has no Terraform configuration"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tr := newTree(t, map[string]string{"main.tf": configuration})
			tt.spoil(t, &tr)
			_, err := tr.Validate(t.Context())
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, tt.code, outcome.Of(err))
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestValidateReportsInitErrors(t *testing.T) {
	tr := newTree(t, map[string]string{"main.tf": "resource {\n}\n"})
	found, err := tr.Validate(t.Context())
	require.NoError(t, err)
	require.Equal(t, infra.Failed, found.Result)
	require.Equal(t, "terraform/main.tf", found.Findings[0].File)
	require.Equal(t, 1, found.Findings[0].Line)
	require.Equal(t, "init", found.Findings[0].Rule)
}
