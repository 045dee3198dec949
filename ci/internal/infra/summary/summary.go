// Package summary summarises the changes of a Terraform plan for people and
// programs. Its input is redacted by [redact.Plan], so that it cannot show a
// sensitive value.
package summary

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/slipway-cd/slipway/ci/internal/infra/guard"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Action is the change to a resource or an output.
type Action string

// The actions, destructive ones first.
const (
	Destroy Action = "destroy"
	Replace Action = "replace"
	Update  Action = "update"
	Create  Action = "create"
	Forget  Action = "forget" // removed from the state, not destroyed
	Import  Action = "import" // added to the state unchanged
	Move    Action = "move"   // another address
	Read    Action = "read"   // a data source that is read during apply
	NoOp    Action = "none"
)

// order is the order of actions in a summary.
var order = []Action{Destroy, Replace, Update, Create, Forget, Import, Move, Read, NoOp}

// Summary summarises the changes of a plan.
type Summary struct {
	// Environment is the name of the environment, if the source tree has several.
	Environment string `json:"environment,omitempty"`
	Terraform   string `json:"terraform_version"`
	// RefreshOnly means that the plan only updates the state.
	RefreshOnly bool           `json:"refresh_only"`
	Counts      map[Action]int `json:"counts"`
	// Resources are the changed resources, destroyed and replaced ones first.
	Resources []Resource `json:"resources"`
	// Drift lists resources that were changed outside of Terraform.
	Drift   []Resource `json:"drift"`
	Outputs []Output   `json:"outputs"`
	// Checks are the failed checks and conditions, one line each.
	Checks []string `json:"checks"`
	// Partial lists what omits a part of the configuration from the plan, such as
	// "-target=aws_vpc.main"; empty for a complete plan.
	Partial []string `json:"partial,omitempty"`
	// Warnings are Terraform's warnings, one line each.
	Warnings []string `json:"warnings"`
	// Deferred are resources that Terraform defers to a later plan.
	Deferred []string `json:"deferred,omitempty"`
}

// Resource is a changed resource.
type Resource struct {
	Address string `json:"address"`
	Type    string `json:"type"`
	Action  Action `json:"action"`
	// Reason is why it is replaced or destroyed.
	Reason string `json:"because,omitempty"`
	// PreviousAddress is the address before a move; ID is the ID of an import.
	PreviousAddress string `json:"from,omitempty"`
	ID              string `json:"id,omitempty"`
	// Loss is what is lost when it is destroyed; empty for types that apply
	// recreates without loss.
	Loss string `json:"loss,omitempty"`
	// Shifted is the name of the ECS service whose traffic ECS shifts with it, if it is
	// destroyed.
	Shifted    string      `json:"-"`
	Attributes []Attribute `json:"attributes"`
	// Recomputed counts the computed attributes of a replaced resource, which are
	// known after apply.
	Recomputed int `json:"renewed,omitempty"`
}

// Output is a changed output of the root module.
type Output struct {
	Name    string `json:"name"`
	Action  Action `json:"action"`
	Before  any    `json:"before"`
	After   any    `json:"after"`
	Unknown bool   `json:"unknown,omitempty"` // the new value is known after apply
}

// Parse parses a redacted plan.
func Parse(redacted []byte) (*tfjson.Plan, error) {
	plan := &tfjson.Plan{}
	plan.UseJSONNumber(true)
	if err := json.Unmarshal(redacted, plan); err != nil {
		return nil, fmt.Errorf("reading the plan: %w", err)
	}
	return plan, nil
}

// New returns the summary of a plan.
func New(plan *tfjson.Plan, refreshOnly bool) Summary {
	s := Summary{Terraform: plan.TerraformVersion, RefreshOnly: refreshOnly, Counts: map[Action]int{}, Resources: []Resource{}, Outputs: []Output{}, Checks: failedChecks(plan.Checks), Warnings: []string{}}
	for _, change := range plan.ResourceChanges {
		if r, ok := resource(change); ok {
			s.Resources = append(s.Resources, r)
			s.Counts[r.Action]++
		}
	}
	sortResources(s.Resources)
	s.Drift = Drift(plan)
	for _, name := range slices.Sorted(maps.Keys(plan.OutputChanges)) {
		change := plan.OutputChanges[name]
		if change == nil || action(change.Actions) == NoOp {
			continue
		}
		s.Outputs = append(s.Outputs, Output{
			Name: name, Action: action(change.Actions), Before: change.Before, After: change.After, Unknown: change.AfterUnknown == true,
		})
	}
	for _, deferred := range plan.DeferredChanges {
		if deferred != nil && deferred.ResourceChange != nil {
			s.Deferred = append(s.Deferred, deferred.ResourceChange.Address)
		}
	}
	return s
}

// Drift returns the resources that were changed outside of Terraform.
func Drift(plan *tfjson.Plan) []Resource {
	drift := []Resource{}
	for _, change := range plan.ResourceDrift {
		if r, ok := resource(change); ok {
			r.Loss, r.Reason = "", ""
			if r.Action == Destroy {
				r.Reason = "it was deleted"
			}
			// A move is not drift, nor is null in place of an empty value.
			if r.Action == Move || (r.Action == Update && len(r.Attributes) == 0) {
				continue
			}
			drift = append(drift, r)
		}
	}
	sortResources(drift)
	return drift
}

