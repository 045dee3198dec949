package preflight

import (
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
)

// checkDependencies checks that each container that another one waits for can reach the
// condition. A health check of the image does not count for ECS.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDependency.html
func (r *run) checkDependencies(s rollout.ServiceChange) {
	if s.Definition == nil {
		return
	}
	for _, c := range s.Definition.ContainerDefinitions {
		for _, dependency := range c.DependsOn {
			name, on := aws.ToString(c.Name), aws.ToString(dependency.ContainerName)
			n := slices.IndexFunc(s.Definition.ContainerDefinitions, func(other types.ContainerDefinition) bool { return aws.ToString(other.Name) == on })
			switch {
			case n < 0:
				r.add(usage("service %s: container %s depends on container %s, which is not in the task definition: correct dependsOn", s.Service.Name, name, on))
			case dependency.Condition == types.ContainerConditionHealthy && !hasHealthCheck(s.Definition.ContainerDefinitions[n]):
				r.add(usage("service %s: container %s waits until container %s is HEALTHY, which has no healthCheck in the task definition: give it one, or wait for START", s.Service.Name, name, on))
			}
		}
	}
}

func hasHealthCheck(c types.ContainerDefinition) bool {
	return c.HealthCheck != nil && !slices.Equal(c.HealthCheck.Command, []string{"NONE"})
}
