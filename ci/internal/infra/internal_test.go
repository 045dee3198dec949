package infra

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/infra/binding"
	"github.com/slipway-cd/slipway/ci/internal/infra/summary"
	"github.com/slipway-cd/slipway/ci/internal/infra/terraform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// stream parses messages like those of terraform apply.
func stream(t *testing.T, lines ...string) []terraform.Message {
	t.Helper()
	messages, err := terraform.ReadMessages(strings.NewReader(strings.Join(lines, "\n")))
	require.NoError(t, err)
	return messages
}

func hook(kind, address, action string) string {
	return `{"type":"` + kind + `","hook":{"resource":{"addr":"` + address + `"},"action":"` + action + `","id_value":"id-` + address + `","elapsed_seconds":2}}`
}

func TestNewApplyReport(t *testing.T) {
	planned := summary.Summary{Resources: []summary.Resource{
		{Address: "a.replaced", Action: summary.Replace},
		{Address: "a.half", Action: summary.Replace},
		{Address: "a.gone", Action: summary.Destroy},
		{Address: "a.begun", Action: summary.Create},
		{Address: "a.failed", Action: summary.Update},
		{Address: "a.unreached", Action: summary.Create},
		{Address: "a.refused", Action: summary.Update},
		{Address: "a.moved", Action: summary.Move},
		{Address: "a.torn", Action: summary.Replace},
	}}
	a := newApplyReport(planned, stream(t,
		hook("apply_start", "a.replaced", "delete"), hook("apply_complete", "a.replaced", "delete"), hook("apply_complete", "a.replaced", "create"),
		hook("apply_complete", "a.half", "delete"), hook("apply_complete", "a.gone", "delete"), hook("apply_start", "a.begun", "create"),
		hook("apply_start", "a.failed", "update"), hook("apply_errored", "a.failed", "update"), hook("apply_complete", "a.torn", "delete"),
		`{"type":"diagnostic","diagnostic":{"severity":"error","summary":"no","detail":"good","address":"a.refused"}}`,
		`{"type":"diagnostic","diagnostic":{"severity":"error","summary":"torn","address":"a.torn"}}`,
		`{"type":"outputs","outputs":{"o":{"sensitive":false,"value":{"a": [1, 2]}}}}`,
	), "terraform")
	addresses := func(changes []Change) (all []string) {
		for _, c := range changes {
			all = append(all, c.Address)
		}
		return all
	}
	require.Equal(t, []string{"a.replaced", "a.gone"}, addresses(a.Applied))
	require.Equal(t, []string{"a.failed", "a.refused", "a.torn"}, addresses(a.Failed))
	require.Equal(t, []string{"a.half", "a.begun"}, addresses(a.Unfinished))
	require.Equal(t, []string{"a.unreached"}, addresses(a.NotReached))
	require.Equal(t, "2 applied, 3 failed, 1 not reached, 2 unfinished", a.counts())
	require.Equal(t, "see the errors", a.Failed[0].Error)
	var b strings.Builder
	require.NoError(t, a.Text(&b))
	require.Contains(t, b.String(), "  unfinished   create   a.begun\n")
	require.Contains(t, b.String(), "  applied      replace  a.replaced (id-a.replaced) in 4s\n")
	require.Contains(t, b.String(), "  o = {\"a\":[1,2]}\n")

	a = newApplyReport(planned, stream(t, `{"type":"change_summary","changes":{"operation":"apply"}}`), "terraform")
	require.Len(t, a.Applied, 8, "Terraform says that it is complete")
	require.True(t, a.started())
}

