package machine

import (
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// Observation is what ECS says of one service at one moment.
type Observation struct {
	Missing      bool
	Deployments  []types.Deployment
	DesiredCount int32
	// Status and what follows are those of our service deployment; Status is
	// empty if the endpoint does not know it (yet).
	Status         types.ServiceDeploymentStatus
	Reason         string
	CircuitBreaker bool     // it has tripped
	Alarms         []string // that went off
}

// Primary is the deployment that ECS works towards.
func (o Observation) Primary() *types.Deployment { return Primary(o.Deployments) }

func (o Observation) deployment(id string) *types.Deployment { return Deployment(o.Deployments, id) }

// tasks counts the tasks of all deployments that run or are about to.
func (o Observation) tasks() (n int32) {
	for _, d := range o.Deployments {
		n += d.RunningCount + d.PendingCount
	}
	return n
}

// Primary returns the primary one of a service's deployments, or nil.
func Primary(deployments []types.Deployment) *types.Deployment {
	return find(deployments, func(d types.Deployment) bool { return aws.ToString(d.Status) == "PRIMARY" })
}

// Deployment returns the one with the given id, or nil.
func Deployment(deployments []types.Deployment, id string) *types.Deployment {
	return find(deployments, func(d types.Deployment) bool { return aws.ToString(d.Id) == id })
}

func find(deployments []types.Deployment, match func(types.Deployment) bool) *types.Deployment {
	if n := slices.IndexFunc(deployments, match); n >= 0 {
		return &deployments[n]
	}
	return nil
}

// Complete reports whether the primary deployment is the only one left and has all
// its tasks, healthy ones: ECS sets COMPLETED only then. Endpoints without rollout
// states are judged by the counts.
func Complete(deployments []types.Deployment) bool {
	d := Primary(deployments)
	if d == nil || d.RolloutState != "" && d.RolloutState != types.DeploymentRolloutStateCompleted {
		return false
	}
	return len(deployments) == 1 && d.RunningCount == d.DesiredCount
}

// ShortARN is what follows the last slash of an ARN or id.
func ShortARN(arn string) string { return arn[strings.LastIndex(arn, "/")+1:] }
