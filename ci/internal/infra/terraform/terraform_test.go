package terraform_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/infra/terraform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func TestSteps(t *testing.T) {
	root := terraform.Root{Dir: "terraform", Image: "terraform:1.11"}
	init := root.InitStep(terraform.Backend{Config: []string{"bucket=b", "x.tfbackend"}})
	plan := root.PlanStep(terraform.PlanOptions{Vars: []string{"a=b"}, VarFiles: []string{"x.tfvars"}, RefreshOnly: true, Destroy: true, NoLock: true, LockTimeout: 5 * time.Minute})
	tests := map[string]struct {
		step           step.Step
		args           string
		stdout         string
		inputs         []string
		fresh, careful bool
	}{
		"init": {init, "init -input=false -json -no-color -lockfile=readonly -backend-config=bucket=b -backend-config=x.tfbackend", "init.jsonl", nil, true, false},
		"init without a backend": {
			root.OfflineInitStep(), "init -input=false -json -no-color -lockfile=readonly -backend=false", "init.jsonl", nil, true, false,
		},
		"validate": {root.ValidateStep(), "validate -json -no-color", "validate.jsonl", []string{"data"}, false, false},
		"fmt":      {root.FormatStep(), "fmt -check -diff -recursive -no-color", "fmt.jsonl", nil, false, false},
		"test":     {root.TestStep(), "test -json -no-color", "test.jsonl", []string{"data"}, false, false},
		"plan": {
			plan, "plan -input=false -json -no-color -detailed-exitcode -out=@out@/tfplan -refresh-only -destroy -lock=false -var=a=b -var-file=x.tfvars",
			"plan.jsonl",
			[]string{"data"},
			true, true,
		},
		"plan that waits": {
			root.PlanStep(terraform.PlanOptions{LockTimeout: 5 * time.Minute}), "plan -input=false -json -no-color -detailed-exitcode -out=@out@/tfplan -lock-timeout=5m0s",
			"plan.jsonl",
			[]string{"data"},
			true, true,
		},
		"show":       {root.ShowStep(), "show -json -no-color @out@/tfplan", "show.json", []string{"data", "tfplan"}, true, false},
		"state pull": {root.StatePullStep(), "state pull", "state.json", []string{"data"}, true, false},
		"apply":      {root.ApplyStep(terraform.ApplyOptions{}), "apply -input=false -json -no-color @out@/tfplan", "apply.jsonl", []string{"data", "tfplan"}, true, true},
		"apply that waits": {
			root.ApplyStep(terraform.ApplyOptions{LockTimeout: time.Minute, Vars: []string{"a=b"}, VarFiles: []string{"x.tfvars"}}),
			"apply -input=false -json -no-color -lock-timeout=1m0s -var=a=b -var-file=@out@/x.tfvars @out@/tfplan", "apply.jsonl",
			[]string{"data", "tfplan", "x.tfvars"},
			true, true,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, "terraform "+tt.args, strings.Join(tt.step.Args, " "))
			require.Equal(t, tt.stdout, tt.step.Stdout)
			require.Equal(t, tt.inputs, tt.step.Inputs)
			require.Equal(t, tt.fresh, tt.step.NoCache, "what asks or changes the world is never cached")
			require.Equal(t, tt.careful, tt.step.InterruptOnly)
			require.Equal(t, tt.fresh && name != "show" && name != "init without a backend", strings.Contains(strings.Join(tt.step.PassEnv, " "), "AWS_*"), "credentials")
			require.Equal(t, []string{"terraform"}, tt.step.Include)
			require.Equal(t, "terraform:1.11", tt.step.Image)
			value, set := tt.step.Env["TF_CLI_ARGS"]
			require.Equal(t, slices.Contains([]string{"validate", "fmt", "show", "state pull"}, name), set && value == "", "what only reads has no options of a plan")
			require.Equal(t, "@out@/data", tt.step.Env["TF_DATA_DIR"], "nothing is left in the tree")
		})
	}
}