func TestSaveErroredStateFails(t *testing.T) {
	dir := t.TempDir()
	s := Stage{Tree: source.Tree{Dir: dir}}
	w := &workDir{dir: t.TempDir()}
	require.NoError(t, os.WriteFile(w.file(ErroredState), []byte("{}"), 0o600))
	a := newApplyReport(summary.Summary{Resources: []summary.Resource{{Address: "a.b", Action: summary.Create}}}, stream(t,
		hook("apply_complete", "a.b", "create"), `{"type":"diagnostic","diagnostic":{"severity":"error","summary":"Failed to persist state to backend"}}`), "terraform")
	w.saveErroredState(&a, filepath.Join(dir, "gone"), "terraform")
	err := s.setResult(t.Context(), &a, output{command: "apply", messages: stream(t, `{"type":"diagnostic","diagnostic":{"severity":"error","summary":"Failed to persist state to backend"}}`), result: step.Result{ExitCode: 1}})
	require.EqualError(t, err, "1 applied, 0 failed, 0 not reached: terraform apply: Failed to persist state to backend")
	require.Contains(t, a.Next, "terraform state push "+w.file(ErroredState)+" in ")
	w.close()
	require.FileExists(t, w.file(ErroredState), "there is no other copy of it")
	require.Equal(t, outcome.Failed, outcome.Of(err))

	a = ApplyReport{}
	require.ErrorContains(t, s.setResult(t.Context(), &a, output{command: "apply", result: step.Result{ExitCode: 1, Stderr: "panic"}}), "panic")
	require.Equal(t, Failed, a.Result)
}

func TestPartial(t *testing.T) {
	yes, no := true, false
	warned := []terraform.Diagnostic{{Summary: "Resource targeting is in effect"}}
	tests := map[string]struct {
		complete *bool
		warnings []terraform.Diagnostic
		environ  []string
		want     []string
	}{
		"whole":                            {&yes, nil, nil, nil},
		"a word that looks like an option": {&yes, nil, []string{`TF_CLI_ARGS_plan=-var "x=a -target=b" -refresh=true`}, nil},
		"something is deferred":            {&no, nil, nil, []string{"Terraform reports it as incomplete"}},
		"targets":                          {&no, warned, []string{"TF_CLI_ARGS=-target=a.b", "TF_CLI_ARGS_plan=-no-color --target 'c.d' -exclude=e.f"}, []string{"-target=a.b", "-target=c.d", "-exclude=e.f"}},
		"files of targets":                 {&no, nil, []string{"TF_CLI_ARGS_plan=-target-file=a.txt"}, []string{"-target-file=a.txt"}},
		"an older Terraform, or OpenTofu":  {nil, []terraform.Diagnostic{{Summary: "Resource exclusion is in effect"}}, []string{"TF_CLI_ARGS_plan=-exclude=a.b"}, []string{"-exclude=a.b"}},
		"an older one, whole":              {nil, []terraform.Diagnostic{{Summary: "Argument is deprecated"}}, nil, nil},
		"not refreshed":                    {&yes, nil, []string{"TF_CLI_ARGS_plan=-refresh=false"}, []string{"-refresh=false"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := Stage{Environ: append([]string{}, tt.environ...)}
			require.Equal(t, tt.want, partialReasons(&tfjson.Plan{Complete: tt.complete}, tt.warnings, s.planArguments()))
		})
	}
	require.Equal(t, "Partial plan (-target=a.b): no changes in the planned part.", summary.Summary{Partial: []string{"-target=a.b"}}.Headline())
	require.Equal(t, "Partial plan (-target=a.b): no drift in the planned part.", summary.Summary{Partial: []string{"-target=a.b"}, RefreshOnly: true}.Headline())
}

func TestWarningLines(t *testing.T) {
	s, err := newShownPlan([]byte(`{"format_version":"1.2","variables":{"pw":{"value":"`+planted+`"}},"configuration":{"root_module":{"variables":{"pw":{"sensitive":true}}}}}`), false)
	require.NoError(t, err)
	warnings := terraform.Warnings(stream(t,
		`{"type":"diagnostic","diagnostic":{"severity":"warning","summary":"Argument is deprecated","detail":"use\n another","range":{"filename":"main.tf","start":{"line":3}}}}`,
		`{"type":"diagnostic","diagnostic":{"severity":"warning","summary":"Argument is deprecated","detail":"use another","range":{"filename":"main.tf","start":{"line":3}}}}`,
		`{"type":"diagnostic","diagnostic":{"severity":"warning","summary":"Odd value","detail":"`+planted+` is odd"}}`,
		`{"type":"diagnostic","diagnostic":{"severity":"warning","summary":"Check block assertion failed","detail":"it expires"}}`,
		`{"type":"diagnostic","diagnostic":{"severity":"error","summary":"no warning"}}`,
	))
	require.Equal(t, []string{"terraform/main.tf:3: Argument is deprecated: use another", "Odd value: (sensitive value)"},
		warningLines(warnings, "terraform", []string{"check.certificate: it expires"}, s.redact))
}

