package terraform_test

import (
	"testing"

	tfjson "github.com/hashicorp/terraform-json"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/test/terraform"
)

func TestChanges(t *testing.T) {
	change := func(kind string, action tfjson.Action, before, after map[string]any) *tfjson.ResourceChange {
		return &tfjson.ResourceChange{Address: kind + ".a", Type: kind, Change: &tfjson.Change{Actions: tfjson.Actions{action}, Before: before, After: after}}
	}
	plan := &tfjson.Plan{ResourceChanges: []*tfjson.ResourceChange{
		change("aws_vpc", tfjson.ActionNoop, map[string]any{"id": "1"}, map[string]any{"id": "1"}),
		change("aws_ecs_service", tfjson.ActionUpdate, map[string]any{"name": "a"}, map[string]any{"name": "a", "enable_ecs_managed_tags": true}),
		change("aws_ecs_service", tfjson.ActionUpdate, map[string]any{"task_definition": "1"}, map[string]any{"task_definition": "2", "enable_ecs_managed_tags": true}),
		change("aws_lb", tfjson.ActionCreate, nil, map[string]any{"name": "b"}),
		change("aws_eip", tfjson.ActionDelete, map[string]any{"name": "b"}, nil),
	}}
	require.Equal(t, []string{
		"aws_ecs_service.a: [update] [task_definition]", "aws_lb.a: [create] [name]", "aws_eip.a: [delete] []",
	}, terraform.Changes(plan))
	require.Equal(t, 1, terraform.Count(plan, tfjson.Actions.Create))
	require.Equal(t, 2, terraform.Count(plan, tfjson.Actions.Update))
}