func TestProgram(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	require.Equal(t, "terraform", terraform.Program(), "there is none")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "terraform"), nil, 0o755))
	require.Equal(t, "terraform", terraform.Program())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "terraform-bin"), nil, 0o755))
	require.Equal(t, filepath.Join(dir, "terraform-bin"), terraform.Program(), "the one behind the wrapper")
	root := terraform.Root{Dir: "terraform", Program: terraform.Program()}
	require.Equal(t, filepath.Join(dir, "terraform-bin"), root.ShowStep().Args[0])
}

func TestJSONDocument(t *testing.T) {
	for _, output := range []string{"[command]/usr/bin/terraform-bin show\n{}\n", "{}\n::debug::Terraform exited with code 0.\n::debug::stderr: ", "::error::Terraform exited with code 1."} {
		require.True(t, terraform.IsWrapperOutput([]byte(output)), output)
	}
	require.False(t, terraform.IsWrapperOutput([]byte(`{"x":"\n[command]x ::debug::Terraform exited with code 0"}`)))
	for output, want := range map[string]string{
		"": "", "{}": "{}", "{}\n": "{}\n", "no JSON": "no JSON", "{": "{",
		"Switching to v1.11.4 {x}\n{broken\n{\n \"a\": 1\n}\nbye\n": "{\n \"a\": 1\n}",
	} {
		require.Equal(t, want, string(terraform.JSONDocument([]byte(output))))
	}
}

func TestReadMessages(t *testing.T) {
	stream := `{"@level":"info","@message":"Terraform 1.11.4","terraform":"1.11.4","type":"version"}
plain words in between
{"broken
{"no type":1}

{"@level":"error","@message":"Error: x","type":"diagnostic","diagnostic":{"severity":"error","summary":"x","detail":"a\n b","address":"a.b"}}
{"type":"diagnostic","diagnostic":{"severity":"error","summary":"Terraform encountered problems during initialisation, including"}}
{"type":"diagnostic","diagnostic":{"severity":"warning","summary":"w","range":{"filename":"main.tf","start":{"line":3,"column":4}}}}
{"type":"outputs","@message":"another shape","outputs":"none"}`
	messages, err := terraform.ReadMessages(strings.NewReader(stream))
	require.NoError(t, err)
	require.Len(t, messages, 5)
	require.Equal(t, "1.11.4", messages[0].Terraform)
	errs := terraform.Errors(messages)
	require.Len(t, errs, 1)
	require.Equal(t, "a.b: x: a b", errs[0].Line("terraform"))
	require.Equal(t, "terraform/main.tf:3: w", messages[3].Diagnostic.Line("terraform"))
	require.Equal(t, "another shape", messages[4].Text)

	_, err = terraform.ReadMessages(io.MultiReader(strings.NewReader("{}\n"), failing{}))
	require.ErrorIs(t, err, errFailing)
}

var errFailing = errors.New("failing")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errFailing }

func TestReadStream(t *testing.T) {
	dir := t.TempDir()
	messages, err := terraform.ReadStream(filepath.Join(dir, "nope"))
	require.NoError(t, err)
	require.Empty(t, messages)
	_, err = terraform.ReadStream(dir)
	require.ErrorContains(t, err, "reading Terraform's output")
	name := filepath.Join(dir, "said")
	require.NoError(t, os.WriteFile(name, []byte(`{"type":"version"}`), 0o644))
	messages, err = terraform.ReadStream(name)
	require.NoError(t, err)
	require.Len(t, messages, 1)
}

const lockInfo = "Error message: resource temporarily unavailable\nLock Info:\n  ID:        6dc086b4-5561-d072-d81c-1a99ad2b7163\n  Path:      bucket/key\n  Operation: OperationTypeApply\n  Who:       root@vm\n  Version:   1.11.4\n  Created:   2026-11-25 01:50:15.220791253 +0000 UTC\n  Info:      \n\n\nTerraform acquires a state lock to protect the state from being written\nby multiple users at the same time."

