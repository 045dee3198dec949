// Package terraform tests the repository's Terraform: its rules, its policies without
// Terraform, and all of it against moto, an AWS emulator.
package terraform

import (
	"fmt"
	"reflect"
	"slices"

	tfjson "github.com/hashicorp/terraform-json"
)

// Changes returns what a plan would change, as "address: actions (attributes)", without
// changes that are caused only by moto.
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

// Count returns the number of resources with matching actions in a plan.
func Count(plan *tfjson.Plan, is func(tfjson.Actions) bool) int {
	n := 0
	for _, r := range plan.ResourceChanges {
		if is(r.Change.Actions) {
			n++
		}
	}
	return n
}

// NotMotos overrides what moto does not support in bootstrap/: it ignores the number of
// versions to keep, so that the provider waits until its time limit, and it ignores
// conditions of bucket policies, so that "deny requests without TLS" denies everything.
// terraform test covers both.
const NotMotos = `resource "aws_s3_bucket_lifecycle_configuration" "state" {
  rule {
    id     = "old-versions"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration {
      noncurrent_days = 90
    }
  }
}

resource "aws_s3_bucket_policy" "state" {
  policy = jsonencode({ Version = "2012-10-17", Statement = [] })
}
`

// forgets are attributes, by resource type, that moto accepts and does not return, so
// that every plan sets them again.
var forgets = map[string][]string{
	"aws_ecs_service":                     {"availability_zone_rebalancing", "enable_ecs_managed_tags", "health_check_grace_period_seconds"},
	"aws_vpc_security_group_egress_rule":  {"description"},
	"aws_vpc_security_group_ingress_rule": {"description"},
}
