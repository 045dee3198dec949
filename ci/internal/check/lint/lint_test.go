package lint_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/check/lint"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/exec/tool"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

func TestParseKinds(t *testing.T) {
	kinds, err := lint.ParseKinds(nil)
	require.NoError(t, err)
	require.Equal(t, lint.Kinds(), kinds)
	kinds, err = lint.ParseKinds([]string{"nginx", "gofumpt", "nginx"})
	require.NoError(t, err)
	require.Equal(t, []lint.Kind{lint.Gofumpt, lint.Nginx}, kinds)
	for name, want := range map[string]string{
		"golanci-lint": `unknown check "golanci-lint": did you mean golangci-lint?`,
		"terra":        `unknown check "terra": did you mean terraform?`,
		"eslint":       `unknown check "eslint": did you mean tflint?`,
		"prettier":     `unknown check "prettier": want one of golangci-lint, govulncheck, terraform, gofumpt, actionlint, nginx, tflint, security`,
	} {
		_, err := lint.ParseKinds([]string{"nginx", name})
		require.EqualError(t, err, want)
		require.Equal(t, outcome.Usage, outcome.Of(err))
	}
}

// TestToolErrors checks that a tool that fails is not reported as clean.
func TestToolErrors(t *testing.T) {
	const noDatabase = "govulncheck: fetching vulnerabilities: Get \"https://vuln.go.dev/index/modules.json.gz\": dial tcp: lookup vuln.go.dev: no such host\nexit status 1\n"
	const noRegistry = "\nError: Failed to query available provider packages\n\nCould not retrieve the list of available versions for provider hashicorp/aws:\ncould not connect to registry.terraform.io: failed to request discovery\ndocument: Get \"https://registry.terraform.io/.well-known/terraform.json\": dial\ntcp: lookup registry.terraform.io: no such host\n"
	const noLock = "\nError: Provider dependency changes detected\n\nChanges to the required provider dependencies were detected, but the lock\nfile is read-only.\n\nError: another\n"
	absent := recording{err: fmt.Errorf("running it: %w", exec.ErrNotFound)}
	crash := recording{exit: 1, content: "{", stderr: "panic: x\n\ngoroutine 1\nexit status 2\n"}
	tests := map[string]struct {
		ended  recorded
		check  string
		result lint.Result
		reason string
	}{
		"no terraform":            {recorded{"terraform": absent}, "terraform fmt terraform", lint.Skipped, "terraform is not on PATH: install it"},
		"no terraform, validate":  {recorded{"terraform": absent}, "terraform validate terraform", lint.Skipped, "terraform is not on PATH: install it"},
		"no providers":            {recorded{"terraform init": {stderr: noRegistry, exit: 1}}, "terraform validate terraform", lint.Skipped, "the providers cannot be fetched: connect to the network or configure a mirror in TF_CLI_CONFIG_FILE: could not connect to registry.terraform.io"},
		"a stale lock":            {recorded{"terraform init": {stderr: noLock, exit: 1}}, "terraform validate terraform", lint.CheckFailed, "terraform init terraform: Provider dependency changes detected Changes to the required provider dependencies were detected, but the lock file is read-only."},
		"init without output":     {recorded{"terraform init": {exit: 1}}, "terraform validate terraform", lint.CheckFailed, "terraform init terraform ended with exit code 1"},
		"no nginx":                {recorded{"nginx": absent}, "nginx web", lint.Skipped, "nginx is not on PATH: install it (apt-get install nginx-light), or run it with Dagger"},
		"nginx elsewhere":         {recorded{"nginx": {stderr: "[emerg] 1#1: open() \"/etc/nginx/mime.types\" failed (2: No such file or directory) in ./nginx/nginx.conf:14\n", exit: 1}}, "nginx web", lint.Skipped, "this machine's nginx has no /etc/nginx/mime.types"},
		"no trivy":                {recorded{"trivy": absent}, "trivy terraform", lint.Skipped, "trivy is not on PATH"},
		"no image":                {recorded{"trivy": {err: &tool.MissingError{Reason: "image trivy:1 cannot be pulled: not found"}}}, "trivy terraform", lint.Skipped, "image trivy:1 cannot be pulled: not found"},
		"no database":             {recorded{"govulncheck": {content: "", stderr: noDatabase, exit: 1}}, "govulncheck api", lint.Skipped, `the vulnerability database cannot be reached: connect to the network or set GOVULNDB to a mirror (in Dagger --go-env=GOVULNDB=URL): Get "https://vuln.go.dev/index/modules.json.gz"`},
		"no go":                   {recorded{"golangci-lint": absent}, "golangci-lint api", lint.Skipped, "go is not on PATH: install Go"},
		"golangci-lint offline":   {recorded{"golangci-lint": {exit: 1, stderr: "go: github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0: module lookup disabled by GOPROXY=off\n"}}, "golangci-lint api", lint.Skipped, "golangci-lint v2.15.0 cannot be fetched, which needs the network the first time: module lookup disabled"},
		"golangci-lint gives up":  {recorded{"golangci-lint": {as: "golangci-lint.sarif", content: sarif(), exit: 1, stderr: "context loading failed: no go files\n"}}, "golangci-lint api", lint.CheckFailed, "golangci-lint api ended with exit code 1: context loading failed: no go files"},
		"golangci-lint: nothing":  {recorded{"golangci-lint": {exit: 1}}, "golangci-lint api", lint.CheckFailed, "golangci-lint api ended with exit code 1, but its output cannot be read: open"},
		"golangci-lint: garbage":  {recorded{"golangci-lint": {as: "golangci-lint.sarif", content: "{"}}, "golangci-lint api", lint.CheckFailed, "golangci-lint api ended with exit code 0, but its output cannot be read: unexpected end of JSON input"},
		"govulncheck crashes":     {recorded{"govulncheck": crash}, "govulncheck api", lint.CheckFailed, "govulncheck api ended with exit code 1: goroutine 1 exit status 2"},
		"actionlint crashes":      {recorded{"actionlint": crash}, "actionlint", lint.CheckFailed, "actionlint ended with exit code 1:"},
		"actionlint fails":        {recorded{"actionlint": {content: sarif(), exit: 1, stderr: "could not read config\n"}}, "actionlint", lint.CheckFailed, "could not read config"},
		"tflint crashes":          {recorded{"tflint": crash}, "tflint terraform", lint.CheckFailed, "tflint terraform ended with exit code 1:"},
		"terraform crashes":       {recorded{"terraform validate": crash}, "terraform validate terraform", lint.CheckFailed, "terraform validate terraform ended with exit code 1:"},
		"gofumpt crashes":         {recorded{"gofumpt": {exit: 1, stderr: "panic: x\n"}}, "gofumpt api", lint.CheckFailed, "gofumpt api ended with exit code 1: panic: x"},
		"nginx crashes":           {recorded{"nginx": {exit: 139}}, "nginx web", lint.CheckFailed, "nginx web ended with exit code 139"},
		"gitleaks crashes":        {recorded{"gitleaks": crash}, "gitleaks", lint.CheckFailed, "gitleaks ended with exit code 1:"},
		"gitleaks: garbage":       {recorded{"gitleaks": {as: "gitleaks.sarif", content: "{"}}, "gitleaks", lint.CheckFailed, "gitleaks ended with exit code 0, but its output cannot be read"},
		"trivy crashes":           {recorded{"trivy": crash}, "trivy terraform", lint.CheckFailed, "trivy terraform ended with exit code 1:"},
		"trivy: garbage":          {recorded{"trivy": {as: "trivy.sarif", content: "{"}}, "trivy terraform", lint.CheckFailed, "cannot be read"},
		"the engine is not there": {recorded{"gofumpt": {err: errors.New("no engine")}}, "gofumpt api", lint.CheckFailed, "no engine"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			report := play(t, tt.ended, lint.Options{})
			c := of(t, report, tt.check)
			require.Equal(t, tt.result, c.Result, c.Reason)
			require.Contains(t, c.Reason, tt.reason)
			require.NotContains(t, c.Reason, "\n")
			require.Empty(t, report.Findings)
			want := lint.Failed
			if tt.result == lint.Skipped {
				want = lint.Succeeded
			}
			require.Equal(t, want, report.Result)

			require.Equal(t, lint.Failed, play(t, tt.ended, lint.Options{Strict: true}).Result)
		})
	}
}

