package infra_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/infra"
	"github.com/slipway-cd/slipway/ci/internal/infra/binding"
	"github.com/slipway-cd/slipway/ci/internal/infra/terraform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

func TestPlanThenApply(t *testing.T) {
	tr := platformTree(t)

	planned := tr.mustPlan(t)
	require.True(t, planned.Summary.Changes())
	require.Equal(t, "Plan: 3 created, 2 outputs changed.", planned.Summary.Headline())
	require.Empty(t, tr.stateNow(t), "a plan leaves the state alone")
	require.Equal(t, binding.State{}, planned.Binding.State)
	info, err := os.Stat(filepath.Join(tr.out, infra.PlanFile))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "it has secrets in it")
	require.NoDirExists(t, filepath.Join(tr.dir, "terraform", ".terraform"), "nothing is left in the tree")

	applied := tr.mustApply(t)
	require.Equal(t, infra.Succeeded, applied.Result)
	require.Len(t, applied.Applied, 3)
	require.JSONEq(t, `"plain"`, string(applied.Outputs["flavour"].Value))
	require.True(t, applied.Outputs["database"].Sensitive)
	text := rendered(t, applied)
	require.Contains(t, text, `flavour = "plain"`)
	require.Contains(t, text, "database = (sensitive value)")
	require.Contains(t, text, "| flavour | <code>\"plain\"</code> |")
	require.NotContains(t, text, secret)

	planned = tr.mustPlan(t)
	require.False(t, planned.Summary.Changes())
	require.NotZero(t, planned.Binding.State.Serial)
	require.Contains(t, tr.file(t, infra.SummaryFile), "No changes: the infrastructure matches the configuration.")
	require.Contains(t, rendered(t, planned), `"result": "unchanged"`)

	planned = tr.mustPlan(t, func(o *infra.PlanOptions) { o.Vars = []string{"flavour=spicy"} })
	require.Contains(t, tr.file(t, infra.SummaryFile), "<b>replace</b> <code>terraform_data.database</code>: triggers_replace cannot be updated in place")
	require.Contains(t, tr.file(t, infra.SummaryFile), "! triggers_replace[0]: \"plain\" -> \"spicy\"  # forces replacement")
	require.Contains(t, rendered(t, planned), `"result": "changes"`)
	applied = tr.mustApply(t)
	require.Len(t, applied.Applied, 3, "the plan holds what --var said")
	require.JSONEq(t, `"spicy"`, string(applied.Outputs["flavour"].Value))
}

func TestRunLeaksNoSecret(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	tr := platformTree(t)
	tr.write(t, "secret.auto.tfvars", "flavour = \"plain\"\n")
	var told, progress bytes.Buffer
	tr.Exec = step.Host{Source: tr.dir, Log: &told, Tee: &terraform.Progress{W: &progress}}
	check := func() {
		t.Helper()
		entries, err := os.ReadDir(tr.out)
		require.NoError(t, err)
		require.Len(t, entries, 4)
		for _, entry := range entries {
			if entry.Name() != infra.PlanFile {
				require.NotContains(t, tr.file(t, entry.Name()), secret, entry.Name())
			}
		}
	}
	said := rendered(t, tr.mustPlan(t))
	check()
	said += rendered(t, tr.mustApply(t))
	t.Setenv("TF_VAR_password", secret+"-changed")
	planned := tr.mustPlan(t)
	require.Contains(t, tr.file(t, infra.SummaryFile), "(sensitive value, changes)")
	said += rendered(t, planned)
	check()
	said += rendered(t, tr.mustApply(t))
	require.NotContains(t, said, secret)
	require.NotContains(t, told.String()+progress.String(), secret)
	require.Contains(t, progress.String(), "terraform_data.database: Creation complete")
	left, err := filepath.Glob(filepath.Join(temporary, "slipway-*"))
	require.NoError(t, err)
	require.Empty(t, left, "the run's own directory is gone")
}

func TestPlanRefreshOnlyShowsDrift(t *testing.T) {
	tr := newTree(t, map[string]string{"main.tf": `resource "terraform_data" "a" {}`})
	tr.Backend = terraform.Backend{}
	tr.write(t, "main.tf", "terraform {\n  backend \"local\" {\n    path = \""+tr.state+"\"\n  }\n}\n\nresource \"terraform_data\" \"a\" {}\n")
	tr.mustPlan(t)
	tr.mustApply(t)
	planned := tr.mustPlan(t, func(o *infra.PlanOptions) { o.RefreshOnly = true })
	require.True(t, planned.Binding.RefreshOnly)
	require.Equal(t, "No drift: the infrastructure matches the state.", planned.Summary.Headline())
	applied := tr.mustApply(t)
	require.Equal(t, infra.Succeeded, applied.Result)
}

