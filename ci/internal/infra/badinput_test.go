package infra_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/infra"
	"github.com/slipway-cd/slipway/ci/internal/infra/terraform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func TestPlanBadInput(t *testing.T) {
	set := func(change func(*infra.PlanOptions)) func(*testing.T, *tree, *infra.PlanOptions) {
		return func(_ *testing.T, _ *tree, o *infra.PlanOptions) { change(o) }
	}
	write := func(name, content string) func(*testing.T, *tree, *infra.PlanOptions) {
		return func(t *testing.T, tr *tree, _ *infra.PlanOptions) { tr.write(t, name, content) }
	}
	tests := map[string]struct {
		spoil func(t *testing.T, tr *tree, o *infra.PlanOptions)
		code  outcome.Code
		want  string
	}{
		"a services file that is no JSON": {
			write("services.auto.tfvars.json", `{"services": `), outcome.Usage, "terraform plan: terraform/services.auto.tfvars.json:1: ",
		},
		"a service without a path": {
			write("services.auto.tfvars.json", `{"services": {"backend": {"path": ""}}}`), outcome.Usage,
			"terraform/services.auto.tfvars.json:1: Invalid value for variable: service backend has no path.",
		},
		"a service of another shape": {
			write("services.auto.tfvars.json", `{"services": {"backend": {"pth": "x"}}}`), outcome.Usage,
			`terraform/services.auto.tfvars.json:1: Invalid value for input variable: The given value is not suitable for var.services declared at main.tf:6,1-20: element "backend": attribute "path" is required.`,
		},
		"a variable without a value": {
			func(t *testing.T, _ *tree, _ *infra.PlanOptions) {
				t.Setenv("TF_VAR_password", "")
				os.Unsetenv("TF_VAR_password")
			}, outcome.Usage,
			`No value for required variable: The root module input variable "password" is not set`,
		},
		"a variable that is not declared": {
			set(func(o *infra.PlanOptions) { o.Vars = []string{"flavor=plain"} }), outcome.Usage, `"flavor"`,
		},
		"a --var that is no assignment": {
			set(func(o *infra.PlanOptions) { o.Vars = []string{"flavour"} }), outcome.Usage, "invalid variable: want NAME=VALUE",
		},
		"a --var-file that is not there": {
			set(func(o *infra.PlanOptions) { o.VarFiles = []string{"nope.tfvars"} }), outcome.Usage, "--var-file nope.tfvars: no such file",
		},
		"another version of Terraform": {
			write("main.tf", "terraform {\n  required_version = \">= 99.0\"\n}\n"), outcome.Usage,
			"terraform/main.tf:2: Terraform 1.",
		},
		"a configuration that is no HCL": {
			write("main.tf", "resource {"), outcome.Usage, "terraform init: terraform/main.tf:1: ",
		},
		"a provider that cannot be installed": {
			write("main.tf", "terraform {\n  required_providers {\n    aws = {\n      source = \"hashicorp/aws\"\n    }\n  }\n}\n"), outcome.Usage,
			"provider hashicorp/aws cannot be installed: ",
		},
		"a mirror that is broken": {
			func(t *testing.T, tr *tree, _ *infra.PlanOptions) {
				tr.write(t, "main.tf", "terraform {\n  required_providers {\n    aws = {\n      source = \"hashicorp/aws\"\n    }\n  }\n}\n")
				broken := filepath.Join(t.TempDir(), "terraform.rc")
				require.NoError(t, os.WriteFile(broken, []byte("provider_installation {"), 0o644))
				t.Setenv("TF_CLI_CONFIG_FILE", broken)
			}, outcome.Usage, "TF_CLI_CONFIG_FILE",
		},
		"no configuration": {
			func(_ *testing.T, tr *tree, _ *infra.PlanOptions) { tr.Dir = "platform" }, outcome.Usage,
			"platform has no Terraform configuration: choose another folder with --dir",
		},
		"an --out that is a file": {
			set(func(o *infra.PlanOptions) { o.Out = "/dev/null/plan" }), outcome.Usage, "--out /dev/null/plan: ",
		},
		"a backend's file that is not there": {
			func(_ *testing.T, tr *tree, _ *infra.PlanOptions) { tr.Backend.Config = []string{"nope"} }, outcome.Usage,
			"want KEY=VALUE",
		},
		"a backend's setting that is unknown": {
			func(_ *testing.T, tr *tree, _ *infra.PlanOptions) { tr.Backend.Config = []string{"pth=x"} }, outcome.Failed, "pth",
		},
		"no Terraform": {
			func(t *testing.T, _ *tree, _ *infra.PlanOptions) { hideTerraform(t) }, outcome.Usage,
			"terraform is not on PATH: install it from https://developer.hashicorp.com/terraform/install",
		},
		"an unavailable account": {
			func(t *testing.T, tr *tree, _ *infra.PlanOptions) {
				// The provider is configured but not needed.
				tr.Identity = account{err: outcome.Usagef("the AWS credentials have expired")}
				tr.Backend = terraform.Backend{Config: []string{"bucket=state", "key=k", "region=us-east-1", "use_path_style=true"}}
				tr.write(t, "main.tf", strings.Replace(configuration, `backend "local"`, `backend "s3"`, 1))
				aws(t, func(w http.ResponseWriter, r *http.Request) {
					switch {
					case r.Method == http.MethodPost:
						io.WriteString(w, identity)
					case r.URL.Query().Has("list-type"):
						io.WriteString(w, `<ListBucketResult></ListBucketResult>`)
					default:
						w.WriteHeader(http.StatusNotFound)
						io.WriteString(w, `<Error><Code>NoSuchKey</Code></Error>`)
					}
				})
			}, outcome.Usage, "reading the AWS account: the AWS credentials have expired",
		},
	}
	base := platformTree(t)
	base.mustPlan(t)
	base.mustApply(t)
	again := base.snapshot(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			again(t)
			tr, o := base, infra.PlanOptions{Out: base.out}
			before := tr.stateNow(t)
			tt.spoil(t, &tr, &o)
			o.NoLock = strings.HasPrefix(name, "an account")

			_, err := tr.Plan(t.Context(), o)

			require.ErrorContains(t, err, tt.want)
			require.Equal(t, tt.code, outcome.Of(err), "%v", err)
			require.NotContains(t, err.Error(), "\n", "one clear line")
			require.Equal(t, before, tr.stateNow(t), "the state is untouched")
		})
	}
}

