package preflight

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/release/rollout"
)

// checkHealthyPercent wants ECS to be able to replace tasks one way or the other: to start
// one before it stops another, or to stop one before it starts another. The least
// that must be healthy is rounded up, the most that may run is rounded down.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html
func (r *run) checkHealthyPercent(s rollout.ServiceChange) {
	config, desired := s.ECSService.DeploymentConfiguration, s.ECSService.DesiredCount
	if desired == 0 {
		desired = int32(s.Service.DesiredCount) // its first release raises it
	}
	if config == nil || desired == 0 || s.ECSService.SchedulingStrategy == types.SchedulingStrategyDaemon {
		return
	}
	if len(s.ECSService.Deployments) > 1 {
		return // on its way from one to the other, whichever may have stopped half-way
	}
	least, most := int32(100), int32(200) // ECS's own
	if config.MinimumHealthyPercent != nil {
		least = *config.MinimumHealthyPercent
	}
	if config.MaximumPercent != nil {
		most = *config.MaximumPercent
	}
	healthy, running := (desired*least+99)/100, desired*most/100
	switch {
	case running < desired:
		r.add(usage("service %s: with maximumPercent %d ECS runs at most %d of the %d tasks that it is to run, so no deployment can be complete: set maximumPercent to 200",
			s.Service.Name, most, running, desired))
	case s.ECSService.RunningCount > 0 && running <= desired && healthy >= desired:
		r.add(usage("service %s: with minimumHealthyPercent %d and maximumPercent %d ECS keeps %d of %d tasks and runs no more than %d, so a deployment can neither stop nor start any: set maximumPercent to 200, or minimumHealthyPercent to 0 (aws ecs update-service --cluster %s --service %s --deployment-configuration maximumPercent=200,minimumHealthyPercent=%[2]d)",
			s.Service.Name, least, most, healthy, desired, running, lastSegment(r.cluster), aws.ToString(s.ECSService.ServiceName)))
	}
}
