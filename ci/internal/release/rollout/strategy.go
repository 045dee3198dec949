package rollout

import (
	"cmp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/report/outcome"
)

// strategyOf returns the deployment strategy of a service, "" for ROLLING.
func strategyOf(s types.Service) string {
	strategy := types.DeploymentStrategyRolling
	if s.DeploymentConfiguration != nil {
		strategy = cmp.Or(s.DeploymentConfiguration.Strategy, strategy)
	}
	if strategy == types.DeploymentStrategyRolling {
		return ""
	}
	return string(strategy)
}

// checkStrategy refuses a service whose deployments the state machine would misjudge:
// those that shift traffic in steps or bake keep old tasks long after the new ones are
// healthy, and a lifecycle hook may pause a deployment indefinitely.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html
func checkStrategy(s types.Service) error {
	name := aws.ToString(s.ServiceName)
	if strategy := strategyOf(s); strategy != "" {
		return outcome.Refusedf("service %s has the deployment strategy %s: slipway supports rolling updates only: set strategy to ROLLING in its deployment configuration, or deploy it with another tool", name, strategy)
	}
	if s.DeploymentConfiguration == nil || len(s.DeploymentConfiguration.LifecycleHooks) == 0 {
		return nil
	}
	hook := s.DeploymentConfiguration.LifecycleHooks[0]
	return outcome.Refusedf("service %s has a deployment lifecycle hook (%s): slipway supports rolling updates without hooks only: remove the hooks from its deployment configuration, or deploy it with another tool",
		name, cmp.Or(aws.ToString(hook.HookTargetArn), string(hook.TargetType), "without target"))
}
