// Package terraform runs Terraform: its commands as steps, its machine-readable
// messages, and explanations of its errors.
//
// Every step keeps Terraform's data in the output directory, not in the source
// tree, so that runs are independent of each other.
package terraform

import (
	"cmp"
	"path"
	"slices"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/exec/step"
)

// Files in the output directory.
const (
	DataDir  = "data"      // TF_DATA_DIR: providers, modules, the backend's settings
	PlanFile = "tfplan"    // the saved plan
	ShowFile = "show.json" // the plan as JSON, with secrets in clear text
	// ErroredState is the file to which Terraform writes, next to the
	// configuration, a state that the backend does not accept.
	ErroredState = "errored.tfstate"
	StateFile    = "state.json" // the state, with secrets in clear text
)

// StreamFile returns the file name for the messages of a command.
func StreamFile(command string) string { return command + ".jsonl" }

// Root is a root module.
type Root struct {
	// Dir is its folder, slash-separated and relative to the source tree.
	Dir string
	// Image is the container image with Terraform.
	Image string
	// Program is the Terraform executable; if empty, that on PATH.
	Program string
	// Include lists the parts of the source tree that Terraform reads; if empty,
	// only Dir.
	Include []string
}

// Backend has the backend settings that the configuration leaves open.
type Backend struct {
	// Config are the values of -backend-config: KEY=VALUE, or a file.
	Config []string
}

// PlanOptions specify what to plan.
type PlanOptions struct {
	// Vars are the values of -var; VarFiles are those of -var-file.
	Vars, VarFiles []string
	// RefreshOnly plans to update the state with changes that were made outside of
	// Terraform, and nothing else.
	RefreshOnly bool
	// Destroy plans to destroy everything.
	Destroy bool
	// NoLock reads the state without locking it, for a role with read access only.
	// If another run changes the state meanwhile, the plan is refused.
	NoLock bool
	// LockTimeout is how long to wait for a lock that another run holds; 0 does not
	// wait.
	LockTimeout time.Duration
}

// InitStep installs providers and modules and connects to the backend. It never
// changes the dependency lock file.
func (r Root) InitStep(b Backend) step.Step {
	args := []string{"init", "-input=false", "-json", "-no-color", "-lockfile=readonly"}
	for _, config := range b.Config {
		args = append(args, "-backend-config="+config)
	}
	s := r.step("init", args...)
	s.NoCache = true
	s.PassEnv = append(s.PassEnv, "AWS_*")
	return s
}

// OfflineInitStep installs providers and modules without a backend.
func (r Root) OfflineInitStep() step.Step {
	s := r.step("init", "init", "-input=false", "-json", "-no-color", "-lockfile=readonly", "-backend=false")
	s.NoCache = true // the result links to the provider cache, which may be gone
	return s
}

// ValidateStep validates the configuration.
func (r Root) ValidateStep() step.Step {
	return r.afterInit(withoutCLIArgs(r.step("validate", "validate", "-json", "-no-color")))
}

// FormatStep prints the differences of unformatted files.
func (r Root) FormatStep() step.Step {
	return withoutCLIArgs(r.step("fmt", "fmt", "-check", "-diff", "-recursive", "-no-color"))
}

// TestStep runs the module's tests.
func (r Root) TestStep() step.Step {
	return r.afterInit(r.step("test", "test", "-json", "-no-color"))
}

// PlanStep saves a plan. Its exit code is 0 without changes and 2 with changes.
func (r Root) PlanStep(o PlanOptions) step.Step {
	args := []string{"plan", "-input=false", "-json", "-no-color", "-detailed-exitcode", "-out=" + step.Out + "/" + PlanFile}
	if o.RefreshOnly {
		args = append(args, "-refresh-only")
	}
	if o.Destroy {
		args = append(args, "-destroy")
	}
	args = append(args, lockArgs(o.NoLock, o.LockTimeout)...)
	for _, value := range o.Vars {
		args = append(args, "-var="+value)
	}
	for _, file := range o.VarFiles {
		args = append(args, "-var-file="+file)
	}
	return r.withBackend(r.step("plan", args...))
}

