// Package infra changes the platform with Terraform, in two steps that cannot
// drift apart: a plan is saved, summarised and bound to what it was made from;
// apply applies exactly that plan, or refuses.
package infra

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"dagger/slipway/internal/config/source"
	"dagger/slipway/internal/exec/step"
	"dagger/slipway/internal/infra/terraform"
	"dagger/slipway/internal/report/outcome"
)

// DefaultDir is the platform's root module in the source tree.
const DefaultDir = "terraform"

// Identity tells whose account the credentials lead to. Plan and apply ask it
// only where the state or a provider is AWS's.
type Identity interface {
	Identity(ctx context.Context) (account, region string, err error)
}

// Stage runs Terraform on one source tree.
type Stage struct {
	// Tree is the source tree.
	Tree source.Tree
	// Exec runs Terraform: on this machine, or in containers.
	Exec step.Executor
	// Dir is the root module's folder, slash-separated and relative to the
	// tree; empty means [DefaultDir].
	Dir string
	// Image is the container image that has Terraform.
	Image string
	// Program is the Terraform of this machine; empty means the one on PATH.
	Program string
	// Backend says where the state is, as far as the configuration does not.
	Backend terraform.Backend
	// Identity asks AWS; nil leaves the account unknown.
	Identity Identity
	// Environ is the environment that Terraform finds its variables in; nil
	// means this process's.
	Environ []string
	// Now is the clock that stamps plans; nil means the computer's.
	Now func() time.Time
}

func (s Stage) dir() string { return cmp.Or(s.Dir, DefaultDir) }

func (s Stage) root() terraform.Root {
	return terraform.Root{Dir: s.dir(), Image: s.Image, Program: s.Program, Include: s.include()}
}

// folder is the root module's folder on this machine.
func (s Stage) folder() string { return filepath.Join(s.Tree.Dir, filepath.FromSlash(s.dir())) }

func (s Stage) environ() []string {
	if s.Environ != nil {
		return s.Environ
	}
	return os.Environ()
}

func (s Stage) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// checkConfiguration tells whether there is anything for Terraform to read.
func (s Stage) checkConfiguration() error {
	found, err := filepath.Glob(filepath.Join(s.folder(), "*.tf"))
	if err != nil {
		return outcome.Usagef("folder %q: %w", s.dir(), err)
	}
	inJSON, _ := filepath.Glob(filepath.Join(s.folder(), "*.tf.json")) // the pattern is good, as was the one above
	if len(found)+len(inJSON) == 0 {
		return outcome.Usagef("%s has no Terraform configuration: name the folder that has with --dir", s.dir())
	}
	return nil
}

// workDir is a run's own directory: what Terraform leaves there, secrets
// included, is gone when the run is over.
type workDir struct {
	exec step.Executor
	dir  string // of the steps' outputs
	root string // the root module's folder, for messages
	keep bool   // it has what is nowhere else
}

// newWorkDir makes the directory of a run. The caller ends it.
func (s Stage) newWorkDir() (*workDir, error) {
	dir, err := os.MkdirTemp("", "slipway-terraform-") // for this user alone
	if err != nil {
		return nil, fmt.Errorf("making room for Terraform: %w", err)
	}
	return &workDir{exec: s.Exec, dir: dir, root: s.dir()}, nil
}

// close removes the directory.
func (w *workDir) close() {
	if !w.keep {
		_ = os.RemoveAll(w.dir) // what is left goes with the machine's temporary files
	}
}

func (w *workDir) file(name string) string { return filepath.Join(w.dir, name) }

// output are what an invocation said.
type output struct {
	command  string
	messages []terraform.Message
	result   step.Result
}

// run runs a step and reads what it said. The error is about the invocation
// itself, and about a cancelled one, whose words are there all the same.
func (w *workDir) run(ctx context.Context, s step.Step) (output, error) {
	out := output{command: s.Args[1]}
	result, err := w.exec.Run(ctx, s, w.dir)
	out.result = result
	if errors.Is(err, exec.ErrNotFound) {
		return out, outcome.Usagef("%s (%w)", terraform.NotInstalledHint, exec.ErrNotFound)
	}
	if output, err := os.ReadFile(w.file(s.Stdout)); err == nil && terraform.IsWrapperOutput(output) {
		return out, outcome.Usagef(terraform.WrapperHint)
	}
	messages, readErr := terraform.ReadStream(w.file(s.Stdout))
	out.messages = messages
	if err != nil {
		return out, err
	}
	return out, readErr
}

// mustRun is run for a step that has to end with one of the codes.
func (w *workDir) mustRun(ctx context.Context, s step.Step, codes ...int) (output, error) {
	out, err := w.run(ctx, s)
	if err != nil {
		return out, err
	}
	for _, code := range append(codes, 0) {
		if out.result.ExitCode == code {
			return out, nil
		}
	}
	return out, out.failure(w.root)
}

// failure explains why an invocation failed.
func (o output) failure(root string) error {
	return terraform.Explain(o.command, root, terraform.Errors(o.messages), o.result.ExitCode, o.result.Stderr)
}

// version is the version of the Terraform that spoke; "" if it did not say.
func (o output) version() string {
	for _, m := range o.messages {
		if m.Terraform != "" {
			return m.Terraform
		}
	}
	return ""
}