// reseal changes a binding and recomputes its digest.
func reseal(t *testing.T, tr tree, change func(*binding.Binding)) {
	t.Helper()
	name := filepath.Join(tr.out, infra.BindingFile)
	b, err := binding.Read(name)
	require.NoError(t, err)
	change(&b)
	require.NoError(t, b.Sealed().Write(name))
}

func edit(t *testing.T, name string, change func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, change(data), 0o600))
}

func replaced(old, with string) func([]byte) []byte {
	return func(data []byte) []byte { return bytes.Replace(data, []byte(old), []byte(with), 1) }
}

func TestApplyRefusesChangedInputs(t *testing.T) {
	options := func(*infra.ApplyOptions) {}
	tests := map[string]struct {
		spoil func(t *testing.T, tr *tree)
		with  func(*infra.ApplyOptions)
		want  string
	}{
		"a byte of tfplan": {
			spoil: func(t *testing.T, tr *tree) {
				edit(t, filepath.Join(tr.out, infra.PlanFile), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
			},
			want: "plan file: bound sha256:",
		},
		"a tfplan cut short": {
			spoil: func(t *testing.T, tr *tree) {
				edit(t, filepath.Join(tr.out, infra.PlanFile), func(b []byte) []byte { return b[:len(b)/2] })
			},
			want: "plan file: bound sha256:",
		},
		"another tfplan": {
			spoil: func(t *testing.T, tr *tree) {
				other := *tr
				other.out = t.TempDir()
				other.mustPlan(t)
				data, err := os.ReadFile(filepath.Join(other.out, infra.PlanFile))
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(filepath.Join(tr.out, infra.PlanFile), data, 0o600))
			},
			want: "plan file: bound sha256:",
		},
		"a change of binding.json": {
			spoil: func(t *testing.T, tr *tree) {
				edit(t, filepath.Join(tr.out, infra.BindingFile), replaced(`"workspace": "default"`, `"workspace": "defaulT"`))
			},
			want: "was changed after the plan was made",
		},
		"a key of binding.json": {
			spoil: func(t *testing.T, tr *tree) {
				edit(t, filepath.Join(tr.out, infra.BindingFile), replaced(`"workspace"`, `"workspac"`))
			},
			want: "is not a valid binding",
		},
		"another format of binding.json": {
			spoil: func(t *testing.T, tr *tree) {
				edit(t, filepath.Join(tr.out, infra.BindingFile), replaced(`"format": 1`, `"format": 9`))
			},
			want: "has format 9",
		},
		"a resealed binding, another commit": {
			spoil: func(t *testing.T, tr *tree) {
				reseal(t, *tr, func(b *binding.Binding) { b.Commit = strings.Repeat("0", 40) })
			},
			want: "commit: bound 0000000000000000000000000000000000000000, now ",
		},
		"a resealed binding, another serial": {
			spoil: func(t *testing.T, tr *tree) { reseal(t, *tr, func(b *binding.Binding) { b.State.Serial += 7 }) },
			want:  "state serial: bound ",
		},
		"another digest than the reviewed one": {
			spoil: func(*testing.T, *tree) {},
			with:  func(o *infra.ApplyOptions) { o.Digest = "sha256:0000" },
			want:  "is not the reviewed one",
		},
		"another commit": {
			spoil: func(t *testing.T, tr *tree) {
				sourcetest.Git(t, tr.dir, "commit", "-q", "--allow-empty", "-m", "second")
			},
			want: "commit: bound ",
		},
		"a configuration that is not committed": {
			spoil: func(t *testing.T, tr *tree) { tr.write(t, "main.tf", configuration+"\n# more\n") },
			want:  "configuration (terraform/main.tf): bound ",
		},
		"one more file": {
			spoil: func(t *testing.T, tr *tree) { tr.write(t, "more.tf", "\n") },
			want:  "configuration (terraform/more.tf): bound none, now ",
		},
		"another provider version": {
			spoil: func(t *testing.T, tr *tree) {
				tr.write(t, ".terraform.lock.hcl", "provider \"registry.terraform.io/hashicorp/aws\" {\n  version = \"5.99.0\"\n}\n")
			},
			want: "provider lock file: bound none, now ",
		},
		"another services file": {
			spoil: func(t *testing.T, tr *tree) { tr.write(t, "services.auto.tfvars.json", `{"services": {}}`) },
			want:  "variables (services.auto.tfvars.json): bound ",
		},
		"another variable in the environment": {
			spoil: func(t *testing.T, _ *tree) { t.Setenv("TF_VAR_flavour", "spicy") },
			want:  "variables (TF_VAR_flavour): bound none, now ",
		},
		"a variable that is not set any more": {
			spoil: func(t *testing.T, _ *tree) { t.Setenv("TF_VAR_password", "") },
			want:  "variables (TF_VAR_password): bound ",
		},
		"another --var": {
			spoil: func(*testing.T, *tree) {},
			with:  func(o *infra.ApplyOptions) { o.Vars = []string{"flavour=spicy"} },
			want:  "variables (--var flavour): bound none, now ",
		},
		"another workspace": {
			spoil: func(t *testing.T, _ *tree) { t.Setenv("TF_WORKSPACE", "other") },
			want:  "workspace: bound default, now other",
		},
		"a newer serial": {
			spoil: func(t *testing.T, tr *tree) { edit(t, tr.state, replaced(`"serial": `, `"serial": 1`)) },
			want:  "state serial: bound ",
		},
		"another lineage": {
			spoil: func(t *testing.T, tr *tree) {
				edit(t, tr.state, func(b []byte) []byte {
					var state map[string]any
					require.NoError(t, json.Unmarshal(b, &state))
					state["lineage"] = "11111111-2222-3333-4444-555555555555"
					changed, err := json.Marshal(state)
					require.NoError(t, err)
					return changed
				})
			},
			want: "now 11111111-2222-3333-4444-555555555555",
		},
		"a deleted state": {
			spoil: func(t *testing.T, tr *tree) { require.NoError(t, os.Remove(tr.state)) },
			want:  "now none",
		},
		"another backend": {
			spoil: func(t *testing.T, tr *tree) {
				other := filepath.Join(t.TempDir(), "state.json")
				data, err := os.ReadFile(tr.state)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(other, data, 0o600))
				tr.Backend.Config = []string{"path=" + other}
			},
			want: "backend: bound local path=",
		},
		"another account": {
			spoil: func(t *testing.T, tr *tree) {
				reseal(t, *tr, func(b *binding.Binding) { b.Account, b.Region = "111111111111", "us-east-1" })
				tr.Identity = account{id: "222222222222", region: "eu-west-1"}
			},
			want: "account: bound 111111111111, now 222222222222; region: bound us-east-1, now eu-west-1",
		},
		"another Terraform": {
			spoil: func(t *testing.T, tr *tree) {
				reseal(t, *tr, func(b *binding.Binding) { b.TerraformVersion = "1.2.3" })
			},
			want: "Terraform: bound 1.2.3, now 1.",
		},
		"another tree": {
			spoil: func(t *testing.T, tr *tree) {
				other := newTree(t, map[string]string{"main.tf": configuration, "services.auto.tfvars.json": services, "other.tf": ""})
				other.out, other.Backend, other.state = tr.out, tr.Backend, tr.state
				*tr = other
			},
			want: "configuration (terraform/other.tf): bound none",
		},
		"a tree without a platform": {
			spoil: func(t *testing.T, tr *tree) {
				other := newTree(t, map[string]string{"README.md": "nothing"})
				other.out, other.state = tr.out, tr.state
				*tr = other
			},
			want: "the plan was made in another tree",
		},
		"the same plan again": {
			spoil: func(t *testing.T, tr *tree) { tr.mustApply(t) },
			want:  "(the state has changed, perhaps because this plan was already applied)",
		},
	}
	base := platformTree(t)
	base.mustPlan(t)
	base.mustApply(t)
	base.write(t, "services.auto.tfvars.json", strings.Replace(services, `"path": "backend"`, `"path": "back"`, 1))
	sourcetest.Commit(t, base.dir, "another path")
	base.mustPlan(t)
	again := base.snapshot(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			again(t)
			tr := base
			tt.spoil(t, &tr)
			before := tr.stateNow(t)
			if tt.with == nil {
				tt.with = options
			}

			applied, err := tr.apply(t, tt.with)

			require.ErrorContains(t, err, tt.want)
			require.Equal(t, outcome.Refused, outcome.Of(err))
			require.NotContains(t, err.Error(), "\n", "one clear line")
			require.NotContains(t, err.Error(), secret)
			require.Empty(t, applied.Result)
			require.Equal(t, before, tr.stateNow(t), "the state is untouched")
		})
	}
}