// TestEveryFindingIsReported runs checks that fail in different ways at the same time.
func TestEveryFindingIsReported(t *testing.T) {
	ended := recorded{
		"golangci-lint": {file: "golangci-lint.sarif", as: "golangci-lint.sarif"},
		"tflint":        {file: "tflint.sarif"},
		"nginx":         {err: exec.ErrNotFound},
		"gitleaks":      {exit: 1, stderr: "out of memory"},
	}
	var told []string
	report := play(t, ended, lint.Options{Log: func(line string) { told = append(told, line) }})
	require.Len(t, report.Findings, 3+7)
	require.Len(t, told, 10, "a line per check, when it ends")
	require.Contains(t, strings.Join(told, "\n"), "golangci-lint api: 3 findings, in 0s, the first api/main.go:14:5: wrapperFunc: suggestion: ")
	var names []string
	for _, c := range report.Checks {
		names = append(names, c.Name)
	}
	require.Equal(t, []string{
		"golangci-lint api", "govulncheck api", "terraform fmt terraform", "terraform validate terraform", "gofumpt api",
		"actionlint", "nginx web", "tflint terraform", "gitleaks", "trivy terraform",
	}, names)
	report.DurationMS = 0
	for range 5 {
		again := play(t, ended, lint.Options{})
		require.Equal(t, report.Findings, again.Findings, "in the same order each time")
	}
}

func TestRunCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := recorded{"golangci-lint": {calls: func(step.Step) { cancel(errors.New("interrupted")) }}}
	_, err := lint.Run(ctx, t.TempDir(), ended, targets(), lint.Options{Image: image})
	require.EqualError(t, err, "linting: interrupted")
}

func TestRenderings(t *testing.T) {
	report := lint.Report{
		Result: lint.Failed, Strict: true,
		Findings: []lint.Finding{
			{Tool: "gofumpt", File: "a,b:c.go", Line: 3, Column: 1, Rule: "format", Text: "100% wrong:\nreally | truly", Fix: "-x\n+y\n"},
			{Tool: "govulncheck", Rule: "GO-1", Text: "bad"},
			{Tool: "nginx", File: "n.conf", Line: 2, Rule: "emerg", Text: "worse"},
		},
		Checks: []lint.CheckResult{
			{Kind: lint.Gofumpt, Name: "gofumpt api", Result: lint.HasFindings, Findings: 1, DurationMS: 1234},
			{Kind: lint.Nginx, Name: "nginx web", Result: lint.Skipped, Reason: "no nginx"},
			{Kind: lint.TFLint, Name: "tflint terraform", Result: lint.CheckFailed, Reason: "it crashed"},
			{Kind: lint.Actionlint, Name: "actionlint", Result: lint.NotApplicable, Reason: "no workflow"},
			{Kind: lint.Security, Name: "gitleaks", Result: lint.Clean},
		},
	}
	require.Equal(t, "gofumpt api: 1 finding, in 1.2s", report.Checks[0].String())
	require.Equal(t, "gitleaks: clean, in 0s", report.Checks[4].String())
	render := func(write func(w *strings.Builder) error) string {
		var b strings.Builder
		require.NoError(t, write(&b))
		return b.String()
	}
	require.Equal(t, `a,b:c.go:3:1: 100% wrong: really | truly (gofumpt/format)
    -x
    +y
-: bad (govulncheck/GO-1)
n.conf:2: worse (nginx/emerg)

nginx web: skipped: no nginx
tflint terraform: failed: it crashed
actionlint: nothing to do: no workflow
3 findings in 2 checks; 1 check failed; 1 check skipped, which counts as failed
`, render(func(w *strings.Builder) error { return report.Text(w) }))
	require.Equal(t, "### Lint failed: 3 findings in 2 checks; 1 check failed; 1 check skipped, which counts as failed\n\n"+
		"| where | what | rule |\n|---|---|---|\n"+
		"| <code>a,b:c.go:3:1</code> | 100% wrong: really &#124; truly | gofumpt/format |\n| <code>-</code> | bad | govulncheck/GO-1 |\n| <code>n.conf:2</code> | worse | nginx/emerg |\n\n"+
		"| check | result | |\n|---|---|---|\n"+
		"| gofumpt api | findings |  |\n| nginx web | skipped | no nginx |\n| tflint terraform | failed | it crashed |\n| actionlint | nothing | no workflow |\n| gitleaks | clean |  |\n",
		render(func(w *strings.Builder) error { return report.Markdown(w) }))
	require.Equal(t, `::error file=a%2Cb%3Ac.go,line=3,col=1,title=gofumpt/format::100%25 wrong:%0Areally | truly
::error title=govulncheck/GO-1::bad
::error file=n.conf,line=2,title=nginx/emerg::worse
::error title=nginx web::nginx web: skipped: no nginx
::error title=tflint terraform::tflint terraform: failed: it crashed
`, render(func(w *strings.Builder) error { return report.Annotate(w) }))
	report.Strict = false
	require.Contains(t, render(func(w *strings.Builder) error { return report.Annotate(w) }), "::warning title=nginx web::nginx web: skipped: no nginx\n")

	document, err := json.Marshal(lint.Report{Result: lint.Succeeded, Findings: []lint.Finding{}, Checks: report.Checks[:1]})
	require.NoError(t, err)
	require.JSONEq(t, `{"result":"succeeded","strict":false,"findings":[],"checks":[{"kind":"gofumpt","name":"gofumpt api","result":"findings","findings":1,"duration_ms":1234}],"duration_ms":0}`, string(document))
	document, err = json.Marshal(report.Findings[2])
	require.NoError(t, err)
	require.JSONEq(t, `{"tool":"nginx","file":"n.conf","line":2,"column":0,"rule":"emerg","text":"worse","fix":""}`, string(document))
}

