// Package terraform is what the pipeline knows of the tool: its invocations as
// steps, its machine-readable words, and what they mean to a human.
//
// Every step keeps Terraform's data in the output directory, never in the
// source tree, so that a run leaves nothing behind and starts from nothing.
package terraform

import (
	"cmp"
	"path"
	"slices"
	"time"

	"dagger/slipway/internal/exec/step"
)

// What the steps leave in the output directory.
const (
	DataDir  = "data"      // TF_DATA_DIR: providers, modules, the backend's settings
	PlanFile = "tfplan"    // the saved plan
	ShowFile = "show.json" // the plan as JSON: it has secrets in clear
	// LostState is where Terraform leaves, beside the configuration, a state that
	// the backend does not take.
	LostState = "errored.tfstate"
	PullFile  = "state.json" // the state: it has secrets in clear, too
)

// StreamFile is where the invocation of a command keeps its words.
func StreamFile(command string) string { return command + ".jsonl" }

// Root is a root module: a folder that Terraform runs in.
type Root struct {
	// Dir is its folder, slash-separated and relative to the source tree.
	Dir string
	// Image is the container image that has Terraform.
	Image string
	// Program is the Terraform to run; empty means the one on PATH.
	Program string
	// Include lists the parts of the source tree that Terraform reads; empty
	// means Dir alone.
	Include []string
}

// Backend says where the state is, as far as the configuration leaves it open.
type Backend struct {
	// Config are the values of -backend-config: KEY=VALUE, or a file.
	Config []string
}

// PlanOptions say what to plan.
type PlanOptions struct {
	// Vars are the values of -var; VarFiles are those of -var-file.
	Vars, VarFiles []string
	// RefreshOnly plans no change of the platform and takes over into the
	// state what others have changed.
	RefreshOnly bool
	// Destroy plans the end of the platform.
	Destroy bool
	// NoLock reads the state without locking it, as a role must that may only
	// read. Another run may change it meanwhile; the plan is refused then.
	NoLock bool
	// LockTimeout is how long to wait for somebody else's lock; 0 is not at all.
	LockTimeout time.Duration
}

// InitStep installs providers and modules and connects to the backend. The
// lock file of the providers is obeyed, never written.
func (r Root) InitStep(b Backend) step.Step {
	args := []string{"init", "-input=false", "-json", "-no-color", "-lockfile=readonly"}
	for _, config := range b.Config {
		args = append(args, "-backend-config="+config)
	}
	s := r.step("init", args...)
	s.Fresh = true
	s.Pass = append(s.Pass, "AWS_*")
	return s
}

// OfflineInitStep installs providers and modules and asks no backend.
func (r Root) OfflineInitStep() step.Step {
	s := r.step("init", "init", "-input=false", "-json", "-no-color", "-lockfile=readonly", "-backend=false")
	s.Fresh = true // what an init left leads to the cache of providers, which may be gone
	return s
}

// ValidateStep checks the configuration in itself.
func (r Root) ValidateStep() step.Step {
	return r.inited(plainly(r.step("validate", "validate", "-json", "-no-color")))
}

// FormatStep tells which files are not formatted, and how they would be.
func (r Root) FormatStep() step.Step {
	return plainly(r.step("fmt", "fmt", "-check", "-diff", "-recursive", "-no-color"))
}

// TestStep runs the tests beside the configuration.
func (r Root) TestStep() step.Step {
	return r.inited(r.step("test", "test", "-json", "-no-color"))
}

// PlanStep saves a plan. Its exit code is 0 for no change, 2 for changes.
func (r Root) PlanStep(o PlanOptions) step.Step {
	args := []string{"plan", "-input=false", "-json", "-no-color", "-detailed-exitcode", "-out=" + step.Out + "/" + PlanFile}
	if o.RefreshOnly {
		args = append(args, "-refresh-only")
	}
	if o.Destroy {
		args = append(args, "-destroy")
	}
	args = append(args, locking(o.NoLock, o.LockTimeout)...)
	for _, value := range o.Vars {
		args = append(args, "-var="+value)
	}
	for _, file := range o.VarFiles {
		args = append(args, "-var-file="+file)
	}
	return r.live(r.step("plan", args...))
}

// ShowStep writes the saved plan as JSON. It needs no credentials.
func (r Root) ShowStep() step.Step {
	s := r.inited(plainly(r.step("show", "show", "-json", "-no-color", step.Out+"/"+PlanFile)))
	s.Inputs = append(s.Inputs, PlanFile)
	s.Stdout, s.Fresh = ShowFile, true
	return s
}

// PullStep reads the state as it is now.
func (r Root) PullStep() step.Step {
	s := r.live(plainly(r.step("state pull", "state", "pull")))
	s.Stdout, s.Careful = PullFile, false
	return s
}

// ApplyOptions say how to apply a saved plan.
type ApplyOptions struct {
	LockTimeout time.Duration
	// Vars are ephemeral variables, NAME=VALUE, and VarFiles files in the output
	// directory that set some: a plan has all others in itself.
	Vars, VarFiles []string
}

// ApplyStep applies the saved plan and nothing else, under the state's lock.
func (r Root) ApplyStep(o ApplyOptions) step.Step {
	args := append([]string{"apply", "-input=false", "-json", "-no-color"}, locking(false, o.LockTimeout)...)
	for _, value := range o.Vars {
		args = append(args, "-var="+value)
	}
	for _, file := range o.VarFiles {
		args = append(args, "-var-file="+step.Out+"/"+file)
	}
	s := r.live(r.step("apply", append(args, step.Out+"/"+PlanFile)...))
	s.Inputs = append(append(s.Inputs, PlanFile), o.VarFiles...)
	s.Leaves = []string{LostState}
	return s
}

// plainly takes s what the environment adds to every command: an option of plan,
// such as -target, is none of those that only read. What such a command writes is no
// stream of events, and a plan or a state has secrets.
func plainly(s step.Step) step.Step {
	s.Env["TF_CLI_ARGS"], s.Tell = "", ""
	return s
}

func locking(none bool, timeout time.Duration) []string {
	switch {
	case none:
		return []string{"-lock=false"}
	case timeout > 0:
		return []string{"-lock-timeout=" + timeout.String()}
	}
	return nil
}

// step is an invocation of Terraform in the root.
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
			"TF_IN_AUTOMATION":   "1", // no advice to run what the pipeline runs
			"TF_INPUT":           "0",
			"CHECKPOINT_DISABLE": "1", // no question to HashiCorp about newer versions
		},
		Stdout:  StreamFile(args[0]),
		Tell:    tell,
		Caches:  []step.Cache{{Name: "terraform", Path: "/root/.terraform.d/plugin-cache", Variable: "TF_PLUGIN_CACHE_DIR"}},
		Include: slices.Clone(include),
		Pass:    []string{"TF_VAR_*", "TF_WORKSPACE", "TF_CLI_CONFIG_FILE", "TF_TOKEN_*"},
	}
}

// inited makes s one that needs what init left.
func (Root) inited(s step.Step) step.Step {
	s.Inputs = append(s.Inputs, DataDir)
	return s
}

// live makes s one that talks to the backend and to AWS.
func (r Root) live(s step.Step) step.Step {
	s = r.inited(s)
	s.Fresh, s.Careful = true, true
	s.Pass = append(s.Pass, "AWS_*")
	return s
}