func TestApplyBadInput(t *testing.T) {
	tests := map[string]struct {
		spoil func(t *testing.T, tr *tree)
		with  func(*infra.ApplyOptions)
		want  string
	}{
		"no plan directory": {
			spoil: func(_ *testing.T, tr *tree) { tr.out = filepath.Join(tr.out, "nope") },
			want:  "run slipway plan, or name one with --plan",
		},
		"no binding": {
			spoil: func(t *testing.T, tr *tree) { require.NoError(t, os.Remove(filepath.Join(tr.out, infra.BindingFile))) },
			want:  "choose a plan directory with --plan",
		},
		"no plan file": {
			spoil: func(t *testing.T, tr *tree) { require.NoError(t, os.Remove(filepath.Join(tr.out, infra.PlanFile))) },
			want:  "must be a complete plan directory",
		},
		"no such --var-file": {
			spoil: func(*testing.T, *tree) {},
			with:  func(o *infra.ApplyOptions) { o.VarFiles = []string{"nope.tfvars"} },
			want:  "--var-file nope.tfvars: no such file",
		},
		"no such --backend-config": {
			spoil: func(_ *testing.T, tr *tree) { tr.Backend.Config = []string{"nope.tfbackend"} },
			want:  `invalid --backend-config "nope.tfbackend": want KEY=VALUE or a file (no such file` + "",
		},
		"an address that is not destroyed": {
			spoil: func(*testing.T, *tree) {},
			with:  func(o *infra.ApplyOptions) { o.AllowDestroy = []string{"aws_vpc.main"} },
			want:  "--allow-destroy aws_vpc.main: the plan does not destroy it (it destroys nothing)",
		},
	}
	base := platformTree(t)
	base.mustPlan(t)
	again := base.snapshot(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			again(t)
			tr := base
			tt.spoil(t, &tr)
			if tt.with == nil {
				tt.with = func(*infra.ApplyOptions) {}
			}
			_, err := tr.apply(t, tt.with)
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, outcome.Usage, outcome.Of(err))
			require.NotContains(t, err.Error(), "\n")
			require.Empty(t, tr.stateNow(t))
		})
	}
}