// Changes reports whether applying the plan changes anything. Reading a data source
// does not count.
func (s Summary) Changes() bool {
	return len(s.Resources) > s.Counts[Read] || len(s.Outputs) > 0 || (s.RefreshOnly && len(s.Drift) > 0)
}

// Destroyed returns the resources that the plan destroys or replaces.
func (s Summary) Destroyed() []guard.Destroyed {
	var destroyed []guard.Destroyed
	for _, r := range s.Resources {
		if r.Action == Destroy || r.Action == Replace {
			destroyed = append(destroyed, guard.Destroyed{Address: r.Address, Loss: r.Loss, Shifted: r.Shifted, Replaced: r.Action == Replace})
		}
	}
	return destroyed
}

// Address returns the address of a changed resource in a summary.
func Address(change *tfjson.ResourceChange) string {
	if change.DeposedKey != "" {
		return change.Address + " (deposed " + change.DeposedKey + ")"
	}
	return change.Address
}

// resource converts a change; it returns false for a no-op.
func resource(change *tfjson.ResourceChange) (Resource, bool) {
	if change == nil || change.Change == nil {
		return Resource{}, false
	}
	c := change.Change
	r := Resource{Address: Address(change), Type: change.Type, Action: action(c.Actions)}
	if change.PreviousAddress != "" && change.PreviousAddress != change.Address {
		r.PreviousAddress = change.PreviousAddress
	}
	if c.Importing != nil {
		r.ID = cmp.Or(c.Importing.ID, "by its identity")
	}
	if r.Action == NoOp {
		switch {
		case r.ID != "":
			r.Action = Import
		case r.PreviousAddress != "":
			r.Action = Move
		default:
			return Resource{}, false
		}
	}
	r.Reason = reason(change)
	if r.Action == Destroy || r.Action == Replace {
		r.Loss = guard.Loss(change.Type)
	}
	r.Attributes, r.Recomputed = attributes(r.Action, c)
	return r, true
}

// action combines Terraform's list of actions.
func action(actions tfjson.Actions) Action {
	has := func(a tfjson.Action) bool { return slices.Contains(actions, a) }
	switch {
	case has(tfjson.ActionDelete) && has(tfjson.ActionCreate):
		return Replace
	case has(tfjson.ActionDelete):
		return Destroy
	case has(tfjson.ActionCreate):
		return Create
	case has(tfjson.ActionUpdate):
		return Update
	case has(tfjson.ActionForget):
		return Forget
	case has(tfjson.ActionRead):
		return Read
	case len(actions) == 0 || actions.NoOp():
		return NoOp
	}
	// Unknown actions of later Terraform versions count as updates.
	return Update
}

// reasons are texts for Terraform's reasons. Unknown ones are shown unchanged.
var reasons = map[tfjson.ActionReason]string{
	tfjson.ActionReasonReplaceBecauseTainted:         "it is tainted: its creation failed in part",
	tfjson.ActionReasonReplaceByRequest:              "requested with -replace",
	tfjson.ActionReasonReplaceByTriggers:             "something in its replace_triggered_by changes",
	tfjson.ActionReasonDeleteBecauseNoResourceConfig: "it is no longer in the configuration",
	tfjson.ActionReasonDeleteBecauseWrongRepetition:  "count or for_each was added or removed",
	tfjson.ActionReasonDeleteBecauseCountIndex:       "count is lower than its index",
	tfjson.ActionReasonDeleteBecauseEachKey:          "its key is no longer in for_each",
	tfjson.ActionReasonDeleteBecauseNoModule:         "its module is no longer called",
	tfjson.ActionReasonDeleteBecauseNoMoveTarget:     "it is moved to an address that the configuration does not have",
	tfjson.ActionReasonReadBecauseConfigUnknown:      "its configuration is known after apply",
	tfjson.ActionReasonReadBecauseDependencyPending:  "a dependency changes",
	tfjson.ActionReasonReadBecauseCheckNested:        "a check reads it",
	tfjson.ActionReasonReplaceBecauseCannotUpdate:    "it cannot be updated in place",
	tfjson.ActionReasonNone:                          "",
}

// reason returns why a resource is replaced, destroyed or read.
func reason(change *tfjson.ResourceChange) string {
	var forced []string
	for _, p := range change.Change.ReplacePaths {
		if steps, ok := p.([]any); ok {
			forced = append(forced, path(steps).String())
		}
	}
	if len(forced) > 0 {
		slices.Sort(forced)
		return strings.Join(slices.Compact(forced), ", ") + " cannot be updated in place"
	}
	if words, ok := reasons[change.ActionReason]; ok {
		return words
	}
	return strings.ReplaceAll(string(change.ActionReason), "_", " ")
}

func sortResources(resources []Resource) {
	slices.SortStableFunc(resources, func(a, b Resource) int {
		return cmp.Or(
			cmp.Compare(slices.Index(order, a.Action), slices.Index(order, b.Action)),
			cmp.Compare(a.Address, b.Address),
		)
	})
}

// failedChecks returns the failed checks and conditions, one line each.
func failedChecks(checks []tfjson.CheckResultStatic) []string {
	failed := []string{}
	for _, check := range checks {
		for _, instance := range check.Instances {
			for _, problem := range instance.Problems {
				failed = append(failed, cmp.Or(instance.Address.ToDisplay, check.Address.ToDisplay)+": "+outcome.OneLine(problem.Message))
			}
		}
	}
	slices.Sort(failed)
	return failed
}
