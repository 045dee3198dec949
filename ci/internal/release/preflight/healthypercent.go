package preflight

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
)

// checkHealthyPercent checks that ECS can replace tasks: start one before it stops
// another, or stop one before it starts another. ECS rounds the minimum up and the
// maximum down.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html
func (r *run) checkHealthyPercent(s rollout.ServiceChange) {
	config, desired := s.ECSService.DeploymentConfiguration, s.ECSService.DesiredCount
	if desired == 0 {
		desired = int32(s.Service.DesiredCount) // the first release sets it
	}
	if config == nil || desired == 0 || s.ECSService.SchedulingStrategy == types.SchedulingStrategyDaemon {
		return
	}
	if len(s.ECSService.Deployments) > 1 {
		return // a deployment is in progress or stopped half-way
	}
	minimum, maximum := int32(100), int32(200) // ECS's defaults
	if config.MinimumHealthyPercent != nil {
		minimum = *config.MinimumHealthyPercent
	}
	if config.MaximumPercent != nil {
		maximum = *config.MaximumPercent
	}
	healthy, running := (desired*minimum+99)/100, desired*maximum/100
	switch {
	case running < desired:
		r.add(usage("service %s: maximumPercent %d allows at most %d of %d desired tasks, so no deployment can complete: set maximumPercent to 200",
			s.Service.Name, maximum, running, desired))
	case s.ECSService.RunningCount > 0 && running <= desired && healthy >= desired:
		r.add(usage("service %s: minimumHealthyPercent %d and maximumPercent %d keep %d of %d tasks healthy and allow at most %d, so a deployment can neither stop nor start one: set maximumPercent to 200, or minimumHealthyPercent to 0 (aws ecs update-service --cluster %s --service %s --deployment-configuration maximumPercent=200,minimumHealthyPercent=%[2]d)",
			s.Service.Name, minimum, maximum, healthy, desired, running, s.Service.ClusterName(), aws.ToString(s.ECSService.ServiceName)))
	}
}