func TestApplyPartialPlan(t *testing.T) {
	base := platformTree(t)
	base.mustPlan(t)
	again := base.snapshot(t)
	tests := map[string]struct{ variable, value, reason string }{
		"a target":               {"TF_CLI_ARGS_plan", "-target=terraform_data.database", "-target=terraform_data.database"},
		"a target for every one": {"TF_CLI_ARGS", "-target 'terraform_data.database'", "-target=terraform_data.database"},
		"no refresh":             {"TF_CLI_ARGS_plan", "-parallelism=3 --refresh=false", "-refresh=false"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			again(t)
			tr := base
			tr.write(t, "old.auto.tfvars", "nobody_declared_this = 1\n")
			t.Setenv(tt.variable, tt.value)
			planned := tr.mustPlan(t)
			require.Equal(t, []string{tt.reason}, planned.Binding.Partial)
			require.Contains(t, planned.Summary.Headline(), "Partial plan ("+tt.reason+"): ")
			require.Contains(t, tr.file(t, infra.SummaryFile), "### Partial plan ("+tt.reason+"): ")
			require.Contains(t, tr.file(t, infra.SummaryFile), "> - Value for undeclared variable: ")
			require.Contains(t, rendered(t, planned), "\nwarning: Value for undeclared variable: ")
			require.Contains(t, rendered(t, planned), `"partial": [`)

			_, err := tr.apply(t)
			require.ErrorContains(t, err, "the plan is partial ("+tt.reason+"): it omits a part of the configuration: to apply it anyway, add --allow-partial")
			require.Equal(t, outcome.Refused, outcome.Of(err))
			require.Empty(t, tr.stateNow(t))
			if name == "a target" { // what the binding does not say, the plan does
				reseal(t, tr, func(b *binding.Binding) { b.Partial = nil })
				_, err = tr.apply(t)
				require.ErrorContains(t, err, "the plan is partial (Terraform reports it as incomplete): ")
			}
			applied := tr.mustApply(t, func(o *infra.ApplyOptions) { o.AllowPartial = true })
			require.NotEmpty(t, applied.Applied)
			require.Contains(t, rendered(t, applied), "warning: Value for undeclared variable: ")
		})
	}
}

