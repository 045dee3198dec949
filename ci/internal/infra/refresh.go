package infra

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/infra/summary"
	"github.com/slipway-cd/slipway/ci/internal/infra/terraform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// planVariables is a file in the work directory with the variables of the applied plan.
const planVariables = "plan.tfvars.json"

// refresh updates the state after an apply with what AWS has set meanwhile in other
// resources than the changed one, such as the rules of a security group, which are resources
// of their own. Otherwise the next refresh would report it as drift.
type refresh struct {
	stage   Stage
	w       *workDir
	options terraform.PlanOptions
	apply   terraform.ApplyOptions // with the ephemeral variables
	err     error                  // why the state cannot be updated
	// outside has the resources that changed outside of Terraform between plan and apply.
	outside map[string]bool
}

// newRefresh prepares the refresh after the apply of a plan; it returns nil if none is
// needed. It is called before the apply, because afterwards a change outside of Terraform
// cannot be distinguished. It replaces the plan file in the work directory.
func (s Stage) newRefresh(ctx context.Context, w *workDir, shown shownPlan, partial bool, o terraform.PlanOptions, a terraform.ApplyOptions) (*refresh, error) {
	var changes, existing, left bool
	for _, r := range shown.plan.ResourceChanges {
		if r == nil || r.Change == nil || r.Mode != tfjson.ManagedResourceMode {
			continue
		}
		actions := r.Change.Actions
		changes = changes || !actions.NoOp() && !actions.Forget()
		existing = existing || !actions.Create()
		left = left || !actions.Delete() && !actions.Forget()
	}
	if !changes || !left || !usesAWS(shown.plan) {
		return nil, nil
	}
	r := &refresh{stage: s, w: w, options: o, apply: a, outside: map[string]bool{}}
	if partial {
		r.err = errors.New("the plan is partial")
		return r, nil
	}
	r.err = s.writePlanVariables(w)
	if r.err == nil && existing {
		r.err = r.findOutside(ctx, shown)
	}
	if r.err != nil && ctx.Err() != nil {
		return nil, r.err
	}
	return r, nil
}

// findOutside plans again, and compares the drift with that of the applied plan.
func (r *refresh) findOutside(ctx context.Context, shown shownPlan) error {
	now, err := r.plan(ctx, false)
	if err != nil {
		return err
	}
	reviewed, drift := byAddress(shown.summary.Drift), byAddress(now.summary.Drift)
	for _, addresses := range []map[string]string{reviewed, drift} {
		for address := range addresses {
			r.outside[address] = r.outside[address] || reviewed[address] != drift[address]
		}
	}
	return nil
}

// byAddress returns resources as JSON by their addresses.
func byAddress(resources []summary.Resource) map[string]string {
	found := map[string]string{}
	for _, r := range resources {
		text, _ := json.Marshal(r) // decoded from JSON
		found[r.Address] = string(text)
	}
	return found
}

// writePlanVariables writes the variables of the shown plan to a file. The ephemeral ones
// are not in the plan.
func (s Stage) writePlanVariables(w *workDir) error {
	declared, err := s.declaredVariables()
	if err != nil {
		return err
	}
	var plan struct {
		Variables map[string]struct{ Value json.RawMessage }
	}
	document, err := os.ReadFile(w.file(terraform.ShowFile))
	if err == nil {
		err = json.Unmarshal(terraform.JSONDocument(document), &plan)
	}
	values := map[string]json.RawMessage{}
	for name, variable := range plan.Variables {
		if ephemeral := declared[name]; !ephemeral {
			values[name] = variable.Value
		}
	}
	var text []byte
	if err == nil {
		text, err = json.Marshal(values)
	}
	if err == nil {
		err = os.WriteFile(w.file(planVariables), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing the variables for Terraform: %w", err)
	}
	return nil
}

// plan plans again with the variables of the applied plan, without locking the state. The
// result of a refresh without changes is empty.
func (r *refresh) plan(ctx context.Context, refreshOnly bool) (shownPlan, error) {
	files := append([]string{planVariables}, r.apply.VarFiles...)
	o := terraform.PlanOptions{RefreshOnly: refreshOnly, NoLock: true, Vars: r.apply.Vars}
	for _, file := range files {
		o.VarFiles = append(o.VarFiles, step.Out+"/"+file)
	}
	s := r.stage.root().PlanStep(o)
	s.Inputs, s.LogFilter = append(s.Inputs, files...), ""
	out, err := r.w.mustRun(ctx, s, 2)
	if err != nil || refreshOnly && out.result.ExitCode == 0 {
		return shownPlan{}, err
	}
	return r.stage.show(ctx, r.w, refreshOnly, r.options.Vars, r.options.VarFiles)
}

// run updates the state after the apply, unless something else would change in it as well.
func (r *refresh) run(ctx context.Context, a *ApplyReport) error {
	if r.err != nil {
		return r.err
	}
	shown, err := r.plan(ctx, true)
	if err != nil {
		return err
	}
	var refreshed []Change
	var outside []string
	for _, d := range shown.summary.Drift {
		refreshed = append(refreshed, Change{Address: d.Address, Action: d.Action})
		if r.outside[d.Address] || d.Action != summary.Update {
			outside = append(outside, d.Address)
		}
	}
	if len(outside) > 0 {
		return fmt.Errorf("%s changed outside of Terraform", strings.Join(outside, ", "))
	}
	if !shown.summary.Changes() {
		return nil
	}
	out, err := r.w.mustRun(ctx, r.stage.root().ApplyStep(r.apply))
	if err != nil {
		return err
	}
	a.Refreshed, a.Outputs = refreshed, newApplyReport(shown.summary, out.messages, r.stage.dir()).Outputs
	return nil
}

// finish runs the refresh after a successful apply. A failure is a warning of the
// report; only an interruption is an error.
func (r *refresh) finish(ctx context.Context, a *ApplyReport, redact func(string) string) error {
	err := r.run(ctx, a)
	if err == nil {
		return nil
	}
	const next = "run slipway plan --refresh-only and apply it"
	if ctx.Err() != nil {
		a.Result = Interrupted
		a.setNext(next + " to complete the state")
		return outcome.With(outcome.Interrupted, fmt.Errorf("refreshing the state after the apply: %w: %s", context.Cause(ctx), a.counts()))
	}
	reason := strings.TrimSuffix(redact(outcome.OneLine(err.Error())), ".")
	a.Warnings = append(a.Warnings, "the state lacks what AWS has set since the changes, so that it will be reported as drift: "+reason+": "+next)
	return nil
}
