package rollout

import (
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/platform"
)

// Subject is one service that a release is about to change, as far as it can
// be known before anything is changed.
type Subject struct {
	Service platform.Service
	// Running is the ECS service as it is now.
	Running types.Service
	// Before is what is put back if the release fails.
	Before *types.TaskDefinition
	// Definition is what the service shall run. If it is registered already,
	// this is what would have been registered.
	Definition *ecs.RegisterTaskDefinitionInput
	// Image is the reference by digest that the service's container shall run.
	Image string
}