func TestSARIF(t *testing.T) {
	report := lint.Report{
		Findings: []lint.Finding{
			{Tool: "gofumpt", File: "a b:c.go", Line: 3, Column: 1, Rule: "format", Text: "not formatted", Fix: "-x\n+y"},
			{Tool: "gofumpt", File: "x.go", Line: 4, Rule: "format", Text: "not formatted"},
			{Tool: "nginx", File: "/etc/nginx/n.conf", Rule: "emerg", Text: "worse"},
		},
		Checks: []lint.CheckResult{
			{Name: "gofumpt api", Result: lint.HasFindings, Findings: 2},
			{Name: "gofumpt ci", Result: lint.CheckFailed, Reason: "it crashed"},
			{Name: "nginx web", Result: lint.CheckFailed, Reason: "it crashed, too", Findings: 1},
			{Name: "gitleaks", Result: lint.Clean},
			{Name: "tflint terraform", Result: lint.Skipped, Reason: "no network"},
			{Name: "actionlint", Result: lint.NotApplicable},
		},
	}
	var b strings.Builder
	require.NoError(t, report.SARIF(&b))
	require.JSONEq(t, `{
  "$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
  "runs": [
    {
      "tool": {"driver": {"name": "gofumpt", "rules": [{"id": "format"}]}},
      "invocations": [{"executionSuccessful": false, "toolExecutionNotifications": [{"level": "error", "message": {"text": "gofumpt ci: failed: it crashed"}}]}],
      "results": [
        {"ruleId": "format", "level": "error", "message": {"text": "not formatted\n-x\n+y"},
         "locations": [{"physicalLocation": {"artifactLocation": {"uri": "./a%20b:c.go"}, "region": {"startLine": 3, "startColumn": 1}}}]},
        {"ruleId": "format", "level": "error", "message": {"text": "not formatted"},
         "locations": [{"physicalLocation": {"artifactLocation": {"uri": "x.go"}, "region": {"startLine": 4}}}]}
      ]
    },
    {
      "tool": {"driver": {"name": "nginx", "rules": [{"id": "emerg"}]}},
      "invocations": [{"executionSuccessful": false, "toolExecutionNotifications": [{"level": "error", "message": {"text": "nginx web: failed: it crashed, too"}}]}],
      "results": [
        {"ruleId": "emerg", "level": "error", "message": {"text": "worse"},
         "locations": [{"physicalLocation": {"artifactLocation": {"uri": "file:///etc/nginx/n.conf"}, "region": {"startLine": 1}}}]}
      ]
    },
    {"tool": {"driver": {"name": "gitleaks", "rules": []}}, "invocations": [{"executionSuccessful": true, "toolExecutionNotifications": []}], "results": []}
  ]
}`, b.String())
}

