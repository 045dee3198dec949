package infra_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/infra"
	"github.com/slipway-cd/slipway/ci/internal/infra/binding"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// ephemeralConfiguration has an ephemeral and an ordinary variable.
const ephemeralConfiguration = `terraform {
  backend "local" {}
}

variable "token" {
  type      = string
  ephemeral = true
  sensitive = true
}

variable "optional" {
  type      = list(string)
  ephemeral = true
  default   = ["a"]
}

variable "flavour" {
  default = "plain"
}

variable "password" {
  sensitive = true
  default   = "` + secret + `"
}

locals {
  authorised = length(var.token) > 3
  more       = length(var.optional) > 0
}

resource "terraform_data" "a" {
  input = [var.flavour, var.password]
}
`

// TestEphemeralVariables: ephemeral variables may change between plan and apply,
// others may not.
func TestEphemeralVariables(t *testing.T) {
	const first, second = "first-" + secret, "second-" + secret
	type options struct {
		vars  []string
		files map[string]string // beside the tree
		auto  map[string]string // in the root module
		env   map[string]string
	}
	tests := map[string]struct {
		plan, apply options
		code        outcome.Code
		want        string
	}{
		"--var":                               {plan: options{vars: []string{"token=" + first}}, apply: options{vars: []string{"token=" + second}}},
		"--var beside others":                 {plan: options{vars: []string{"token=" + first, "flavour=spicy"}}, apply: options{vars: []string{"token=" + second}}},
		"--var with others":                   {plan: options{vars: []string{"token=" + first, "flavour=spicy"}}, apply: options{vars: []string{"token=" + second, "flavour=spicy"}}},
		"a file":                              {plan: options{files: map[string]string{"ci.tfvars": "token = \"" + first + "\"\n"}}, apply: options{files: map[string]string{"ci.tfvars": "# new\ntoken = \"" + second + "\"\n"}}},
		"a file, then --var":                  {plan: options{files: map[string]string{"ci.tfvars": "token = \"" + first + "\"\n"}}, apply: options{vars: []string{"token=" + second}}},
		"a file that has more":                {plan: options{files: map[string]string{"ci.tfvars": "token = \"" + first + "\"\nflavour = \"spicy\"\nnobody = 1\n"}}, apply: options{files: map[string]string{"ci.tfvars": "flavour = \"spicy\"\ntoken = \"" + second + "\"\nnobody = 1\n"}}},
		"a file in JSON":                      {plan: options{files: map[string]string{"ci.tfvars.json": `{"token": "` + first + `", "flavour": "spicy", "optional": ["x"]}`}}, apply: options{files: map[string]string{"ci.tfvars.json": `{"token": "` + second + `", "optional": ["y", "z"], "flavour": "spicy"}`}}},
		"two files, the second wins":          {plan: options{files: map[string]string{"1.tfvars": "token = \"" + first + "\"\nflavour = \"mild\"\n", "2.tfvars": "flavour = \"spicy\"\n"}}, apply: options{files: map[string]string{"1.tfvars": "token = \"" + second + "\"\nflavour = \"mild\"\n", "2.tfvars": "flavour = \"spicy\"\n"}}},
		"the environment":                     {plan: options{env: map[string]string{"TF_VAR_token": first}}, apply: options{env: map[string]string{"TF_VAR_token": second}}},
		"the environment, then --var":         {plan: options{env: map[string]string{"TF_VAR_token": first}}, apply: options{vars: []string{"token=" + second}}},
		"a file that is read by itself":       {plan: options{auto: map[string]string{"ci.auto.tfvars": "token = \"" + first + "\"\nflavour = \"spicy\"\n"}}, apply: options{auto: map[string]string{"ci.auto.tfvars": "token = \"" + second + "\"\nflavour = \"spicy\"\n"}}},
		"no value at all":                     {plan: options{vars: []string{"token=" + first}}, code: outcome.Usage, want: "variable token is ephemeral, so the plan does not contain its value: pass it to apply as well, with --var, --var-file or TF_VAR_token (in Dagger --vars)"},
		"one that had none":                   {plan: options{vars: []string{"token=" + first}}, apply: options{vars: []string{"token=" + second, `optional=["b"]`}}, code: outcome.Usage, want: "variable optional is ephemeral and had no value when the plan was made"},
		"another value of another":            {plan: options{vars: []string{"token=" + first, "flavour=spicy"}}, apply: options{vars: []string{"token=" + second, "flavour=mild"}}, code: outcome.Refused, want: "variables (--var flavour): bound "},
		"another value in the file":           {plan: options{files: map[string]string{"ci.tfvars": "token = \"" + first + "\"\nflavour = \"spicy\"\n"}}, apply: options{files: map[string]string{"ci.tfvars": "token = \"" + second + "\"\nflavour = \"mild\"\n"}}, code: outcome.Refused, want: "variables (--var-file ci.tfvars): bound "},
		"another value in one read by itself": {plan: options{auto: map[string]string{"ci.auto.tfvars": "token = \"" + first + "\"\nflavour = \"spicy\"\n"}}, apply: options{auto: map[string]string{"ci.auto.tfvars": "token = \"" + second + "\"\nflavour = \"mild\"\n"}}, code: outcome.Refused, want: "variables (ci.auto.tfvars): bound "},
	}
	base := newTree(t, map[string]string{"main.tf": ephemeralConfiguration})
	base.mustPlan(t, func(o *infra.PlanOptions) { o.Vars = []string{"token=" + first} })
	again := base.snapshot(t)
	beside := t.TempDir()
	use := func(t *testing.T, tr tree, o options) (vars, files []string) {
		t.Helper()
		for name, value := range map[string]string{"TF_VAR_token": o.env["TF_VAR_token"]} {
			t.Setenv(name, value)
			if value == "" {
				os.Unsetenv(name)
			}
		}
		for name, content := range o.auto {
			tr.write(t, name, content)
		}
		for _, name := range []string{"1.tfvars", "2.tfvars", "ci.tfvars", "ci.tfvars.json"} {
			if content, ok := o.files[name]; ok {
				require.NoError(t, os.WriteFile(filepath.Join(beside, name), []byte(content), 0o600))
				files = append(files, filepath.Join(beside, name))
			}
		}
		return o.vars, files
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			again(t)
			tr := base
			vars, files := use(t, tr, tt.plan)
			planned := tr.mustPlan(t, func(o *infra.PlanOptions) { o.Vars, o.VarFiles = vars, files })
			said := rendered(t, planned)
			for _, file := range []string{infra.PlanJSON, infra.SummaryFile, infra.BindingFile} {
				require.NotContains(t, tr.file(t, file), secret, file)
			}
			require.NotContains(t, tr.file(t, infra.BindingFile), "token")

			vars, files = use(t, tr, tt.apply)
			applied, err := tr.apply(t, func(o *infra.ApplyOptions) { o.Vars, o.VarFiles = vars, files })

			require.Equal(t, tt.code, outcome.Of(err), "%v", err)
			said += rendered(t, applied)
			if tt.want == "" {
				require.Len(t, applied.Applied, 1)
			} else {
				require.ErrorContains(t, err, tt.want)
				require.Empty(t, tr.stateNow(t))
				said += err.Error()
			}
			require.NotContains(t, said, secret)
		})
	}
}

// TestBindingOmitsEphemeralVariables: a binding omits only ephemeral variables.
func TestBindingOmitsEphemeralVariables(t *testing.T) {
	tr := newTree(t, map[string]string{"main.tf": ephemeralConfiguration, "x.auto.tfvars": "token = \"committed\"\nflavour = \"spicy\"\n"})
	planned := tr.mustPlan(t)
	var b binding.Binding
	require.NoError(t, json.Unmarshal([]byte(tr.file(t, infra.BindingFile)), &b))
	require.Equal(t, planned.Binding.Variables, b.Variables)
	require.Contains(t, b.Variables, "x.auto.tfvars")
	tr.write(t, "x.auto.tfvars", strings.Replace("token = \"committed\"\nflavour = \"spicy\"\n", "committed", "another-one", 1))
	tr.mustApply(t)
}
