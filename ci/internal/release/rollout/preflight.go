package rollout

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
)

// ServiceChange is a planned change of a service, before anything is changed.
type ServiceChange struct {
	Service platform.Service
	// ECSService is the service in ECS; of a job, it is empty.
	ECSService types.Service
	// Schedule is the schedule of a job; nil for a service.
	Schedule *scheduler.GetScheduleOutput
	// Previous is the definition that a failed release restores.
	Previous *types.TaskDefinition
	// Definition is the new definition, or what it was registered from.
	Definition *ecs.RegisterTaskDefinitionInput
	// Image is the new image of the service's container, by digest.
	Image string
	// Shift is what ECS shifts the service's traffic with; nil if the release does not shift
	// it in steps.
	Shift *Shift
	// Configure is what the release configures ECS with to shift the service's traffic; nil if
	// it keeps what it has.
	Configure *Shift
}

// preflight calls the request's Preflight with the planned changes.
func (e Engine) preflight(ctx context.Context, request Request, changed []*servicePlan) error {
	if request.Preflight == nil {
		return nil
	}
	var changes []ServiceChange
	for _, s := range changed {
		if s.scalesToZero() {
			continue // needs no image
		}
		definition := s.definition
		if definition == nil {
			template, _, err := e.definition(ctx, s.To.TaskDefinition)
			if err != nil {
				return err
			}
			definition = registerInput(*template)
		}
		change := ServiceChange{Service: s.target.Service, ECSService: s.service, Schedule: s.schedule, Previous: s.previous, Definition: definition, Image: s.To.Image, Configure: s.target.Shift}
		if s.Shift != nil {
			change.Shift = s.shift()
		}
		changes = append(changes, change)
	}
	if len(changes) == 0 {
		return nil
	}
	return request.Preflight(ctx, changes)
}