// TestWithoutSettings: a configuration that declares of an environment's keys only
// "environment" reads the file itself.
func TestWithoutSettings(t *testing.T) {
	const file = "environments/staging.tfvars.json"
	undeclared := func(key, file string) terraform.Diagnostic {
		return terraform.Diagnostic{Summary: "Value for undeclared variable", Detail: `The root module does not declare a variable named "` + key + `" but a value was found in file "` + file + `".`}
	}
	more, other := terraform.Diagnostic{Summary: "Values for undeclared variables"}, terraform.Diagnostic{Summary: "Odd value"}
	all := []terraform.Diagnostic{undeclared("nat", file), undeclared("waf", "mine.tfvars"), more, other}
	for name, tt := range map[string]struct {
		environment, variables string
		files                  []string
		want                   []terraform.Diagnostic
	}{
		"it reads the file":       {"staging", `variable "environment" {}`, []string{file}, []terraform.Diagnostic{all[1], other}},
		"another file":            {"staging", `variable "environment" {}`, []string{file, "mine.tfvars"}, all[1:]},
		"it declares another key": {"staging", "variable \"environment\" {}\nvariable \"nat\" {}", []string{file}, all},
		"it declares no key":      {"staging", "", []string{file}, all},
		"no environment":          {"", `variable "environment" {}`, []string{file}, all},
		"an environment, no file": {"staging", `variable "environment" {}`, nil, all},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			sourcetest.Write(t, dir, "terraform/main.tf", tt.variables)
			sourcetest.Write(t, dir, "terraform/"+file, `{"environment": "staging", "nat": "none", "waf": true}`)
			got, err := Stage{Tree: source.Tree{Dir: dir}, Environment: tt.environment}.withoutSettings(slices.Clone(all), tt.files)
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
	_, err := Stage{Tree: source.Tree{Dir: t.TempDir()}, Environment: "staging"}.withoutSettings(nil, []string{"gone"})
	require.Error(t, err)
}

// TestCheckInputs: a configuration that takes the platform's inputs in settings has no
// variable for each.
func TestCheckInputs(t *testing.T) {
	const object, flat = "variable \"services\" {}\nvariable \"environment\" {}\nvariable \"settings\" {}", "variable \"services\" {}\nvariable \"region\" {}"
	region := map[string]string{"terraform.tfvars": "region = \"eu-west-1\"\n", "x.auto.tfvars.json": `{"region": "eu-west-1"}`, "mine.tfvars": "region = \"eu-west-1\"\n"}
	for name, tt := range map[string]struct {
		variables   string
		file        string // of variables, in the root module
		environ     []string
		environment string
		options     terraform.PlanOptions
		from        string // the refused value's
	}{
		"terraform.tfvars":        {variables: object, file: "terraform.tfvars", from: "terraform/terraform.tfvars"},
		"a file in JSON":          {variables: object, file: "x.auto.tfvars.json", from: "terraform/x.auto.tfvars.json"},
		"an environment variable": {variables: object, environ: []string{"TF_VAR_region=eu-west-1"}, from: "TF_VAR_region"},
		"--var":                   {variables: object, options: terraform.PlanOptions{Vars: []string{"region=eu-west-1"}}, from: "--var region"},
		"--var-file":              {variables: object, file: "mine.tfvars", options: terraform.PlanOptions{VarFiles: []string{"mine.tfvars"}}, from: "terraform/mine.tfvars"},
		"beside an environment's": {variables: object, file: "mine.tfvars", environment: "staging", options: terraform.PlanOptions{VarFiles: []string{"staging.tfvars.json", "mine.tfvars"}}, from: "terraform/mine.tfvars"},
		"the environment's file":  {variables: object, file: "mine.tfvars", environment: "staging", options: terraform.PlanOptions{VarFiles: []string{"mine.tfvars"}}},
		"a file that is not read": {variables: object, file: "mine.tfvars"},
		"a variable":              {variables: object, options: terraform.PlanOptions{Vars: []string{`settings={region="eu-west-1"}`, "environment=staging"}}},
		"no input":                {variables: object, environ: []string{"TF_VAR_github_repository=acme/shop"}},
		"a variable for each":     {variables: flat, file: "terraform.tfvars", environ: []string{"TF_VAR_waf=true"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			sourcetest.Write(t, dir, "terraform/main.tf", tt.variables)
			sourcetest.Write(t, dir, "terraform/services.auto.tfvars.json", sourcetest.Services)
			sourcetest.Write(t, dir, "terraform/staging.tfvars.json", `{"environment": "staging", "region": "eu-west-1"}`)
			if tt.file != "" {
				sourcetest.Write(t, dir, "terraform/"+tt.file, region[tt.file])
			}
			err := Stage{Tree: source.Tree{Dir: dir}, Environment: tt.environment, Environ: append([]string{}, tt.environ...)}.checkInputs(tt.options)
			if tt.from == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, tt.from+": region is no variable of terraform: move it to settings in terraform/main.tf or to the environment's file, or use --var (in Dagger --vars) 'settings={region=…}'")
			require.Equal(t, outcome.Usage, outcome.Of(err))
		})
	}
	s := Stage{Tree: source.Tree{Dir: t.TempDir()}, Environ: []string{}}
	require.Error(t, s.checkInputs(terraform.PlanOptions{}), "no configuration")
	sourcetest.Write(t, s.Tree.Dir, "terraform/main.tf", object)
	require.Equal(t, outcome.Usage, outcome.Of(s.checkInputs(terraform.PlanOptions{VarFiles: []string{"gone"}})))
}