func TestApplyNeedsIdentity(t *testing.T) {
	tr := platformTree(t)
	tr.mustPlan(t)
	reseal(t, tr, func(b *binding.Binding) { b.Account = "111111111111" })
	_, err := tr.apply(t)
	require.EqualError(t, err, "the plan is bound to an AWS account, which cannot be determined here")

	tr.Identity = account{err: errors.New("no network")}
	_, err = tr.apply(t)
	require.EqualError(t, err, "reading the AWS account: no network")
	require.Empty(t, tr.stateNow(t))

	tr.Identity = account{id: "111111111111"}
	tr.mustApply(t)
}

// failing is a configuration whose apply fails halfway.
const failing = `terraform {
  backend "local" {}
}

variable "broken" {
  default = true
}

resource "terraform_data" "first" {}

resource "terraform_data" "second" {
  depends_on = [terraform_data.first]
  provisioner "local-exec" {
    command = var.broken ? "exit 3" : "true"
  }
}

resource "terraform_data" "third" {
  depends_on = [terraform_data.second]
}
`

func TestApplyPartialFailure(t *testing.T) {
	tr := newTree(t, map[string]string{"main.tf": failing})
	tr.mustPlan(t)

	applied, err := tr.apply(t)

	require.ErrorContains(t, err, "1 applied, 1 failed, 1 not reached: terraform apply: terraform/main.tf:13: local-exec provisioner error: Error running command 'exit 3': exit status 3.")
	require.Equal(t, outcome.Failed, outcome.Of(err))
	require.Equal(t, infra.Failed, applied.Result)
	require.Equal(t, "terraform_data.first", applied.Applied[0].Address)
	require.Equal(t, "terraform_data.second", applied.Failed[0].Address)
	require.Contains(t, applied.Failed[0].Error, "exit status 3")
	require.Equal(t, "terraform_data.third", applied.NotReached[0].Address)
	text := rendered(t, applied)
	require.Contains(t, text, "  not reached  create   terraform_data.third")
	require.Contains(t, text, "<details open><summary>Failed (1)</summary>")
	require.Contains(t, text, "Next: fix the cause, then run slipway plan and slipway apply again")

	planned := tr.mustPlan(t, func(o *infra.PlanOptions) { o.Vars = []string{"broken=false"} })
	require.Contains(t, rendered(t, planned), "replace terraform_data.second: it is tainted: its creation failed in part")
	applied = tr.mustApply(t)
	require.Len(t, applied.Applied, 2)
}

// waitingConfiguration is a configuration whose second resource waits for a file.
func waitingConfiguration(t *testing.T) (configuration, started, release string) {
	dir := t.TempDir()
	started, release = filepath.Join(dir, "started"), filepath.Join(dir, "release")
	return `terraform {
  backend "local" {}
}

resource "terraform_data" "first" {}

resource "terraform_data" "second" {
  depends_on = [terraform_data.first]
  provisioner "local-exec" {
    command = "touch ` + started + `; until [ -e ` + release + ` ]; do sleep 0.05; done"
  }
}

resource "terraform_data" "third" {
  depends_on = [terraform_data.second]
}
`, started, release
}

func awaitFile(t *testing.T, name string) {
	t.Helper()
	require.Eventually(t, func() bool { _, err := os.Stat(name); return err == nil }, 20*time.Second, 10*time.Millisecond)
}

type ended struct {
	applied infra.ApplyReport
	err     error
}

func TestApplyInterrupted(t *testing.T) {
	config, started, _ := waitingConfiguration(t)
	tr := newTree(t, map[string]string{"main.tf": config})
	tr.mustPlan(t)
	ctx, interrupt := context.WithCancelCause(t.Context())
	done := make(chan ended, 1)
	go func() {
		applied, err := tr.Apply(ctx, infra.ApplyOptions{Plan: tr.out})
		done <- ended{applied, err}
	}()
	awaitFile(t, started)

	interrupt(outcome.Interruption("interrupted (SIGINT)"))

	end := <-done
	require.ErrorContains(t, end.err, "applying: interrupted (SIGINT): 1 applied, 1 failed, 1 not reached")
	require.Equal(t, outcome.Interrupted, outcome.Of(end.err))
	require.Equal(t, infra.Interrupted, end.applied.Result)
	require.Contains(t, end.applied.Next, "slipway apply again to continue")
	require.Contains(t, tr.stateNow(t), `"name": "second"`, "Terraform wrote down what it had begun")
	require.NoFileExists(t, filepath.Join(filepath.Dir(tr.state), ".state.json.lock.info"), "the lock is given back")
	tr.mustPlan(t)
}