func TestParseLock(t *testing.T) {
	lock, ok := terraform.ParseLock(lockInfo)
	require.True(t, ok)
	require.Equal(t, terraform.Lock{
		ID: "6dc086b4-5561-d072-d81c-1a99ad2b7163", Path: "bucket/key", Operation: "apply", Who: "root@vm", Version: "1.11.4",
		Created: time.Date(2026, 11, 25, 1, 50, 15, 220791253, time.UTC),
	}, lock)
	for _, detail := range []string{"", "Error message: x", "Lock Info:\n  ID:        \n  Who:  a\n"} {
		_, ok := terraform.ParseLock(detail)
		require.False(t, ok, detail)
	}
	require.Equal(t, "the state is locked by another run (terraform run, lock 1): wait for it (slipway: --lock-timeout) or, if that run has certainly ended, run terraform force-unlock 1", terraform.Lock{ID: "1"}.String())
}

func TestExplain(t *testing.T) {
	at := &terraform.Range{Filename: "main.tf", Start: terraform.Position{Line: 3}}
	tests := map[string]struct {
		errs   []terraform.Diagnostic
		stderr string
		code   outcome.Code
		want   string
	}{
		"a lock": {
			errs: []terraform.Diagnostic{{Summary: "Error acquiring the state lock", Detail: lockInfo}}, code: outcome.Refused,
			want: "the state is locked by root@vm since 2026-11-25T01:50:15Z (terraform apply, lock 6dc086b4-5561-d072-d81c-1a99ad2b7163): wait for it",
		},
		"no permission to lock": {
			errs: []terraform.Diagnostic{{Summary: "Error acquiring the state lock", Detail: "Error message: AccessDenied: not you\n\nTerraform acquires a state lock to protect"}},
			code: outcome.Failed, want: "the state lock cannot be acquired: AccessDenied: not you",
		},
		"a table that is not there": {
			errs: []terraform.Diagnostic{{Summary: "Error acquiring the state lock", Detail: "Error message: operation error DynamoDB: PutItem, ResourceNotFoundException\nUnable to retrieve item from DynamoDB table \"locks\": operation error DynamoDB: GetItem, ResourceNotFoundException: no\n\nTerraform acquires a state lock"}},
			code: outcome.Usage, want: `the DynamoDB table "locks" for the state lock does not exist`,
		},
		"a lock with expired credentials": {
			errs: []terraform.Diagnostic{{Summary: "Error acquiring the state lock", Detail: "Error message: ExpiredToken: old"}},
			code: outcome.Usage, want: "the AWS credentials have expired",
		},
		"stale": {
			errs: []terraform.Diagnostic{{Summary: "Saved plan is stale", Detail: "The given plan file can no longer be applied"}}, code: outcome.Refused,
			want: "the state has changed since the plan was made: plan again",
		},
		"no credentials": {
			errs: []terraform.Diagnostic{{Summary: "No valid credential sources found", Detail: "Please see"}}, code: outcome.Usage,
			want: "no AWS credentials: set AWS_PROFILE",
		},
		"a bucket without a name": {
			errs: []terraform.Diagnostic{{Summary: "Error", Detail: "api error NoSuchBucket: no"}}, code: outcome.Usage, want: "the bucket for the state does not exist",
		},
		"the lock file of the providers": {
			errs: []terraform.Diagnostic{{Summary: "Provider dependency changes detected", Detail: "x"}}, code: outcome.Usage,
			want: "is missing or does not match the configuration: run terraform -chdir=terraform init -backend=false and commit .terraform.lock.hcl",
		},
		"a lock file of another platform": {
			errs: []terraform.Diagnostic{{Summary: "Failed to install provider", Detail: "Error while installing hashicorp/aws v5.100.0: the local package for registry.terraform.io/hashicorp/aws 5.100.0 doesn't match any of the checksums previously recorded in the dependency lock file (this might be because the available checksums are for packages targeting different platforms); for more information: https://developer.hashicorp.com/terraform/language/files/dependency-lock#checksum-verification"}},
			code: outcome.Usage,
			want: "terraform/.terraform.lock.hcl has no checksum of provider hashicorp/aws 5.100.0 for " + runtime.GOOS + "_" + runtime.GOARCH + ", perhaps because it was written on another platform: run terraform -chdir=terraform providers lock -platform=",
		},
		"the same, of what is installed": {
			errs: []terraform.Diagnostic{{Summary: "Required plugins are not installed", Detail: "The installed provider plugins are not consistent with the packages selected in the dependency lock file:\n  - registry.terraform.io/hashicorp/aws: the cached package for registry.terraform.io/hashicorp/aws 5.100.0 (in .terraform/providers) does not match any of the checksums recorded in the dependency lock file"}},
			code: outcome.Usage, want: "has no checksum of provider hashicorp/aws 5.100.0 for ",
		},
		"an option of another command": {
			stderr: "\x1b[31mError parsing command-line flags: flag provided but not defined: -chdir\x1b[0m\n", code: outcome.Usage,
			want: "TF_CLI_ARGS or TF_CLI_ARGS_COMMAND adds the option -chdir to a Terraform command that does not support it: unset it",
		},
		"an upgrade": {
			errs: []terraform.Diagnostic{{Summary: "The -upgrade flag conflicts with -lockfile=readonly."}}, code: outcome.Usage,
			want: "TF_CLI_ARGS_init has -upgrade, which the dependency lock file forbids: unset it; to upgrade, run terraform init -upgrade in terraform",
		},
		"an ephemeral variable": {
			errs: []terraform.Diagnostic{{Summary: "No value for required variable", Detail: "The ephemeral input variable \"token\" was set during the plan phase, and so must also be set during the apply phase."}},
			code: outcome.Usage, want: "variable token is ephemeral, so the plan does not contain its value: pass it to apply as well, with --var, --var-file or TF_VAR_token (in Dagger --vars)",
		},
		"a changed variable": {
			errs: []terraform.Diagnostic{{Summary: "Can't change variable when applying a saved plan", Detail: "The variable pw cannot be set using the -var and -var-file options when applying a saved plan file. The saved plan specifies \"hunter2\" as the value"}},
			code: outcome.Refused, want: "variable pw has changed since the plan was made: plan again",
		},
		"a log": {
			stderr: "2026-11-29T09:18:29.123Z [DEBUG] very: much\n{\"@level\":\"debug\"}\nError: oh no\n2026-11-29T09:18:29.123Z [TRACE] more\n", code: outcome.Failed,
			want: "terraform plan ended with exit code 7: Error: oh no",
		},
		"a provider": {
			errs: []terraform.Diagnostic{{Summary: "Failed to install provider", Detail: "Error while installing hashicorp/aws v5.100.0: checksum mismatch."}}, code: outcome.Usage,
			want: "provider hashicorp/aws v5.100.0 cannot be installed: checksum mismatch: check the network",
		},
		"a provider, with a hint about another command": {
			errs: []terraform.Diagnostic{{Summary: "Failed to query available provider packages", Detail: "Could not retrieve the list of available versions for provider hashicorp/aws: no such host\n\nTo see which modules are currently depending on hashicorp/aws and what versions are specified, run the following command:\n    terraform providers"}},
			code: outcome.Usage, want: "provider hashicorp/aws cannot be installed: no such host: check the network",
		},
		"a provider, because of Terraform's own configuration": {
			errs:   []terraform.Diagnostic{{Summary: "Failed to query available provider packages", Detail: "Could not retrieve the list of available versions for provider hashicorp/aws: no such host"}},
			stderr: "There are some problems with the CLI configuration:\n╷\n│ Error: Error parsing rc: At 2:2\n│\n╵\n\nAs a result of the above problems, Terraform may not behave as intended.\n",
			code:   outcome.Usage, want: "invalid Terraform CLI configuration (TF_CLI_CONFIG_FILE or ~/.terraformrc): Error: Error parsing rc: At 2:2",
		},
		"something else, in spite of Terraform's own configuration": {
			errs: []terraform.Diagnostic{{Summary: "Odd", Range: at}}, stderr: "There are some problems with the CLI configuration:\nError: x",
			code: outcome.Failed, want: "terraform plan: terraform/main.tf:3: Odd",
		},
		"no bucket is named": {
			errs: []terraform.Diagnostic{{Summary: "Missing Required Value", Detail: "The attribute \"bucket\" is required by the backend.\n\nRefer to the backend documentation for additional information which attributes are required.", Range: at}},
			code: outcome.Usage, want: "terraform/main.tf:3: the backend has no bucket: name one with --backend-config bucket=VALUE",
		},
		"a variable": {
			errs: []terraform.Diagnostic{{Summary: "Invalid value for variable", Detail: "no\ngood", Range: at}}, code: outcome.Usage,
			want: "terraform/main.tf:3: Invalid value for variable: no good",
		},
		"anything else": {
			errs: []terraform.Diagnostic{{Summary: "Odd", Range: at}, {Summary: "Odder"}}, code: outcome.Failed,
			want: "terraform plan: terraform/main.tf:3: Odd (and 1 more)",
		},
		"its own configuration": {
			stderr: "There are some problems with the CLI configuration:\n\x1b[31m╷\n│ Error: Error parsing rc: At 2:2\n╵\n", code: outcome.Usage,
			want: "invalid Terraform CLI configuration (TF_CLI_CONFIG_FILE or ~/.terraformrc): Error: Error parsing rc: At 2:2",
		},
		"output without messages": {stderr: "panic: oh\nno\n", code: outcome.Failed, want: "terraform plan ended with exit code 7: panic: oh no"},
		"an error without a stream": {
			stderr: "\x1b[31m╷\x1b[0m\n│ Error: Failed to load state: api error ExpiredToken: old\n╵\n", code: outcome.Usage, want: "the AWS credentials have expired",
		},
		"a lock without a stream": {stderr: "Error: Error acquiring the state lock\n\n" + lockInfo, code: outcome.Refused, want: "the state is locked by root@vm since"},
		"a file of variables": {
			errs: []terraform.Diagnostic{{Summary: "Odd", Range: &terraform.Range{Filename: "a.tfvars"}}}, code: outcome.Usage, want: "terraform plan: terraform/a.tfvars:0: Odd",
		},
		"no output": {code: outcome.Failed, want: "terraform plan ended with exit code 7: no error output"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := terraform.Explain("plan", "terraform", tt.errs, 7, tt.stderr)
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, tt.code, outcome.Of(err))
			require.NotContains(t, err.Error(), "\n")
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func TestIsSourceError(t *testing.T) {
	placed := []terraform.Diagnostic{{Summary: "Odd", Range: &terraform.Range{Filename: "main.tf"}}}
	require.True(t, terraform.IsSourceError("init", placed))
	require.False(t, terraform.IsSourceError("plan", placed), "it may be what AWS says")
	placed[0].Summary = "Unsupported Terraform Core version"
	require.False(t, terraform.IsSourceError("init", placed))
	require.False(t, terraform.IsSourceError("init", []terraform.Diagnostic{{Summary: "Odd"}}))
	require.False(t, terraform.IsSourceError("init", nil))
}

func TestProgress(t *testing.T) {
	var out bytes.Buffer
	p := &terraform.Progress{W: &out}
	for _, part := range []string{
		`{"type":"apply_start","@message":"a: Crea`, `ting..."}` + "\n" + `{"type":"provision_progress","@message":"may be anything"}` + "\n",
		`{"type":"test_run","@message":"  \"a\"... in progress","test_run":{"path":"t","run":"a","progress":"running"}}` + "\n",
		`{"type":"test_run","@message":"  \"a\"... pass","test_run":{"path":"t","run":"a","progress":"complete","status":"pass"}}` + "\n",
		`{"type":"test_run","@message":"  \"b\"... fail","test_run":{"path":"tests/t.tftest.hcl","run":"b","progress":"complete","status":"fail"}}` + "\n",
		`{"type":"test_run","@message":"  \"c\"... error","test_run":{"path":"tests/t.tftest.hcl","run":"c","progress":"complete","status":"error"}}` + "\n",
		`{"type":"test_run","@message":"nothing of a run"}` + "\n",
		`{"type":"test_summary","@message":"Failure! 1 passed, 2 failed."}` + "\n",
		`{"format_version":"1.2","variables":{}}` + "\n", `{"type":"apply_complete","@message":"` + strings.Repeat("x", 2<<20) + `"}` + "\n",
		"words\n" + `{"type":"apply_complete","@message":"a: done"}` + "\n", `{"type":"apply_complete","@message":"cut off"}`,
	} {
		n, err := p.Write([]byte(part))
		require.NoError(t, err)
		require.Equal(t, len(part), n)
	}
	require.Equal(t, `a: Creating...
tests/t.tftest.hcl: run "b": fail
tests/t.tftest.hcl: run "c": error
Failure! 1 passed, 2 failed.
a: done
`, out.String(), "of tests, what failed and the count")
}

// TestLogFilter checks that what a container logs of a step has no values.
func TestLogFilter(t *testing.T) {
	const planted = "hunter2"
	line := func(message, rest string) string {
		return `{"@level":"info","@message":"` + message + `","@module":"terraform.ui","@timestamp":"2026-11-29T13:24:14Z",` + rest + "}\n"
	}
	stream := line("Initializing provider plugins...", `"message_code":"x","type":"init_output"`) +
		line("Downloading git::https://hunter2@example.com/m.git for m...", `"type":"init_output"`) +
		line(`a.b[\"k\"]: Creating...`, `"hook":{"action":"create"},"type":"apply_start"`) +
		line("a.b: Creation complete after 1s [id=hunter2]", `"hook":{"id_key":"id","id_value":"hunter2"},"type":"apply_complete"`) +
		line("a.b: (local-exec): hunter2", `"hook":{"output":"hunter2"},"type":"provision_progress"`) +
		line("Outputs: 1", `"outputs":{"pw":{"sensitive":false,"type":"apply_start","value":"hunter2"}},"type":"outputs"`) +
		line(`hunter2 \"type\":\"apply_start\"}`, `"type":"diagnostic"`) +
		line(`  \"run\"... pass`, `"test_run":{"path":"t","run":"run"},"type":"test_run"`) +
		`{"format_version":"1.2","planned_values":{"type":"apply_start"},"pw":"hunter2"}` + "\n"
	root := terraform.Root{Dir: "terraform"}
	for name, want := range map[string]string{
		root.ApplyStep(terraform.ApplyOptions{}).LogFilter: "Initializing provider plugins...\n" + `a.b["k"]: Creating...` + "\na.b: Creation complete after 1s\n" + `  "run"... pass` + "\n",
		root.ShowStep().LogFilter:                          "", root.StatePullStep().LogFilter: "",
	} {
		sed := exec.CommandContext(t.Context(), "sed", "-nE", name)
		sed.Stdin = strings.NewReader(stream)
		logged, err := sed.Output()
		require.NoError(t, err)
		require.Equal(t, want, string(logged))
		require.NotContains(t, string(logged), planted)
	}
}

// FuzzExplain reads streams of any content: nothing panics, and the explanation is
// one line.
func FuzzExplain(f *testing.F) {
	f.Add(`{"type":"diagnostic","diagnostic":{"severity":"error","summary":"Error acquiring the state lock","detail":"Lock Info:\n  ID: 1\n"}}`, "")
	f.Add(`{"type":"diagnostic","diagnostic":{"severity":"error","summary":"a","range":{"filename":"x","start":{"line":1}}}}`, "There are some problems with the CLI configuration:\nError: x")
	f.Fuzz(func(t *testing.T, stream, stderr string) {
		messages, err := terraform.ReadMessages(strings.NewReader(stream))
		require.NoError(t, err)
		said := terraform.Explain("plan", "dir", terraform.Errors(messages), 1, stderr)
		require.Error(t, said)
		require.NotContains(t, said.Error(), "\n")
		p := &terraform.Progress{W: io.Discard}
		_, err = p.Write([]byte(stream))
		require.NoError(t, err)
	})
}
