package infra

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dagger/slipway/internal/infra/binding"
	"dagger/slipway/internal/infra/guard"
	"dagger/slipway/internal/infra/terraform"
	"dagger/slipway/internal/report/outcome"
)

// ApplyOptions say which plan to apply.
type ApplyOptions struct {
	// Plan is the plan directory.
	Plan string
	// Digest, if not empty, is the digest that the plan must have: the one
	// that was reviewed, handed on by another way than the directory.
	Digest string
	// AllowDestroy are the addresses of guarded resources that may be
	// destroyed or replaced.
	AllowDestroy []string
	// AllowPartial acknowledges that the plan leaves a part of the configuration
	// out.
	AllowPartial bool
	// Vars and VarFiles are compared with the plan's, if any are given; but for
	// ephemeral variables, whose values the plan does not have: these are handed on.
	Vars, VarFiles []string
	// LockTimeout is how long to wait for somebody else's lock.
	LockTimeout time.Duration
}

// Apply applies a plan exactly as it was made. It refuses one that is not for
// what is here now, and one that destroys guarded resources which nobody
// named; the state is untouched then. The report is there in any case in
// which Terraform began to apply; the error says how it ended.
func (s Stage) Apply(ctx context.Context, o ApplyOptions) (ApplyReport, error) {
	bound, file, err := s.openPlan(ctx, o)
	if err != nil {
		return ApplyReport{}, err
	}
	s.Dir = bound.Root
	if err := s.checkErroredState(o.Plan); err != nil {
		return ApplyReport{}, err
	}
	if s.Backend, err = s.boundBackend(bound); err != nil {
		return ApplyReport{}, err
	}
	w, err := s.newWorkDir()
	if err != nil {
		return ApplyReport{}, err
	}
	defer w.close()
	if err := w.copyPlan(filepath.Join(o.Plan, PlanFile), file.SHA256); err != nil {
		return ApplyReport{}, err
	}
	options, err := s.resolve(terraform.PlanOptions{Vars: o.Vars, VarFiles: o.VarFiles})
	if err != nil {
		return ApplyReport{}, err
	}
	shown, err := s.verify(ctx, w, bound, options)
	if err != nil {
		return ApplyReport{}, err
	}
	reasons := bound.Partial
	if len(reasons) == 0 {
		reasons = partialReasons(shown.plan, nil, nil)
	}
	if err := refusePartial(reasons, o.AllowPartial); err != nil {
		return ApplyReport{}, err
	}
	if err := guard.Check(shown.summary.Destroyed(), o.AllowDestroy); err != nil {
		return ApplyReport{}, err
	}
	vars, files, err := s.ephemeralArguments(w, options)
	if err != nil {
		return ApplyReport{}, err
	}
	out, err := w.run(ctx, s.root().ApplyStep(terraform.ApplyOptions{LockTimeout: o.LockTimeout, Vars: vars, VarFiles: files}))
	if err != nil && ctx.Err() == nil {
		return ApplyReport{}, err
	}
	a := newApplyReport(shown.summary, out.messages, s.dir())
	a.Warnings = warningLines(terraform.Warnings(out.messages), s.dir(), nil, shown.redact)
	for i, line := range a.Errors {
		if strings.Contains(line, terraform.ChangedVariable) { // and both of its values
			a.Errors[i] = out.failure(s.dir()).Error()
		}
	}
	w.saveErroredState(&a, o.Plan, s.folder())
	return a, s.setResult(ctx, &a, out)
}

// openPlan reads a plan directory and compares it with what this machine has,
// before anybody else is asked.
func (s Stage) openPlan(ctx context.Context, o ApplyOptions) (binding.Binding, binding.PlanFile, error) {
	none := binding.PlanFile{}
	if info, err := os.Stat(o.Plan); err != nil || !info.IsDir() {
		return binding.Binding{}, none, outcome.Usagef("no plan directory %s: run slipway plan, or name one with --plan", o.Plan)
	}
	bound, err := binding.Read(filepath.Join(o.Plan, BindingFile))
	if err != nil {
		return bound, none, err
	}
	if o.Digest != "" && o.Digest != bound.Digest {
		return bound, none, outcome.Refusedf("the plan in %s is not the one that was reviewed: its digest is %s, and --digest asks for %s", o.Plan, bound.Digest, o.Digest)
	}
	s.Dir = bound.Root
	if err := s.checkConfiguration(); err != nil {
		return bound, none, outcome.Refusedf("the plan was made in another tree: %w", err)
	}
	file, err := binding.ReadPlanFile(filepath.Join(o.Plan, PlanFile))
	if file.SHA256 != "" && file.SHA256 != bound.PlanSHA256 {
		err = binding.MismatchError([]binding.Difference{{What: "plan file", Bound: bound.PlanSHA256, Now: file.SHA256}})
	}
	if err != nil {
		return bound, file, err
	}
	var modules []string
	for _, name := range bound.Modules {
		modules = append(modules, filepath.Join(s.Tree.Dir, filepath.FromSlash(name)))
	}
	now, err := s.readInputs(ctx, modules)
	if err != nil {
		return bound, file, err
	}
	options, err := s.resolve(terraform.PlanOptions{Vars: o.Vars, VarFiles: o.VarFiles})
	if err != nil {
		return bound, file, err
	}
	if now.Variables, err = s.variables(file, options); err != nil {
		return bound, file, err
	}
	before := bound
	if maps.Equal(now.Variables, withoutFlags(now.Variables)) {
		before.Variables = withoutFlags(bound.Variables)
	}
	now.PlanSHA256 = file.SHA256
	// The state in the plan file is what Terraform compares under its lock.
	now.State = file.State
	// What is not known yet.
	now.Backend, now.TerraformVersion, now.Account, now.Region = bound.Backend, bound.TerraformVersion, bound.Account, bound.Region
	return bound, file, binding.MismatchError(before.Compare(now))
}