func TestStateLocked(t *testing.T) {
	config, started, release := waitingConfiguration(t)
	tr := newTree(t, map[string]string{"main.tf": config})
	tr.mustPlan(t)
	other := tr
	other.out = filepath.Join(t.TempDir(), "plan")
	other.mustPlan(t)
	done := make(chan ended, 1)
	go func() {
		applied, err := tr.Apply(t.Context(), infra.ApplyOptions{Plan: tr.out})
		done <- ended{applied, err}
	}()
	awaitFile(t, started)

	before := tr.stateNow(t)
	_, planErr := other.plan(t, func(o *infra.PlanOptions) { o.Out = t.TempDir() })
	_, unlockedErr := other.plan(t, func(o *infra.PlanOptions) { o.Out, o.NoLock = t.TempDir(), true })
	_, applyErr := other.apply(t)
	after := tr.stateNow(t)
	require.NoError(t, os.WriteFile(release, nil, 0o644))
	end := <-done

	for _, err := range []error{planErr, applyErr} {
		require.Equal(t, outcome.Refused, outcome.Of(err), "%v", err)
	}
	require.Regexp(t, `^the state is locked by \S+@\S+ since 20\d\d-\S+Z \(terraform apply, lock [0-9a-f-]+\): wait for it \(slipway: --lock-timeout\) or, if that run has certainly ended, run terraform force-unlock [0-9a-f-]+$`, planErr.Error())
	require.NoError(t, unlockedErr, "a role that may only read plans without a lock")
	require.Equal(t, before, after)
	require.NoError(t, end.err)
	require.Len(t, end.applied.Applied, 3)
}

// fakeShow is Terraform with another output of terraform show.
type fakeShow struct {
	step.Executor
	plan string
}

func (s fakeShow) Run(ctx context.Context, invocation step.Step, dir string) (step.Result, error) {
	result, err := s.Executor.Run(ctx, invocation, dir)
	if err == nil && invocation.Stdout == terraform.ShowFile {
		err = os.WriteFile(filepath.Join(dir, terraform.ShowFile), []byte(s.plan), 0o600)
	}
	return result, err
}

func TestApplyRefusesDestroy(t *testing.T) {
	tr := newTree(t, map[string]string{"main.tf": "terraform {\n  backend \"local\" {}\n}\n"})
	tr.Exec = fakeShow{tr.Exec, `{"format_version":"1.2","resource_changes":[
		{"address":"aws_vpc.main","mode":"managed","type":"aws_vpc","change":{"actions":["delete"],"before":{},"after":null}},
		{"address":"aws_ecr_repository.service[\"api\"]","mode":"managed","type":"aws_ecr_repository","change":{"actions":["delete","create"],"before":{},"after":{}}},
		{"address":"aws_security_group.x","mode":"managed","type":"aws_security_group","change":{"actions":["delete"],"before":{},"after":null}}]}`}
	planned := tr.mustPlan(t)
	require.Contains(t, rendered(t, planned), `"refused": [
    "aws_ecr_repository.service[\"api\"]",
    "aws_vpc.main"
  ]`)
	allow := func(addresses ...string) func(*infra.ApplyOptions) {
		return func(o *infra.ApplyOptions) { o.AllowDestroy = addresses }
	}
	_, err := tr.apply(t)
	require.EqualError(t, err, "the plan would destroy aws_vpc.main (lost: the network, with everything in it), "+
		`replace aws_ecr_repository.service["api"] (lost: every image in it, those to roll back to included): `+
		`to allow it, add --allow-destroy aws_vpc.main --allow-destroy 'aws_ecr_repository.service["api"]'`)
	require.Equal(t, outcome.Refused, outcome.Of(err))
	_, err = tr.apply(t, allow("aws_vpc.main"))
	require.Equal(t, outcome.Refused, outcome.Of(err))
	require.Empty(t, tr.stateNow(t))
	tr.mustApply(t, allow("aws_vpc.main", `aws_ecr_repository.service["api"]`))

	// plan.json does not affect apply.
	edit(t, filepath.Join(tr.out, infra.PlanJSON), func([]byte) []byte { return []byte(`{"format_version":"1.2"}`) })
	_, err = tr.apply(t)
	require.Equal(t, outcome.Refused, outcome.Of(err))
}