// ShowStep writes the saved plan as JSON. It needs no credentials.
func (r Root) ShowStep() step.Step {
	s := r.afterInit(withoutCLIArgs(r.step("show", "show", "-json", "-no-color", step.Out+"/"+PlanFile)))
	s.Inputs = append(s.Inputs, PlanFile)
	s.Stdout, s.NoCache = ShowFile, true
	return s
}

// StatePullStep reads the current state.
func (r Root) StatePullStep() step.Step {
	s := r.withBackend(withoutCLIArgs(r.step("state pull", "state", "pull")))
	s.Stdout, s.InterruptOnly = StateFile, false
	return s
}

// ApplyOptions specify how to apply a saved plan.
type ApplyOptions struct {
	LockTimeout time.Duration
	// Vars are ephemeral variables, NAME=VALUE, and VarFiles files in the output
	// directory that set some: the plan contains all others.
	Vars, VarFiles []string
}

// ApplyStep applies exactly the saved plan, under the state's lock.
func (r Root) ApplyStep(o ApplyOptions) step.Step {
	args := append([]string{"apply", "-input=false", "-json", "-no-color"}, lockArgs(false, o.LockTimeout)...)
	for _, value := range o.Vars {
		args = append(args, "-var="+value)
	}
	for _, file := range o.VarFiles {
		args = append(args, "-var-file="+step.Out+"/"+file)
	}
	s := r.withBackend(r.step("apply", append(args, step.Out+"/"+PlanFile)...))
	s.Inputs = append(append(s.Inputs, PlanFile), o.VarFiles...)
	s.FailureFiles = []string{ErroredState}
	return s
}

// withoutCLIArgs removes options that the environment adds to every command:
// read-only commands do not accept those of plan, such as -target. Their output is not
// logged: a plan or a state has secrets.
func withoutCLIArgs(s step.Step) step.Step {
	s.Env["TF_CLI_ARGS"], s.LogFilter = "", ""
	return s
}

func lockArgs(none bool, timeout time.Duration) []string {
	switch {
	case none:
		return []string{"-lock=false"}
	case timeout > 0:
		return []string{"-lock-timeout=" + timeout.String()}
	}
	return nil
}

// step returns a step that runs Terraform in the root module.
func (r Root) step(name string, args ...string) step.Step {
	include := r.Include
	if len(include) == 0 {
		include = []string{path.Clean(r.Dir)}
	}
	return step.Step{
		Name:  "terraform " + name + " in " + r.Dir,
		Image: r.Image,
		Dir:   r.Dir,
		Args:  append([]string{cmp.Or(r.Program, program)}, args...),
		Env: map[string]string{
			"TF_DATA_DIR":        step.Out + "/" + DataDir,
			"TF_IN_AUTOMATION":   "1", // no hints about next commands
			"TF_INPUT":           "0",
			"CHECKPOINT_DISABLE": "1", // no check for new versions
		},
		Stdout:    StreamFile(args[0]),
		LogFilter: logFilter,
		Caches:    []step.Cache{{Name: "terraform", Path: "/root/.terraform.d/plugin-cache", Variable: "TF_PLUGIN_CACHE_DIR"}},
		Include:   slices.Clone(include),
		PassEnv:   []string{"TF_VAR_*", "TF_WORKSPACE", "TF_CLI_CONFIG_FILE", "TF_TOKEN_*"},
	}
}

// afterInit adds the outputs of init as inputs.
func (Root) afterInit(s step.Step) step.Step {
	s.Inputs = append(s.Inputs, DataDir)
	return s
}

// withBackend adds access to the backend and to AWS.
func (r Root) withBackend(s step.Step) step.Step {
	s = r.afterInit(s)
	s.NoCache, s.InterruptOnly = true, true
	s.PassEnv = append(s.PassEnv, "AWS_*")
	return s
}
