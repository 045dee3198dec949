package rollout

import (
	"cmp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/report/outcome"
)

// strategyOf is how ECS deploys a service, "" for a rolling update.
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

// checkStrategy refuses a service whose deployments would be misjudged: those that shift
// traffic in steps or bake run other tasks beside the new ones long after these
// are healthy, and a lifecycle hook stops one for as long as it likes.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html
func checkStrategy(s types.Service) error {
	name := aws.ToString(s.ServiceName)
	if strategy := strategyOf(s); strategy != "" {
		return outcome.Refusedf("service %s has the deployment strategy %s: slipway drives rolling updates only: set strategy to ROLLING in its deployment configuration, or deploy it with what drives that strategy", name, strategy)
	}
	if s.DeploymentConfiguration == nil || len(s.DeploymentConfiguration.LifecycleHooks) == 0 {
		return nil
	}
	hook := s.DeploymentConfiguration.LifecycleHooks[0]
	return outcome.Refusedf("service %s has a deployment lifecycle hook (%s): slipway drives rolling updates without hooks only: take the hooks out of its deployment configuration, or deploy it with what answers them",
		name, cmp.Or(aws.ToString(hook.HookTargetArn), string(hook.TargetType), "of no target"))
}