func TestFind(t *testing.T) {
	dir := sourcetest.New(t)
	sourcetest.Write(t, dir, "ci/go.mod", "module example.com/ci\n\ngo 1.26\n")
	sourcetest.Write(t, dir, "ci/cmd/slipway/main.go", "package main\n")
	find := func(services ...string) lint.Targets {
		tree, err := source.Open(t.Context(), dir)
		require.NoError(t, err)
		p, err := platform.Load(dir)
		require.NoError(t, err)
		found, err := lint.Find(t.Context(), tree, p, services...)
		require.NoError(t, err)
		return found
	}
	all := find()
	require.Equal(t, []string{"api", "ci"}, all.Modules)
	require.Equal(t, "web", all.Sites[0].Name)
	require.Empty(t, all.Workflows)
	require.Empty(t, all.Terraform)
	require.Empty(t, all.Roots)
	require.Contains(t, all.Tracked, "web/site/index.html")
	require.Len(t, all.Formatters(image), 2)

	one := find("api")
	require.Equal(t, lint.Targets{Modules: []string{"api"}}, one, "nothing but the service")

	for _, file := range []string{".github/workflows/b.yaml", ".github/workflows/a.yml", ".github/dependabot.yml", "terraform/main.tf"} {
		sourcetest.Write(t, dir, file, "")
	}
	sourcetest.Commit(t, dir, "more")
	all = find()
	require.Equal(t, []string{".github/workflows/a.yml", ".github/workflows/b.yaml"}, all.Workflows)
	require.Equal(t, "terraform", all.Terraform)
	require.Equal(t, []string{"terraform"}, all.Roots, "a root without a lock file, as long as no other has one")
	require.Len(t, all.Formatters(image), 3)

	sourcetest.Write(t, dir, "ci/test/go.mod", "module example.com/ci/test\n\ngo 1.26\n")
	all = find()
	require.Equal(t, []string{"api", "ci", "ci/test"}, all.Modules)
	require.Len(t, all.Formatters(image), 3, "each file is formatted once")
	included := make(chan []string, 1)
	_, err := lint.Run(t.Context(), dir, recorded{"golangci-lint ci/test": {calls: func(s step.Step) { included <- s.Include }}}, all,
		lint.Options{Kinds: []lint.Kind{lint.GolangciLint}, Image: image})
	require.NoError(t, err)
	require.Equal(t, []string{"ci", ".golangci.*"}, <-included, "with the module that it replaces by a folder")

	sourcetest.Write(t, dir, "terraform/bootstrap/.terraform.lock.hcl", "")
	sourcetest.Write(t, dir, "terraform/modules/platform/.terraform.lock.hcl", "")
	sourcetest.Write(t, dir, "terraform/.terraform.lock.hcl", "")
	sourcetest.Commit(t, dir, "locks")
	require.Equal(t, []string{"terraform", "terraform/bootstrap"}, find().Roots)

	tree, err := source.Open(t.Context(), dir)
	require.NoError(t, err)
	p, err := platform.Load(dir)
	require.NoError(t, err)
	_, err = lint.Find(t.Context(), tree, p, "apy")
	require.ErrorContains(t, err, `did you mean "api"?`)
}

