package infratest

import (
	"fmt"
	"reflect"
	"slices"

	tfjson "github.com/hashicorp/terraform-json"
)

// Changes tells what a plan would change, as "address: actions (attributes)", and
// leaves out what it only wants because moto forgets it.
func Changes(plan *tfjson.Plan) []string {
	var changes []string
	for _, r := range plan.ResourceChanges {
		if r.Change.Actions.NoOp() || r.Change.Actions.Read() {
			continue
		}
		before, _ := r.Change.Before.(map[string]any)
		after, _ := r.Change.After.(map[string]any)
		attributes := []string{}
		for name, value := range after {
			if !reflect.DeepEqual(before[name], value) {
				attributes = append(attributes, name)
			}
		}
		slices.Sort(attributes)
		attributes = slices.DeleteFunc(attributes, func(name string) bool { return slices.Contains(forgets[r.Type], name) })
		if r.Change.Actions.Update() && len(attributes) == 0 {
			continue
		}
		changes = append(changes, fmt.Sprintf("%s: %v %v", r.Address, r.Change.Actions, attributes))
	}
	return changes
}

// Count is the number of resources that a plan creates, updates or deletes.
func Count(plan *tfjson.Plan, is func(tfjson.Actions) bool) int {
	n := 0
	for _, r := range plan.ResourceChanges {
		if is(r.Change.Actions) {
			n++
		}
	}
	return n
}
