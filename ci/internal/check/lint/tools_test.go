package lint_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/check/lint"
)

// TestFindings parses recorded outputs of the tools.
func TestFindings(t *testing.T) {
	const vulnerable = "Out-of-bounds read in golang.org/x/text/language (CVE-2021-38561): example.com/api/greet.Tag calls golang.org/x/text/language.Parse"
	const unclosed = "Failed to load the root module; b.tf:1,14-15: Unclosed configuration block; There is no closing brace for this block before the end of the file. This may be caused by incorrect brace nesting elsewhere in this file."
	tests := map[string]struct {
		kind  lint.Kind
		ended recorded
		want  []string
	}{
		"golangci-lint": {lint.GolangciLint, recorded{"golangci-lint": {file: "golangci-lint.sarif", as: "golangci-lint.sarif"}}, []string{
			`api/main.go:14:5: wrapperFunc: suggestion: strings.Contains("ab", "b") (golangci-lint/gocritic)`,
			"api/main.go:17:11: Error return value is not checked (golangci-lint/errcheck)",
			"api/main.go:20:45: `recieve` is a misspelling of `receive` (golangci-lint/misspell)", //nolint:misspell // which is the finding
		}},
		"govulncheck": {lint.Govulncheck, recorded{"govulncheck": {file: "govulncheck.sarif"}}, []string{
			"api/greet/greet.go:7:51: " + vulnerable + " (govulncheck/GO-2021-0113)",
		}},
		"actionlint": {lint.Actionlint, recorded{"actionlint": {file: "actionlint.sarif", exit: 1, stderr: "exit status 1\n"}}, []string{
			`.github/workflows/ci.yml:9:11: input "fetchdepth" is not defined in action "actions/checkout@v4". available inputs are "clean", "fetch-depth", "fetch-tags", "filter", "github-server-url", "lfs", "path", "persist-credentials", "ref", "repository", "set-safe-directory", "show-progress", "sparse-checkout", "sparse-checkout-cone-mode", "ssh-key", "ssh-known-hosts", "ssh-strict", "ssh-user", "submodules", "token" (actionlint/action)`,
			`.github/workflows/ci.yml:10:24: "github.event.head_commit.message" is potentially untrusted. avoid using it directly in inline scripts. instead, pass it through an environment variable. see https://docs.github.com/en/actions/reference/security/secure-use#good-practices-for-mitigating-script-injection-attacks for more details (actionlint/expression)`,
			`.github/workflows/ci.yml:11:38: got unexpected character '"' while lexing expression, expecting 'a'..'z', 'A'..'Z', '_', '0'..'9', ''', '}', '(', ')', '[', ']', '.', '!', '<', '>', '=', '&', '|', '*', ',', ' '. do you mean string literals? only single quotes are available for string delimiter (actionlint/expression)`,
			`.github/workflows/ci.yml:12:3: job "deploy" needs job "biuld" which does not exist in this workflow (actionlint/job-needs)`,
		}},
		"nginx": {lint.Nginx, recorded{"nginx": {stderr: "2026/11/25 02:37:11 [emerg] 29579#29579: unknown directive \"tcp_nopushh\" in ./nginx/nginx.conf:42\nnginx: configuration file ./nginx/nginx.conf test failed\n", exit: 1}}, []string{
			`web/nginx/nginx.conf:42: unknown directive "tcp_nopushh" (nginx/emerg)`,
		}},
		"nginx, warning": {lint.Nginx, recorded{"nginx": {stderr: "2026/11/25 02:39:03 [warn] 5693#5693: conflicting server name \"a\" on 0.0.0.0:8080, ignored\n"}}, []string{
			`web/nginx/nginx.conf: conflicting server name "a" on 0.0.0.0:8080, ignored (nginx/warn)`,
		}},
		"nginx, outside of the tree": {lint.Nginx, recorded{"nginx": {stderr: "2026/11/25 02:39:03 [emerg] 7#7: unknown directive \"x\" in /etc/nginx/conf.d/x.conf:1\n", exit: 1}}, []string{
			`/etc/nginx/conf.d/x.conf:1: unknown directive "x" (nginx/emerg)`,
		}},
		"terraform validate": {lint.Terraform, recorded{"terraform validate": {file: "validate.json", exit: 1}}, []string{
			`terraform/main.tf:14:12: Reference to undeclared local value: A local value with the name "missing" has not been declared. (terraform/validate)`,
		}},
		"terraform fmt": {lint.Terraform, recorded{"terraform fmt": {content: "main.tf\n--- old/main.tf\n+++ new/main.tf\n@@ -1,3 +1,3 @@\n a {\n-x=1\n+  x = 1\n }\n", exit: 3}}, []string{
			"terraform/main.tf:2:1: not formatted: run slipway fmt (terraform/fmt)",
		}},
		"gofumpt": {lint.Gofumpt, recorded{"gofumpt": {content: "diff main.go.orig main.go\n--- main.go.orig\n+++ main.go\n@@ -1 +1 @@\n-package  x\n+package x\n", stderr: "b.go:3:14: expected ')', found '{'\nexit status 2\n", exit: 1}}, []string{
			"api/b.go:3:14: expected ')', found '{' (gofumpt/syntax)",
			"api/main.go:1:1: not formatted: run slipway fmt (gofumpt/format)",
		}},
		"tflint": {lint.TFLint, recorded{"tflint": {file: "tflint.sarif"}}, []string{
			`terraform/main.tf: terraform "required_version" attribute is required (tflint/terraform_required_version)`,
			"terraform/main.tf:6:1: `unused` variable has no type (tflint/terraform_typed_variables)",
			`terraform/main.tf:6:1: variable "unused" is declared but not used (tflint/terraform_unused_declarations)`,
			"terraform/main.tf:9:3: local.both is declared but not used (tflint/terraform_unused_declarations)",
			"terraform/main.tf:9:10: Interpolation-only expressions are deprecated in Terraform v0.12.14 (tflint/terraform_deprecated_interpolation)",
			"terraform/main.tf:10:3: local.more is declared but not used (tflint/terraform_unused_declarations)",
			"terraform/main.tf:17:1: Missing version constraint for provider \"aws\" in `required_providers` (tflint/terraform_required_providers)",
		}},
		"tflint, syntax": {lint.TFLint, recorded{"tflint": {file: "tflint-broken.sarif", exit: 1}}, []string{
			"terraform/b.tf:1:14: " + unclosed + " (tflint/application_error)",
		}},
		"gitleaks": {lint.Security, recorded{"gitleaks": {file: "gitleaks.sarif", as: "gitleaks.sarif"}}, []string{
			"secret.txt:1:8: Uncovered a GitHub Personal Access Token, potentially leading to unauthorized repository access and sensitive content exposure. (gitleaks/github-pat)",
		}},
		// Of v0.74.0 with its built-in checks, without help texts. A finding that occurs
		// once per service is reported once.
		"trivy": {lint.Security, recorded{"trivy": {file: "trivy.sarif", as: "trivy.sarif"}}, []string{
			"terraform/alb.tf:4:1: Load balancer is exposed publicly. (trivy/AWS-0053)",
			"terraform/alb.tf:10:1: Listener for application load balancer does not use HTTPS. (trivy/AWS-0054)",
			"terraform/main.tf:9:1: Repository is not encrypted using KMS. (trivy/AWS-0033)",
		}},
		"gitleaks, not tracked":   {lint.Security, recorded{"gitleaks": {content: sarif(`{"ruleId":"github-pat","locations":[{"physicalLocation":{"artifactLocation":{"uri":".env"}}}]}`), as: "gitleaks.sarif"}}, nil},
		"govulncheck, not called": {lint.Govulncheck, recorded{"govulncheck": {content: sarif(`{"ruleId":"GO-1","level":"note","message":{"text":"Your code depends on 1 vulnerable module"}}`)}}, nil},
		"without a place":         {lint.TFLint, recorded{"tflint": {content: sarif(`{"ruleId":"r","message":{"text":"bad"}}`), exit: 1}}, []string{"terraform: bad (tflint/r)"}},
		"in an escaped file": {lint.GolangciLint, recorded{"golangci-lint": {as: "golangci-lint.sarif", content: sarif(
			`{"ruleId":"r","message":{"text":"bad"},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"file:///src/api/a%20b.go"},"region":{"startLine":3}}}]}`)}}, []string{"api/a b.go:3: bad (golangci-lint/r)"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			report := play(t, tt.ended, lint.Options{Kinds: []lint.Kind{tt.kind}})
			require.Equal(t, tt.want, found(report))
			for _, c := range report.Checks {
				require.Equal(t, tt.kind, c.Kind)
				require.Contains(t, []lint.Result{lint.Clean, lint.HasFindings}, c.Result, c.Reason)
			}
			if tt.want == nil {
				require.Equal(t, lint.Succeeded, report.Result)
				return
			}
			require.Equal(t, lint.Failed, report.Result)
			require.NotContains(t, report.Findings[0].File, "\\")
		})
	}
}

func TestFixes(t *testing.T) {
	report := play(t, recorded{
		"golangci-lint": {file: "golangci-lint.sarif", as: "golangci-lint.sarif"},
		"govulncheck":   {file: "govulncheck.sarif"},
		"gitleaks":      {file: "gitleaks.sarif", as: "gitleaks.sarif"},
		"gofumpt":       {content: "--- main.go.orig\n+++ main.go\n@@ -1 +1 @@\n-package  x\n+package x\n", exit: 1},
	}, lint.Options{})
	fixes := map[string]string{}
	for _, f := range report.Findings {
		fixes[f.Rule] = f.Fix
	}
	require.Equal(t, map[string]string{
		"errcheck":     "",
		"gocritic":     "",
		"misspell":     "",
		"GO-2021-0113": "https://pkg.go.dev/vuln/GO-2021-0113",
		"format":       "@@ -1,1 +1,1 @@\n-package  x\n+package x\n",
		"github-pat":   "revoke the secret and take it out of the file; if it is not a secret, end its line with a comment gitleaks:allow and say why",
	}, fixes)
}
