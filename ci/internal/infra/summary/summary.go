// Package summary says what a Terraform plan changes, for people and for
// programs. It reads a plan that [redact.Plan] has been over, and so cannot
// repeat a sensitive value.
package summary

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"dagger/slipway/internal/infra/guard"
	"dagger/slipway/internal/report/outcome"
)

// Action is what happens to a resource or an output.
type Action string

// The actions, the ones that lose something first.
const (
	Destroy Action = "destroy"
	Replace Action = "replace"
	Update  Action = "update"
	Create  Action = "create"
	Forget  Action = "forget" // leaves the state, and stays in the account
	Import  Action = "import" // enters the state as it is
	Move    Action = "move"   // gets another address
	Read    Action = "read"   // a data source that is read while applying
	NoOp    Action = "none"
)

// order is how actions follow each other in a summary.
var order = []Action{Destroy, Replace, Update, Create, Forget, Import, Move, Read, NoOp}

// Summary is what a plan changes.
type Summary struct {
	Terraform string `json:"terraform_version"`
	// RefreshOnly says that the plan takes drift over into the state, and
	// changes nothing else.
	RefreshOnly bool           `json:"refresh_only"`
	Counts      map[Action]int `json:"counts"`
	// Resources are those that change, destroyed and replaced ones first.
	Resources []Resource `json:"resources"`
	// Drift is what others have changed since Terraform last looked.
	Drift   []Resource `json:"drift"`
	Outputs []Output   `json:"outputs"`
	// Checks are the failed checks and conditions, a line each.
	Checks []string `json:"checks"`
	// Partial says what leaves a part of the configuration out of the plan, such
	// as "-target=aws_vpc.main"; a plan of all of it has none.
	Partial []string `json:"partial,omitempty"`
	// Warnings are Terraform's, a line each.
	Warnings []string `json:"warnings"`
	// Deferred are resources that this plan leaves for another one.
	Deferred []string `json:"deferred,omitempty"`
}

// Resource is one resource that changes.
type Resource struct {
	Address string `json:"address"`
	Type    string `json:"type"`
	Action  Action `json:"action"`
	// Reason is why it is replaced or destroyed, in words.
	Reason string `json:"because,omitempty"`
	// PreviousAddress is the address before a move; ID is what is imported.
	PreviousAddress string `json:"from,omitempty"`
	ID              string `json:"id,omitempty"`
	// Loss is what is lost with it when it is destroyed, for any kind but those
	// that an apply makes again as they were.
	Loss       string      `json:"loss,omitempty"`
	Attributes []Attribute `json:"attributes"`
	// Recomputed counts the attributes of a replaced resource that are AWS's to
	// give, and are known after the apply.
	Recomputed int `json:"renewed,omitempty"`
}

// Output is one output of the root module that changes.
type Output struct {
	Name    string `json:"name"`
	Action  Action `json:"action"`
	Before  any    `json:"before"`
	After   any    `json:"after"`
	Unknown bool   `json:"unknown,omitempty"` // the new value is known after the apply
}

// Parse reads a redacted plan.
func Parse(redacted []byte) (*tfjson.Plan, error) {
	plan := &tfjson.Plan{}
	plan.UseJSONNumber(true)
	if err := json.Unmarshal(redacted, plan); err != nil {
		return nil, fmt.Errorf("reading the plan: %w", err)
	}
	return plan, nil
}

// New says what plan changes.
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

// Drift tells what others have changed since Terraform last looked.
func Drift(plan *tfjson.Plan) []Resource {
	drift := []Resource{}
	for _, change := range plan.ResourceDrift {
		if r, ok := resource(change); ok {
			r.Loss, r.Reason = "", ""
			if r.Action == Destroy {
				r.Reason = "it is gone"
			}
			// What moved is no drift, nor is nothing in place of empty.
			if r.Action == Move || (r.Action == Update && len(r.Attributes) == 0) {
				continue
			}
			drift = append(drift, r)
		}
	}
	sortResources(drift)
	return drift
}

// Changes tells whether applying the plan changes anything. Reading a data
// source does not.
func (s Summary) Changes() bool {
	return len(s.Resources) > s.Counts[Read] || len(s.Outputs) > 0 || (s.RefreshOnly && len(s.Drift) > 0)
}

// Destroyed are the resources that the plan destroys or replaces.
func (s Summary) Destroyed() []guard.Destroyed {
	var destroyed []guard.Destroyed
	for _, r := range s.Resources {
		if r.Action == Destroy || r.Action == Replace {
			destroyed = append(destroyed, guard.Destroyed{Address: r.Address, Type: r.Type, Replaced: r.Action == Replace})
		}
	}
	return destroyed
}

// resource makes a Resource of a change; false where nothing happens.
func resource(change *tfjson.ResourceChange) (Resource, bool) {
	if change == nil || change.Change == nil {
		return Resource{}, false
	}
	c := change.Change
	r := Resource{Address: change.Address, Type: change.Type, Action: action(c.Actions)}
	if change.DeposedKey != "" {
		r.Address += " (deposed " + change.DeposedKey + ")"
	}
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

// action makes one of Terraform's lists of actions.
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
	// What a later Terraform may do besides is a change until it is known.
	return Update
}

// reasons are Terraform's reasons in words. An unknown one is told as it is.
var reasons = map[tfjson.ActionReason]string{
	tfjson.ActionReasonReplaceBecauseTainted:         "it is tainted: a part of it failed when it was made",
	tfjson.ActionReasonReplaceByRequest:              "somebody asked for it (-replace)",
	tfjson.ActionReasonReplaceByTriggers:             "something in its replace_triggered_by changes",
	tfjson.ActionReasonDeleteBecauseNoResourceConfig: "the configuration has it no more",
	tfjson.ActionReasonDeleteBecauseWrongRepetition:  "count or for_each came or went",
	tfjson.ActionReasonDeleteBecauseCountIndex:       "count is lower now",
	tfjson.ActionReasonDeleteBecauseEachKey:          "for_each has its key no more",
	tfjson.ActionReasonDeleteBecauseNoModule:         "its module is called no more",
	tfjson.ActionReasonDeleteBecauseNoMoveTarget:     "it moves to an address that the configuration does not have",
	tfjson.ActionReasonReadBecauseConfigUnknown:      "what it asks for is known after the apply",
	tfjson.ActionReasonReadBecauseDependencyPending:  "what it depends on changes",
	tfjson.ActionReasonReadBecauseCheckNested:        "a check reads it",
	tfjson.ActionReasonReplaceBecauseCannotUpdate:    "it cannot be changed in place",
	tfjson.ActionReasonNone:                          "",
}

// reason is why a resource is replaced, destroyed or read.
func reason(change *tfjson.ResourceChange) string {
	var forced []string
	for _, p := range change.Change.ReplacePaths {
		if steps, ok := p.([]any); ok {
			forced = append(forced, path(steps).String())
		}
	}
	if len(forced) > 0 {
		slices.Sort(forced)
		return strings.Join(slices.Compact(forced), ", ") + " cannot be changed in place"
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

// failedChecks are the checks and conditions that fail, a line each.
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