func TestEphemeralValues(t *testing.T) {
	dir := t.TempDir()
	sourcetest.Write(t, dir, "terraform/main.tf", "variable \"a\" {\n  ephemeral = true\n}\nvariable \"b\" {}\n")
	sourcetest.Write(t, dir, "terraform/x.auto.tfvars", "a = \"automatic\"\nb = \"kept\"\n")
	sourcetest.Write(t, dir, "ci.tfvars.json", `{"a": {"b": ["nested"]}, "b": "kept"}`)
	s := Stage{Tree: source.Tree{Dir: dir}, Environ: []string{"TF_VAR_a=environment", "TF_VAR_b=kept"}}
	values, err := s.ephemeralValues([]string{"a=option", "b=kept"}, []string{"../ci.tfvars.json"})
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"option", "environment", "automatic", "nested"}, values)
	_, err = s.ephemeralValues(nil, []string{"nope.tfvars"})
	require.Equal(t, outcome.Usage, outcome.Of(err))
	w := &workDir{dir: t.TempDir()}
	_, _, err = s.ephemeralArguments(w, terraform.PlanOptions{VarFiles: []string{"nope.tfvars"}})
	require.Equal(t, outcome.Usage, outcome.Of(err))
	shown, err := newShownPlan([]byte(`{"format_version":"1.2"}`), false, values...)
	require.NoError(t, err)
	require.Equal(t, "(sensitive value)", shown.redact("the token environment is old"))
}

func TestInterruptAfterApply(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := newApplyReport(summary.Summary{}, stream(t, `{"type":"change_summary","changes":{"operation":"apply"}}`), "terraform")
	s := Stage{Tree: source.Tree{Dir: t.TempDir()}}
	require.NoError(t, s.setResult(ctx, &a, output{}), "everything was done")
	require.Equal(t, Succeeded, a.Result)
}

