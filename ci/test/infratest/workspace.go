// Package infratest runs the repository's Terraform for tests: on a copy of the
// configuration, without an account or with moto, an emulator of AWS. Tests that need a
// missing tool are skipped, with how to install it.
package infratest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/sourcetest"

	tfjson "github.com/hashicorp/terraform-json"
	"github.com/stretchr/testify/require"
)

// A command of Terraform has no time limit of its own, because machines differ: it is interrupted
// stopTime before that of the tests (go test -timeout), and killed after killDelay.
const (
	stopTime  = 30 * time.Second
	killDelay = 20 * time.Second
)

// Account is the AWS account of all plans. It is moto's.
const Account = "123456789012"

// Workspace is a copy of one of the configurations below terraform/.
type Workspace struct {
	// Dir is the copy's folder.
	Dir string
	t   testing.TB
	env []string
	// attached says that a program of the provider is the workspace's. It is that of one command at a time.
	attached bool
}

// New copies terraform/ and returns the workspace of a configuration in it: "." is the
// platform, "bootstrap" its prerequisites. environment is added to this process's. The
// test is skipped if Terraform is not installed.
func New(t testing.TB, configuration string, environment ...string) *Workspace {
	t.Helper()
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Skip("terraform is not installed: get 1.11 or later from https://developer.hashicorp.com/terraform/install")
	}
	joinPrograms(t)
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, Source()))
	// Each command decodes the provider's schemas. A fifth of that is garbage collection.
	return &Workspace{
		Dir: filepath.Join(dir, configuration), t: t,
		env: append(append(os.Environ(), "TF_IN_AUTOMATION=1", "TF_INPUT=0", "CHECKPOINT_DISABLE=1", "GOGC=1000"), environment...),
	}
}

// NewFromSource returns a workspace with the given configuration instead of the
// repository's.
func NewFromSource(t testing.TB, configuration string, environment ...string) *Workspace {
	t.Helper()
	w := New(t, ".", environment...)
	w.Dir = t.TempDir()
	w.Write("main.tf", configuration)
	return w
}

// Source returns the repository's terraform/, without Terraform's own files.
func Source() fs.FS { return sourceFS{os.DirFS(terraformDir())} }

// terraformDir returns the path of the repository's terraform/.
func terraformDir() string { return sourcetest.Repository("terraform") }

// ForSubtest returns the same workspace for a subtest, which reports its failures.
func (w *Workspace) ForSubtest(t testing.TB) *Workspace {
	same := *w
	same.t = t
	return &same
}

// offlineProvider lets the provider plan without calling AWS, and keeps the state in the
// workspace.
const offlineProvider = `provider "aws" {
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
  allowed_account_ids         = null
}

terraform {
  backend "local" {}
}
`

// Offline makes the workspace plan without AWS. Data sources still call it, and fail.
func (w *Workspace) Offline() {
	w.t.Helper()
	w.Write("offline_override.tf", offlineProvider)
}

// Write adds a file to the workspace, such as an override.
func (w *Workspace) Write(name, content string) {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile(filepath.Join(w.Dir, name), []byte(content), 0o644))
}

// Install initialises the workspace with a provider of its own. The test is skipped if that
// cannot be installed: without a network or a mirror in TF_CLI_CONFIG_FILE.
func (w *Workspace) Install(arguments ...string) {
	w.t.Helper()
	_, stderr, err := w.try(append([]string{"init"}, arguments...)...)
	for _, absent := range []string{"Failed to query available provider packages", "Failed to install provider"} {
		if strings.Contains(stderr, absent) {
			w.t.Skipf("cannot install the AWS provider: set TF_CLI_CONFIG_FILE to the configuration of a mirror, or connect to the registry:\n%s", stderr)
		}
	}
	require.NoError(w.t, err, stderr)
}

// Init initialises the workspace with the provider that all have in common. The test is
// skipped as by [Workspace.Install].
func (w *Workspace) Init(arguments ...string) {
	w.t.Helper()
	w.attach()
	w.Run(append([]string{"init"}, arguments...)...)
}

// Environment returns the environment of Terraform in the workspace.
func (w *Workspace) Environment() map[string]string {
	environment := map[string]string{}
	for _, entry := range w.env {
		name, value, _ := strings.Cut(entry, "=")
		environment[name] = value
	}
	return environment
}

