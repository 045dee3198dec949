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

	"github.com/slipway-cd/slipway/ci/internal/infra/binding"
	"github.com/slipway-cd/slipway/ci/internal/infra/guard"
	"github.com/slipway-cd/slipway/ci/internal/infra/terraform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// ApplyOptions specify which plan to apply.
type ApplyOptions struct {
	// Plan is the plan directory.
	Plan string
	// Digest, if not empty, is the expected digest of the plan: that of the
	// reviewed plan, passed on separately from the directory.
	Digest string
	// AllowDestroy are the addresses of protected resources that may be destroyed
	// or replaced.
	AllowDestroy []string
	// AllowPartial allows a plan that omits a part of the configuration.
	AllowPartial bool
	// Vars and VarFiles, if any are given, are compared with the plan's. Ephemeral
	// variables, whose values are not in the plan, are passed to Terraform instead.
	Vars, VarFiles []string
	// LockTimeout is how long to wait for a lock that another run holds.
	LockTimeout time.Duration
}

// Apply applies a saved plan without changes. It refuses a plan whose inputs have
// changed, and one that destroys protected resources that are not allowed; the
// state is then unchanged. Once Terraform has started to apply, the report is
// returned even with an error.
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
	apply := terraform.ApplyOptions{LockTimeout: o.LockTimeout, Vars: vars, VarFiles: files}
	refresh, err := s.newRefresh(ctx, w, shown, len(reasons) > 0, options, apply)
	if err != nil {
		return ApplyReport{}, err
	}
	if err := w.copyPlan(filepath.Join(o.Plan, PlanFile), file.SHA256); err != nil { // newRefresh replaces it
		return ApplyReport{}, err
	}
	out, err := w.run(ctx, s.root().ApplyStep(apply))
	if err != nil && ctx.Err() == nil {
		return ApplyReport{}, err
	}
	a := newApplyReport(shown.summary, out.messages, s.dir())
	a.Environment = s.Environment
	a.Warnings = warningLines(terraform.Warnings(out.messages), s.dir(), nil, shown.redact)
	for i, line := range a.Errors {
		if strings.Contains(line, terraform.ChangedVariable) { // with both of its values
			a.Errors[i] = out.failure(s.dir()).Error()
		}
	}
	w.saveErroredState(&a, o.Plan, s.folder())
	if err := s.setResult(ctx, &a, out); err != nil || refresh == nil {
		return a, err
	}
	return a, refresh.finish(ctx, &a, shown.redact)
}

// openPlan reads a plan directory and compares it with the source tree, without
// network requests.
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
		return bound, none, outcome.Refusedf("the plan in %s is not the reviewed one: its digest is %s, and --digest is %s", o.Plan, bound.Digest, o.Digest)
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
	// Terraform compares the plan file's state under its lock.
	now.State = file.State
	// These are not known yet.
	now.Backend, now.TerraformVersion, now.Account, now.Region = bound.Backend, bound.TerraformVersion, bound.Account, bound.Region
	return bound, file, binding.MismatchError(before.Compare(now))
}

// boundBackend returns the backend settings of the plan, and after them the caller's,
// which replace them.
func (s Stage) boundBackend(bound binding.Binding) (terraform.Backend, error) {
	own, err := s.resolveBackend()
	if err != nil {
		return own, err
	}
	var b terraform.Backend
	for _, key := range slices.Sorted(maps.Keys(bound.Backend.Config)) {
		b.Config = append(b.Config, fmt.Sprintf("%s=%v", key, bound.Backend.Config[key]))
	}
	b.Config = append(b.Config, own.Config...)
	return b, nil
}

// verify connects to the backend and compares the plan with the current state and
// account.
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
			return shownPlan{}, errors.New("the plan is bound to an AWS account, which cannot be determined here")
		}
		if now.Account, now.Region, err = s.Identity.Identity(ctx); err != nil {
			return shownPlan{}, fmt.Errorf("reading the AWS account: %w", err)
		}
	}
	if err := binding.MismatchError(bound.Compare(now)); err != nil {
		return shownPlan{}, err
	}
	return s.show(ctx, w, bound.RefreshOnly, o.Vars, o.VarFiles)
}

// pull returns the version of the current state.
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

// copyPlan copies the plan file to the work directory and verifies its hash.
func (w *workDir) copyPlan(name, hash string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("reading the plan file: %w", err)
	}
	if binding.Hash(data) != hash {
		return outcome.Refusedf("%s changed while it was read: plan again", name)
	}
	if err := os.WriteFile(w.file(PlanFile), data, 0o600); err != nil { //nolint:gosec // a name of ours in a directory of ours
		return fmt.Errorf("copying the plan file: %w", err)
	}
	return nil
}

// setResult sets the result of an apply and returns its error.
func (s Stage) setResult(ctx context.Context, a *ApplyReport, out output) error {
	failed := len(a.Failed)+len(a.Unfinished)+len(a.NotReached) > 0 || len(a.Errors) > 0
	// An interrupted run has messages, but no exit code.
	if done := a.completed || ctx.Err() == nil; done && !failed && out.result.ExitCode == 0 {
		a.Result = Succeeded
		return nil
	}
	switch {
	case ctx.Err() != nil:
		a.Result = Interrupted
		a.setNext("run slipway plan and slipway apply again to continue")
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
	a.setNext("fix the cause, then run slipway plan and slipway apply again to continue")
	return fmt.Errorf("%s: %s", a.counts(), strings.TrimSuffix(out.failure(s.dir()).Error(), "."))
}