func TestVariablesFilePaths(t *testing.T) {
	dir := t.TempDir()
	s := Stage{Tree: source.Tree{Dir: dir}, Environ: []string{"TF_VAR_one=1", "TF_VAR_other=2"}}
	for name, content := range map[string]string{
		"terraform/a.tf.json": `{"variable": {"one": {}}}`, "terraform/b.tf": "  variable two {\n}\n# variable \"three\"\n", "prod.tfvars": "one = 3\n",
		"terraform/x.auto.tfvars": "", "terraform/terraform.tfvars": "", "terraform/y.tfvars": "",
	} {
		sourcetest.Write(t, dir, name, content)
	}
	outside := filepath.Join(t.TempDir(), "other.tfvars")
	require.NoError(t, os.WriteFile(outside, nil, 0o644))

	declared, err := s.declaredVariables()
	require.NoError(t, err)
	require.Equal(t, map[string]bool{"one": false, "two": false}, declared, "neither is ephemeral")
	o, err := s.resolve(terraform.PlanOptions{VarFiles: []string{filepath.Join(dir, "prod.tfvars"), outside}, Vars: []string{"two=2"}})
	require.NoError(t, err)
	require.Equal(t, []string{"../prod.tfvars", outside}, o.VarFiles, "as Terraform names them, which runs in its folder")
	found, err := s.variables(binding.PlanFile{}, o)
	require.NoError(t, err)
	var names []string
	for name := range found {
		names = append(names, name)
	}
	require.ElementsMatch(t, []string{"TF_VAR_one", "terraform.tfvars", "x.auto.tfvars", "--var two", "--var-file prod.tfvars", "--var-file other.tfvars"}, names)
	require.Len(t, withoutFlags(found), 3)

	_, err = s.variables(binding.PlanFile{}, terraform.PlanOptions{VarFiles: []string{"gone.tfvars"}})
	require.Equal(t, outcome.Usage, outcome.Of(err))
	s.Backend.Config = []string{"k=v", filepath.Join(dir, "prod.tfvars")}
	b, err := s.resolveBackend()
	require.NoError(t, err)
	require.Equal(t, []string{"k=v", "../prod.tfvars"}, b.Config)
}

// TestWithoutIgnored: what ignore_changes lists is no drift, in modules of any source.
func TestWithoutIgnored(t *testing.T) {
	const service = `resource "aws_ecs_service" "service" {
		lifecycle { ignore_changes = [desired_count, action] }
	}`
	dir, w := t.TempDir(), &workDir{dir: t.TempDir()}
	sourcetest.Write(t, dir, "terraform/main.tf", strings.Replace(service, "[desired_count, action]", "all", 1))
	sourcetest.Write(t, dir, "terraform/modules/platform/main.tf", service)
	sourcetest.Write(t, w.dir, "data/modules/far/main.tf", service)
	sourcetest.Write(t, w.dir, "data/modules/modules.json", `{"Modules":[{"Key":"","Dir":"."},{"Key":"platform","Dir":"modules/platform"},{"Key":"platform.far","Dir":"/out/data/modules/far"}]}`)
	s := Stage{Tree: source.Tree{Dir: dir}}
	for name, tt := range map[string]struct {
		address string
		action  summary.Action
		paths   []string
		want    []string // nil for no drift
	}{
		"ignored":                    {`module.platform.aws_ecs_service.service["a.b[0]"]`, summary.Update, []string{"desired_count"}, nil},
		"below an ignored attribute": {`module.platform.aws_ecs_service.service["a"]`, summary.Update, []string{"action[0].forward.weight", "action.x"}, nil},
		"a similar name":             {`module.platform.aws_ecs_service.service["a"]`, summary.Update, []string{"actions[0]", "desired_count"}, []string{"actions[0]"}},
		"deleted":                    {`module.platform.aws_ecs_service.service["a"]`, summary.Destroy, nil, []string{}},
		"a downloaded module":        {`module.platform["x"].module.far[1].aws_ecs_service.service`, summary.Update, []string{"desired_count"}, nil},
		"the root module":            {"aws_ecs_service.service[0]", summary.Update, []string{"name"}, nil},
		"another resource":           {"module.platform.aws_ecs_service.other", summary.Update, []string{"desired_count"}, []string{"desired_count"}},
		"an unknown module":          {"module.other.aws_ecs_service.service", summary.Update, []string{"desired_count"}, []string{"desired_count"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := summary.Resource{Address: tt.address, Action: tt.action}
			for _, path := range tt.paths {
				r.Attributes = append(r.Attributes, summary.Attribute{Path: path})
			}
			var got []string
			for _, left := range s.withoutIgnored(w, []summary.Resource{r}) {
				got = []string{}
				for _, a := range left.Attributes {
					got = append(got, a.Path)
				}
			}
			require.Equal(t, tt.want, got)
		})
	}
}