// boundBackend is the backend that the caller names or, if none, the settings
// that the plan was made with.
func (s Stage) boundBackend(bound binding.Binding) (terraform.Backend, error) {
	if len(s.Backend.Config) > 0 {
		return s.resolveBackend()
	}
	var b terraform.Backend
	for _, key := range slices.Sorted(maps.Keys(bound.Backend.Config)) {
		b.Config = append(b.Config, fmt.Sprintf("%s=%v", key, bound.Backend.Config[key]))
	}
	return b, nil
}

// verify connects to the backend and compares the plan with what is there.
func (s Stage) verify(ctx context.Context, w *workDir, bound binding.Binding, o terraform.PlanOptions) (shownPlan, error) {
	inited, err := w.mustRun(ctx, s.root().InitStep(s.Backend))
	if err != nil {
		return shownPlan{}, err
	}
	now := bound
	now.TerraformVersion = inited.version()
	if now.Backend, err = w.backend(); err != nil {
		return shownPlan{}, err
	}
	if now.State, err = s.pull(ctx, w); err != nil {
		return shownPlan{}, err
	}
	if bound.Account != "" {
		if s.Identity == nil {
			return shownPlan{}, errors.New("the plan is bound to an AWS account, and nobody can be asked for it")
		}
		if now.Account, now.Region, err = s.Identity.Identity(ctx); err != nil {
			return shownPlan{}, fmt.Errorf("asking AWS for the account: %w", err)
		}
	}
	if err := binding.MismatchError(bound.Compare(now)); err != nil {
		return shownPlan{}, err
	}
	return s.show(ctx, w, bound.RefreshOnly, o.Vars, o.VarFiles)
}

// pull reads which version the state is now.
func (s Stage) pull(ctx context.Context, w *workDir) (binding.State, error) {
	if _, err := w.mustRun(ctx, s.root().StatePullStep()); err != nil {
		return binding.State{}, err
	}
	data, err := os.ReadFile(w.file(terraform.StateFile))
	if err != nil {
		return binding.State{}, fmt.Errorf("reading the state: %w", err)
	}
	return binding.ReadState(bytes.NewReader(terraform.JSONDocument(data)))
}

// copyPlan copies the plan file to where Terraform runs, and makes sure that it is
// the one that was read.
func (w *workDir) copyPlan(name, hash string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("reading the plan file: %w", err)
	}
	if binding.Hash(data) != hash {
		return outcome.Refusedf("%s changes while it is read: plan again", name)
	}
	if err := os.WriteFile(w.file(PlanFile), data, 0o600); err != nil { //nolint:gosec // a name of ours in a directory of ours
		return fmt.Errorf("handing the plan to Terraform: %w", err)
	}
	return nil
}

// setResult says how an apply ended.
func (s Stage) setResult(ctx context.Context, a *ApplyReport, out output) error {
	failed := len(a.Failed)+len(a.Unfinished)+len(a.NotReached) > 0 || len(a.Errors) > 0
	// Of an interrupted run the exit code is not known, only its words.
	if done := a.completed || ctx.Err() == nil; done && !failed && out.result.ExitCode == 0 {
		a.Result = Succeeded
		return nil
	}
	switch {
	case ctx.Err() != nil:
		a.Result = Interrupted
		a.setNext("run slipway plan and apply again: it carries on from what is there")
		return outcome.With(outcome.Interrupted, fmt.Errorf("applying: %w: %s", context.Cause(ctx), a.counts()))
	case !a.started():
		a.Result = Refused
		err := out.failure(s.dir())
		if outcome.Of(err) != outcome.Refused {
			a.Result = Failed
		}
		return err
	}
	a.Result = Failed
	a.setNext("mend the cause, then run slipway plan and apply again: it carries on from what is there")
	return fmt.Errorf("%s: %s", a.counts(), strings.TrimSuffix(out.failure(s.dir()).Error(), "."))
}