// hideTerraform removes everything but git from PATH.
func hideTerraform(t *testing.T) {
	t.Helper()
	bin := t.TempDir()
	for folder := range strings.SplitSeq(os.Getenv("PATH"), string(os.PathListSeparator)) {
		if git := filepath.Join(folder, "git"); isFile(git) {
			require.NoError(t, os.Symlink(git, filepath.Join(bin, "git")))
			break
		}
	}
	t.Setenv("PATH", bin)
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && !info.IsDir()
}

func TestPlanFailureLeavesNoPlan(t *testing.T) {
	tr := platformTree(t)
	tr.mustPlan(t)
	tr.write(t, "services.auto.tfvars.json", `{"services": {"backend": {"path": ""}}}`)
	_, err := tr.plan(t)
	require.Error(t, err)
	entries, err := os.ReadDir(tr.out)
	require.NoError(t, err)
	require.Empty(t, entries, "an old plan is not left to be applied")
}

// aws serves S3 and STS with the responses of serve.
func aws(t *testing.T, serve http.HandlerFunc) {
	t.Helper()
	server := httptest.NewServer(serve)
	t.Cleanup(server.Close)
	t.Setenv("AWS_ENDPOINT_URL", server.URL)
	t.Setenv("AWS_ENDPOINT_URL_S3", server.URL)
	t.Setenv("AWS_ENDPOINT_URL_STS", server.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	t.Setenv("AWS_REGION", "us-east-1")
}

const identity = `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws:iam::123456789012:user/a</Arn><UserId>A</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`

func TestBackendFailures(t *testing.T) {
	tests := map[string]struct {
		serve http.HandlerFunc
		want  string
	}{
		"expired credentials": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusForbidden)
				io.WriteString(w, `<ErrorResponse><Error><Type>Sender</Type><Code>ExpiredToken</Code><Message>The security token included in the request is expired</Message></Error></ErrorResponse>`)
			},
			"the AWS credentials have expired: renew them",
		},
		"unknown credentials": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusForbidden)
				io.WriteString(w, `<ErrorResponse><Error><Type>Sender</Type><Code>InvalidClientTokenId</Code><Message>The security token included in the request is invalid.</Message></Error></ErrorResponse>`)
			},
			"AWS does not know these credentials: check AWS_ACCESS_KEY_ID and AWS_PROFILE",
		},
		"a bucket that is not there": {
			func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					io.WriteString(w, identity)
					return
				}
				w.WriteHeader(http.StatusNotFound)
				io.WriteString(w, `<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message></Error>`)
			},
			`the bucket "state" for the state does not exist in this account and region: apply terraform/bootstrap once, or name another with --backend-config bucket=NAME`,
		},
	}
	tr := newTree(t, map[string]string{"main.tf": "terraform {\n  backend \"s3\" {\n    key    = \"k\"\n    region = \"us-east-1\"\n  }\n}\n"})
	tr.Backend = terraform.Backend{Config: []string{"bucket=state", "use_path_style=true"}}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			aws(t, tt.serve)
			_, err := tr.plan(t)
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, outcome.Usage, outcome.Of(err))
			require.NotContains(t, err.Error(), "\n")
			require.NotContains(t, err.Error(), secret)
		})
	}
}