func TestConfigurationFiles(t *testing.T) {
	dir := sourcetest.New(t)
	for _, name := range []string{"main.tf", "templates/user.tftpl", "policy.json", "modules/a/main.tf", ".terraform/modules/x.tf"} {
		sourcetest.Write(t, dir, "terraform/"+name, "x")
	}
	require.NoError(t, os.Symlink("modules", filepath.Join(dir, "terraform", "link")))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "terraform", "dangling")))
	sourcetest.Write(t, dir, ".gitignore", ".terraform/\nignored.tf\n*.tfvars\n")
	sourcetest.Commit(t, dir, "platform")
	sourcetest.Write(t, dir, "terraform/ignored.tf", "x")
	sourcetest.Write(t, dir, "terraform/secret.auto.tfvars", "x")
	sourcetest.Write(t, dir, "terraform/notes.txt", "x")
	s := Stage{Tree: source.Tree{Dir: dir}}
	c, err := s.configuration(t.Context(), nil)
	require.NoError(t, err)
	require.True(t, c.dirty, "no commit has what is ignored")
	var names []string
	for name := range c.files {
		names = append(names, strings.TrimPrefix(name, "terraform/"))
	}
	require.ElementsMatch(t, []string{"main.tf", "templates/user.tftpl", "policy.json", "modules/a/main.tf", "link", "dangling", "services.auto.tfvars.json", "ignored.tf"}, names,
		"what git tracks and what Terraform would read; no file of secrets, no note")
	s.Dir = "nope"
	_, err = s.configuration(t.Context(), nil)
	require.Error(t, err)
	_, err = c.hash(filepath.Join(dir, "nope"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestBackendWithoutCredentials(t *testing.T) {
	w := &workDir{dir: t.TempDir()}
	b, err := w.backend()
	require.NoError(t, err)
	require.Equal(t, binding.Backend{Type: "local"}, b)
	write := func(content string) {
		require.NoError(t, os.MkdirAll(w.file("data"), 0o755))
		require.NoError(t, os.WriteFile(w.file("data/terraform.tfstate"), []byte(content), 0o600))
	}
	write(`{"backend":{"type":"s3","config":{"bucket":"b","encrypt":true,"max_retries":5,"access_key":"AKIA","secret_key":"s","token":"t","profile":null,"assume_role":{"role_arn":"r"},"endpoints":{"s3":"x"},"url":"https://user:word@host/"}}}`)
	b, err = w.backend()
	require.NoError(t, err)
	require.Equal(t, "s3 bucket=b encrypt=true max_retries=5", b.String())
	write("{")
	_, err = w.backend()
	require.ErrorContains(t, err, "reading the backend configuration")
}

func TestIdentityIsUsed(t *testing.T) {
	plan := func(provider string) *shownPlan {
		s, err := newShownPlan([]byte(`{"format_version":"1.2","configuration":{"provider_config":{"x":{"full_name":"`+provider+`"}}}}`), false)
		require.NoError(t, err)
		return &s
	}
	s := Stage{Identity: noIdentity{}}
	_, _, err := s.identity(t.Context(), plan("registry.terraform.io/hashicorp/aws").plan, binding.Backend{Type: "local"})
	require.ErrorIs(t, err, errNoIdentity)
	_, _, err = s.identity(t.Context(), plan("terraform.io/builtin/terraform").plan, binding.Backend{Type: "local"})
	require.NoError(t, err)
	_, _, err = s.identity(t.Context(), plan("terraform.io/builtin/terraform").plan, binding.Backend{Type: "s3"})
	require.ErrorIs(t, err, errNoIdentity)
	none, err := newShownPlan([]byte(`{"format_version":"1.2"}`), false)
	require.NoError(t, err)
	require.False(t, usesAWS(none.plan))
	_, err = newShownPlan([]byte("{}"), false)
	require.ErrorContains(t, err, "reading the plan")
	_, err = newShownPlan([]byte("["), false)
	require.ErrorContains(t, err, "reading the plan as JSON")
}

var errNoIdentity = errors.New("nobody")

type noIdentity struct{}

func (noIdentity) Identity(context.Context) (account, region string, err error) {
	return "", "", errNoIdentity
}

// fakeOutput is an executor that writes a given output.
type fakeOutput struct {
	files map[string]string
	code  int
	err   error
}

func (s fakeOutput) Run(_ context.Context, _ step.Step, dir string) (step.Result, error) {
	for name, content := range s.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return step.Result{}, err
		}
	}
	return step.Result{ExitCode: s.code}, s.err
}

