// Package infra changes the infrastructure with Terraform in two steps: plan saves
// a plan, summarises it and binds it to its inputs; apply applies exactly that
// plan, or refuses.
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

	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/infra/terraform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// DefaultDir is the root module's folder in the source tree.
const DefaultDir = "terraform"

// Identity finds the account of the credentials. Plan and apply call it only if the
// backend or a provider is AWS's.
type Identity interface {
	Identity(ctx context.Context) (account, region string, err error)
}

// Stage runs Terraform on one source tree.
type Stage struct {
	// Tree is the source tree.
	Tree source.Tree
	// Exec runs Terraform, on this machine or in containers.
	Exec step.Executor
	// Dir is the root module's folder, slash-separated and relative to the tree; if
	// empty, [DefaultDir].
	Dir string
	// Environment is the name of the environment that plans are bound to, or empty.
	Environment string
	// Image is the container image that has Terraform.
	Image string
	// Program is the local Terraform executable; if empty, that on PATH.
	Program string
	// Backend has the backend settings that the configuration leaves open.
	Backend terraform.Backend
	// Identity finds the AWS account; if nil, the account is unknown.
	Identity Identity
	// Shifts returns the ARNs of what ECS shifts the traffic of services with, and the name
	// of the service of each. It is called with the ARNs of services, and only if a plan
	// destroys a target group or listener rule; if nil, such a plan is not guarded.
	Shifts func(ctx context.Context, services []string) (map[string]string, error)
	// Environ is the environment with Terraform's variables; if nil, that of this
	// process.
	Environ []string
	// Now returns the time for plans; if nil, that of the system clock.
	Now func() time.Time
}

func (s Stage) dir() string { return cmp.Or(s.Dir, DefaultDir) }

func (s Stage) root() terraform.Root {
	return terraform.Root{Dir: s.dir(), Image: s.Image, Program: s.Program, Include: s.include()}
}

// folder returns the path of the root module on this machine.
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

// checkConfiguration returns an error if the root module has no Terraform files.
func (s Stage) checkConfiguration() error {
	found, err := filepath.Glob(filepath.Join(s.folder(), "*.tf"))
	if err != nil {
		return outcome.Usagef("folder %q: %w", s.dir(), err)
	}
	inJSON, _ := filepath.Glob(filepath.Join(s.folder(), "*.tf.json")) // the pattern is valid, as the one above
	if len(found)+len(inJSON) == 0 {
		return outcome.Usagef("%s has no Terraform configuration: choose another folder with --dir", s.dir())
	}
	return nil
}

// workDir is a temporary directory for one run. What Terraform writes there,
// secrets included, is removed after the run.
type workDir struct {
	exec step.Executor
	dir  string // of the steps' outputs
	root string // the root module's folder, for messages
	keep bool   // it has the only copy of the state
}

// newWorkDir creates a work directory. The caller closes it.
func (s Stage) newWorkDir() (*workDir, error) {
	dir, err := os.MkdirTemp("", "slipway-terraform-") // for this user only
	if err != nil {
		return nil, fmt.Errorf("creating a temporary directory for Terraform: %w", err)
	}
	return &workDir{exec: s.Exec, dir: dir, root: s.dir()}, nil
}

// close removes the directory.
func (w *workDir) close() {
	if !w.keep {
		_ = os.RemoveAll(w.dir) // leftovers are temporary files
	}
}

func (w *workDir) file(name string) string { return filepath.Join(w.dir, name) }

// output is the result of a Terraform command.
type output struct {
	command  string
	messages []terraform.Message
	result   step.Result
}

// run runs a step and reads its messages. The error is about running it; a
// cancelled step has messages as well.
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

// mustRun is like run, for a step that must exit with 0 or one of the codes.
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

// failure explains why a command failed.
func (o output) failure(root string) error {
	return terraform.Explain(o.command, root, terraform.Errors(o.messages), o.result.ExitCode, o.result.Stderr)
}

// version returns Terraform's version, or "" if it is unknown.
func (o output) version() string {
	for _, m := range o.messages {
		if m.Terraform != "" {
			return m.Terraform
		}
	}
	return ""
}