// Run runs Terraform and returns its standard output. If it fails, the test fails with
// its output.
func (w *Workspace) Run(arguments ...string) string {
	w.t.Helper()
	stdout, stderr, err := w.try(arguments...)
	require.NoError(w.t, err, "terraform %s\n%s%s", strings.Join(arguments, " "), stdout, stderr)
	return stdout
}

// Fail runs Terraform, requires it to fail, and returns its output.
func (w *Workspace) Fail(arguments ...string) string {
	w.t.Helper()
	stdout, stderr, err := w.try(arguments...)
	var exit *exec.ExitError
	require.ErrorAs(w.t, err, &exit, "terraform %s must fail:\n%s", strings.Join(arguments, " "), stdout)
	return stdout + stderr
}

// Plan writes a plan to the workspace's file "plan" and returns it.
func (w *Workspace) Plan(arguments ...string) *tfjson.Plan {
	w.t.Helper()
	w.Run(append([]string{"plan", "-out=plan"}, arguments...)...)
	plan := &tfjson.Plan{}
	require.NoError(w.t, json.Unmarshal([]byte(w.Run("show", "-json", "plan")), plan))
	return plan
}

// Console decodes the value of an expression into value.
func (w *Workspace) Console(expression string, value any) {
	w.t.Helper()
	command := exec.CommandContext(w.t.Context(), "terraform", "console")
	command.Dir, command.Env, command.Stdin = w.Dir, w.env, strings.NewReader("jsonencode("+expression+")\n")
	output, err := command.Output()
	require.NoError(w.t, err, "%s", output)
	var quoted string
	require.NoError(w.t, json.Unmarshal(output, &quoted), "%s", output)
	require.NoError(w.t, json.Unmarshal([]byte(quoted), value))
}

// State returns the current state, with all resources in the root module. terraform show
// would decode the provider's schemas first, which takes seconds of CPU time.
func (w *Workspace) State() *tfjson.State {
	w.t.Helper()
	var file struct {
		Outputs   map[string]*tfjson.StateOutput
		Resources []struct {
			Module, Mode, Type, Name string
			Instances                []struct {
				Index      any `json:"index_key"`
				Attributes map[string]any
			}
		}
	}
	require.NoError(w.t, json.Unmarshal([]byte(w.Run("state", "pull")), &file))
	values := &tfjson.StateValues{Outputs: map[string]*tfjson.StateOutput{}, RootModule: &tfjson.StateModule{}}
	for name, output := range file.Outputs {
		values.Outputs[name] = &tfjson.StateOutput{Value: output.Value}
	}
	for _, r := range file.Resources {
		address := strings.TrimPrefix(r.Module+"."+r.Type+"."+r.Name, ".")
		for _, instance := range r.Instances {
			resource := &tfjson.StateResource{
				Address: address, Mode: tfjson.ResourceMode(r.Mode), Type: r.Type, Name: r.Name, Index: instance.Index, AttributeValues: instance.Attributes,
			}
			if instance.Index != nil {
				index, err := json.Marshal(instance.Index)
				require.NoError(w.t, err)
				resource.Address += "[" + string(index) + "]"
			}
			values.RootModule.Resources = append(values.RootModule.Resources, resource)
		}
	}
	return &tfjson.State{Values: values}
}

func (w *Workspace) try(arguments ...string) (stdout, stderr string, err error) {
	ctx := w.t.Context()
	if test, ok := w.t.(interface{ Deadline() (time.Time, bool) }); ok {
		if deadline, limited := test.Deadline(); limited {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadlineCause(ctx, deadline.Add(-stopTime), errors.New("interrupted by the time limit of the tests (go test -timeout)"))
			defer cancel()
		}
	}
	var out, errOut bytes.Buffer
	if arguments[0] != "state" { // it has subcommands, and no colours
		arguments = slices.Insert(slices.Clone(arguments), 1, "-no-color")
	}
	command := exec.CommandContext(ctx, "terraform", arguments...)
	command.Dir, command.Env, command.Stdout, command.Stderr = w.Dir, w.env, &out, &errOut
	// On an interrupt, Terraform stops its providers and unlocks the state.
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = killDelay
	err = command.Run()
	if ctx.Err() != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	return out.String(), errOut.String(), err
}