func TestUnexpectedOutput(t *testing.T) {
	dir := sourcetest.New(t)
	sourcetest.Write(t, dir, "terraform/main.tf", "# nothing\n")
	sourcetest.Commit(t, dir, "platform")
	lost := errors.New("the container is lost")
	tests := map[string]struct {
		exec fakeOutput
		plan string
		find string
	}{
		"nothing runs":        {fakeOutput{err: lost}, "the container is lost", "the container is lost"},
		"nothing is left":     {fakeOutput{}, "reading the plan", "reading the output of terraform fmt"},
		"a wrapper runs":      {fakeOutput{files: map[string]string{"init.jsonl": "[command]/opt/terraform-bin init\n", "fmt.jsonl": "\n::debug::Terraform exited with code 0.\n"}}, terraform.WrapperHint, terraform.WrapperHint},
		"the plan is no JSON": {fakeOutput{files: map[string]string{"show.json": "{", "fmt.jsonl": "", "validate.jsonl": "{"}}, "reading the plan as JSON", "terraform validate ended with exit code 0: no error output"},
		"no tfplan":           {fakeOutput{files: map[string]string{"show.json": `{"format_version":"1.2"}`, "fmt.jsonl": ""}}, "no plan file", "reading the output of terraform validate"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := Stage{Tree: source.Tree{Dir: dir}, Exec: tt.exec}
			_, err := s.Plan(t.Context(), PlanOptions{Out: t.TempDir()})
			require.ErrorContains(t, err, tt.plan)
			_, err = s.Validate(t.Context())
			require.ErrorContains(t, err, tt.find)
		})
	}
	s := Stage{Tree: source.Tree{Dir: dir}, Exec: fakeOutput{}}
	w := &workDir{exec: fakeOutput{}, dir: t.TempDir()}
	_, err := s.pull(t.Context(), w)
	require.ErrorContains(t, err, "reading the state")
	require.ErrorContains(t, w.copyPlan(filepath.Join(dir, "nope"), ""), "reading the plan file")
	require.Equal(t, outcome.Refused, outcome.Of(w.copyPlan(filepath.Join(dir, "terraform/main.tf"), "sha256:0")))
	require.ErrorContains(t, SavedPlan{Dir: t.TempDir()}.write(w, shownPlan{}), "reading the plan")
	require.Empty(t, output{}.version())
}

func TestFormat(t *testing.T) {
	dir := sourcetest.New(t)
	said := "sub/b.tf\n--- old/sub/b.tf\n+++ new/sub/b.tf\n@@ -4,3 +4,3 @@\n same\n-x=1\n+x = 1\n"
	s := Stage{Tree: source.Tree{Dir: dir}, Exec: fakeOutput{files: map[string]string{"fmt.jsonl": said}, code: 3}}
	v := Validation{}
	require.NoError(t, s.checkFormat(t.Context(), &v))
	require.Equal(t, "terraform/sub/b.tf", v.Findings[0].File)
	require.Equal(t, 5, v.Findings[0].Line, "the first that differs")

	s.Exec = fakeOutput{files: map[string]string{"fmt.jsonl": strings.Repeat("x", 2<<20)}}
	require.ErrorContains(t, s.checkFormat(t.Context(), &v), "token too long")
}

func TestFindingLocation(t *testing.T) {
	v := Validation{Result: Failed, Findings: []Finding{
		{Root: "r", Severity: "error", Rule: "init", Message: "a | b"}, {File: "f", Severity: "warning"}, {File: "f", Line: 1}, {File: "f", Line: 1, Column: 2},
	}}
	var b strings.Builder
	require.NoError(t, v.Text(&b))
	require.NoError(t, v.Markdown(&b))
	for _, want := range []string{"r: error: a | b (init)\n", "f: warning: ", "f:1: ", "f:1:2: ", "| r | error: a &#124; b | init |", "4 findings"} {
		require.Contains(t, b.String(), want)
	}
}