// TestNotApplicable checks the reasons of checks that do not apply.
func TestNotApplicable(t *testing.T) {
	for whole, want := range map[bool]map[lint.Kind]string{
		true: {
			lint.GolangciLint: "no Go module", lint.Nginx: "no service of kind nginx",
			lint.Actionlint: "no workflow in .github/workflows", lint.Terraform: "no Terraform configuration in terraform",
		},
		false: {lint.GolangciLint: "it does not apply to the selected services", lint.Security: "it does not apply to the selected services"},
	} {
		report, err := lint.Run(t.Context(), t.TempDir(), recorded{}, lint.Targets{All: whole}, lint.Options{Image: image, Strict: true})
		require.NoError(t, err)
		require.Equal(t, lint.Succeeded, report.Result)
		for _, c := range report.Checks {
			if reason, ok := want[c.Kind]; ok {
				require.Equal(t, lint.NotApplicable, c.Result)
				require.Equal(t, reason, c.Reason)
			}
		}
	}
}

// TestSteps checks that each step has an image and an include, and writes nothing to the
// tree.
func TestSteps(t *testing.T) {
	seen := make(chan step.Step, 20)
	play(t, recorded{"": {calls: func(s step.Step) { seen <- s }, content: "{}"}}, lint.Options{VulnerabilityDB: "https://vuln.example.com"})
	close(seen)
	images := map[string]string{}
	for s := range seen {
		tool, _, _ := strings.Cut(s.Name, " ")
		images[tool] = s.Image
		require.NotEmpty(t, s.Args, s.Name)
		if tool != "gitleaks" {
			require.NotEmpty(t, s.Include, "%s reads a part of the tree", s.Name)
		}
		if tool == "govulncheck" {
			require.Equal(t, "2026-01-02", s.Env["SLIPWAY_DAY"])
			require.Equal(t, []string{"-format=sarif", "-db=https://vuln.example.com", "./..."}, s.Args[len(s.Args)-3:], "govulncheck does not read GOVULNDB")
		}
		if s.Args[0] == "go" {
			require.Equal(t, step.GoCaches(), s.Caches[:2], s.Name)
		}
	}
	require.Equal(t, map[string]string{
		"golangci-lint": "image of go", "govulncheck": "image of go", "gofumpt": "image of go", "actionlint": "image of go",
		"tflint": "image of go", "gitleaks": "image of go", "nginx": "image of nginx", "terraform": "image of terraform", "trivy": "image of trivy",
	}, images)
}

