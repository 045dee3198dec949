package infra

import (
	"context"
	"slices"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/slipway-cd/slipway/ci/internal/infra/guard"
	"github.com/slipway-cd/slipway/ci/internal/infra/summary"
)

// trafficTypes are the resource types that ECS shifts traffic between or with.
var trafficTypes = []string{"aws_lb_target_group", "aws_alb_target_group", "aws_lb_listener_rule", "aws_alb_listener_rule"}

// guardTraffic marks the resources of a plan that ECS shifts the traffic of a service with
// and that the plan destroys, while the service stays. A plan does not have that: ECS sets
// it in a release, after the last apply. Services that are destroyed too are guarded as such.
func (s Stage) guardTraffic(ctx context.Context, plan *tfjson.Plan, shown *summary.Summary) error {
	destroyed := map[string]string{} // addresses by ARN
	var services []string
	asked := false
	for _, change := range plan.ResourceChanges {
		if change == nil || change.Change == nil {
			continue
		}
		before, _ := change.Change.Before.(map[string]any)
		arn, _ := before["arn"].(string)
		id, _ := before["id"].(string)
		deleted := slices.Contains(change.Change.Actions, tfjson.ActionDelete)
		switch {
		case deleted && arn != "":
			destroyed[arn] = summary.Address(change)
			asked = asked || slices.Contains(trafficTypes, change.Type)
		case !deleted && change.Type == "aws_ecs_service" && id != "":
			services = append(services, id) // its ARN
		}
	}
	if !asked || len(services) == 0 || s.Shifts == nil {
		return nil
	}
	shifts, err := s.Shifts(ctx, services)
	if err != nil {
		return err
	}
	for arn, service := range shifts {
		for n := range shown.Resources {
			if r := &shown.Resources[n]; r.Address == destroyed[arn] {
				r.Shifted, r.Loss = service, guard.TrafficLoss(service)
			}
		}
	}
	return nil
}
