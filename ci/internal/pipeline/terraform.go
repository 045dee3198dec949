package pipeline

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"time"

	"dagger/slipway/internal/awsauth"
	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/config/source"
	"dagger/slipway/internal/exec/step"
	"dagger/slipway/internal/images/image"
	"dagger/slipway/internal/infra"
	"dagger/slipway/internal/infra/terraform"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/report/outcome"
)

// TerraformOptions says which configuration a stage is about, where its state is, and what
// its variables are: see [infra.Stage] and [terraform.PlanOptions].
type TerraformOptions struct {
	Dir            string
	Backend        []string
	Vars, VarFiles []string
	LockTimeout    time.Duration
}

// terraformStage is Terraform on the source tree; live, it has what it talks to AWS with.
func (p Pipeline) terraformStage(ctx context.Context, of TerraformOptions, live bool) (s infra.Stage, err error) {
	if of.Dir == "" || !filepath.IsLocal(filepath.FromSlash(of.Dir)) {
		return s, outcome.Usagef("--dir %q: name a folder of the source tree", of.Dir)
	}
	s.Dir, s.Backend.Config = path.Clean(filepath.ToSlash(of.Dir)), of.Backend
	if s.Tree, err = source.Open(ctx, p.Dir); err != nil {
		return s, err
	}
	var env map[string]string
	if live {
		var caller awsauth.Caller
		if caller.Options, err = p.AWS(ctx); err != nil {
			return s, err
		}
		if env, err = caller.Environment(ctx); err != nil {
			return s, err
		}
		s.Identity = caller
	}
	s.Exec = p.exec(s.Tree, env)
	if host, ok := s.Exec.(step.Host); ok {
		host.Log, host.Tee = p.Log, &terraform.Progress{W: p.Log}
		s.Exec, s.Program = host, terraform.Program()
		return s, nil
	}
	lock, err := image.ReadLock(p.Dir)
	s.Image, s.Environ = lock.Reference("terraform"), []string{} // containers see no environment
	return s, err
}

// Validate checks the platform's configuration; see [infra.Stage.Validate].
func (p Pipeline) Validate(ctx context.Context, dir string) (infra.Validation, error) {
	s, err := p.terraformStage(ctx, TerraformOptions{Dir: dir}, false)
	if err != nil {
		return infra.Validation{}, err
	}
	// terraform validate does not look at the values of variables.
	if s.Dir == path.Dir(platform.ServicesFile) {
		if _, err := platform.Load(p.Dir); err != nil {
			return infra.Validation{}, err
		}
	}
	return s.Validate(ctx)
}

// Plan plans changes of the platform; see [infra.Stage.Plan].
func (p Pipeline) Plan(ctx context.Context, of TerraformOptions, o infra.PlanOptions) (infra.Planned, error) {
	if o.RefreshOnly && o.Destroy {
		return infra.Planned{}, outcome.Usagef("--refresh-only and --destroy are two different plans: take one")
	}
	s, err := p.terraformStage(ctx, of, true)
	if err != nil {
		return infra.Planned{}, err
	}
	o.Vars, o.VarFiles, o.LockTimeout = of.Vars, of.VarFiles, of.LockTimeout
	return s.Plan(ctx, o)
}

// Apply applies a plan of the platform; see [infra.Stage.Apply].
func (p Pipeline) Apply(ctx context.Context, of TerraformOptions, o infra.ApplyOptions) (infra.Applied, error) {
	s, err := p.terraformStage(ctx, of, true)
	if err != nil {
		return infra.Applied{}, err
	}
	o.Vars, o.VarFiles, o.LockTimeout = of.Vars, of.VarFiles, of.LockTimeout
	if p.Next != nil {
		p.Next("slipway plan tells what is left to apply, once Terraform has ended what it has begun")
		defer p.Next("")
	}
	return s.Apply(ctx, o)
}

// drift adds to a status what others have changed of the platform. It locks no state,
// and leaves no plan.
func (p Pipeline) drift(ctx context.Context, of TerraformOptions, status *report.Status) error {
	out, err := os.MkdirTemp("", "slipway-drift-")
	if err != nil {
		return fmt.Errorf("making room for the plan: %w", err)
	}
	defer os.RemoveAll(out)
	planned, err := p.Plan(ctx, of, infra.PlanOptions{Out: out, PlanOptions: terraform.PlanOptions{RefreshOnly: true, NoLock: true}})
	if err == nil {
		status.Infra = planned.Summary
	}
	return err
}