// TestVulnerabilityDB checks that a wrong GOVULNDB is reported with its name, which
// govulncheck does not know, and without its password.
func TestVulnerabilityDB(t *testing.T) {
	run := func(db, stderr string, only lint.Kind) (lint.Report, error) {
		return lint.Run(t.Context(), t.TempDir(), recorded{"govulncheck": {exit: 1, stderr: stderr}}, targets(), lint.Options{Image: image, VulnerabilityDB: db, Kinds: []lint.Kind{only}})
	}
	for db, shown := range map[string]string{
		"nonsense": `"nonsense"`, "vuln.example.com": `"vuln.example.com"`, "https://": `"https://"`, "file://dir": `"file://dir"`, "http://[::1": `"http://[::1"`,
		"ftp://ann:planted@vuln.example.com": `"ftp://(hidden)@vuln.example.com"`, "https://ann:planted@[::1": `"https://(hidden)@[::1"`,
	} {
		_, err := run(db, "", lint.Govulncheck)
		require.EqualError(t, err, "invalid GOVULNDB "+shown+": want a URL such as https://vuln.example.com or file:///DIR")
		require.Equal(t, outcome.Usage, outcome.Of(err))
		_, err = run(db, "", lint.Gofumpt)
		require.NoError(t, err, "it is not used")
	}
	for db, want := range map[string]string{
		"http://ann:planted@127.0.0.1:1": `the vulnerability database "http://(hidden)@127.0.0.1:1" cannot be read: unrecognized vulndb format: check GOVULNDB and the network`,
		"file:///dir":                    `the vulnerability database "file:///dir" cannot be read: unrecognized vulndb format: check GOVULNDB and the network`,
	} {
		report, err := run(db, "creating client: unrecognized vulndb format\nexit status 1\n", lint.Govulncheck)
		require.NoError(t, err)
		require.Equal(t, lint.CheckFailed, report.Checks[0].Result, "a database that is not there must not be skipped")
		require.Equal(t, want, report.Checks[0].Reason)
	}
}

// TestGitleaksConfiguration checks that gitleaks takes no id of an EFS access point for a
// secret: in a services file, which is JSON, no comment could allow it. The repository's own
// configuration replaces this one.
func TestGitleaksConfiguration(t *testing.T) {
	for file, own := range map[string]bool{".gitleaks.toml": true, "main.go": false, "api/.gitleaks.toml": false} {
		var env map[string]string
		in := lint.Targets{All: true, Tracked: []string{file}}
		_, err := lint.Run(t.Context(), t.TempDir(), recorded{"gitleaks": {calls: func(s step.Step) { env = s.Env }, content: "{}"}}, in, lint.Options{Image: image, Kinds: []lint.Kind{lint.Security}})
		require.NoError(t, err)
		require.Equal(t, !own, strings.Contains(env["GITLEAKS_CONFIG_TOML"], "[extend]\nuseDefault = true\n"), file)
	}
}

// TestTrivyVariableFiles checks that Trivy gets the variable files: without the services
// file it would not see resources with for_each.
func TestTrivyVariableFiles(t *testing.T) {
	commands := make(chan []string, 5)
	in := lint.Targets{
		Terraform: "terraform", Roots: []string{"terraform", "terraform/bootstrap"},
		Tracked: []string{
			"other/a.auto.tfvars", "terraform/b.auto.tfvars.json", "terraform/a.auto.tfvars", "terraform/bootstrap/c.auto.tfvars",
			"terraform/terraform.tfvars", "terraform/staging.tfvars", "terraform/variables.tf",
		},
	}
	_, err := lint.Run(t.Context(), t.TempDir(), recorded{"trivy": {calls: func(s step.Step) {
		assert.Equal(t, []string{"terraform"}, s.Include, "with the modules beside it")
		commands <- append([]string{s.Dir}, s.Args...)
	}, content: "{}", as: "trivy.sarif"}},
		in, lint.Options{Image: image, Kinds: []lint.Kind{lint.Security}})
	require.NoError(t, err)
	close(commands)
	asked := map[string][]string{}
	for command := range commands {
		for _, argument := range command[1:] {
			if strings.HasPrefix(argument, "--tf-vars") || strings.HasPrefix(argument, "--skip-dirs") {
				asked[command[0]] = append(asked[command[0]], argument)
			}
		}
	}
	require.Equal(t, map[string][]string{
		"terraform":           {"--tf-vars=terraform.tfvars,a.auto.tfvars,b.auto.tfvars.json", "--skip-dirs=bootstrap"},
		"terraform/bootstrap": {"--tf-vars=c.auto.tfvars"},
	}, asked)
}
