package rollout

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/config/platform"
)

// ServiceChange is one service that a release is about to change, as far as it can
// be known before anything is changed.
type ServiceChange struct {
	Service platform.Service
	// ECSService is the ECS service as it is now.
	ECSService types.Service
	// Previous is what is put back if the release fails.
	Previous *types.TaskDefinition
	// Definition is what the service shall run. If it is registered already,
	// this is what would have been registered.
	Definition *ecs.RegisterTaskDefinitionInput
	// Image is the reference by digest that the service's container shall run.
	Image string
}

// preflight checks what is about to change, if the request asks for it.
func (e Engine) preflight(ctx context.Context, request Request, changed []*servicePlan) error {
	if request.Preflight == nil {
		return nil
	}
	var subjects []ServiceChange
	for _, s := range changed {
		if s.scalesToZero() {
			continue // its image need not be there
		}
		definition := s.definition
		if definition == nil {
			template, _, err := e.definition(ctx, s.To.TaskDefinition)
			if err != nil {
				return err
			}
			definition = registerInput(*template)
		}
		subjects = append(subjects, ServiceChange{Service: s.target.Service, ECSService: s.service, Previous: s.previous, Definition: definition, Image: s.To.Image})
	}
	if len(subjects) == 0 {
		return nil
	}
	return request.Preflight(ctx, subjects)
}
