package machine

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// Observation is the state of a service in ECS.
type Observation struct {
	Missing      bool
	Deployments  []types.Deployment
	DesiredCount int32
	// Status and the following fields are those of our service deployment. Status is ""
	// if it is unknown.
	Status         types.ServiceDeploymentStatus
	Reason         string
	CircuitBreaker bool     // whether it tripped
	Alarms         []string // that triggered
	Stage          string   // lifecycle stage, "" if ECS names none
	Percent        float64  // of production traffic, to the new version
	Hook           *Hook    // at which ECS waits; nil if it does not
	HookFailure    string   // describes a hook that failed or timed out
}

// Bakes reports whether all production traffic is shifted, and previous tasks may still run.
func (o Observation) Bakes() bool { return o.Stage == bakeTime || o.Stage == cleanUp }

// timed reports whether ECS waits as long as is configured, after a step or for the bake.
func (o Observation) timed() bool { return o.Stage == productionTrafficShift || o.Stage == bakeTime }

// CleansUp reports whether ECS stops the previous tasks.
func (o Observation) CleansUp() bool { return o.Stage == cleanUp }

// Primary returns the primary deployment, or nil.
func (o Observation) Primary() *types.Deployment { return Primary(o.Deployments) }

func (o Observation) deployment(id string) *types.Deployment { return Deployment(o.Deployments, id) }

// tasks returns the number of running and pending tasks of all deployments.
func (o Observation) tasks() (n int32) {
	for _, d := range o.Deployments {
		n += d.RunningCount + d.PendingCount
	}
	return n
}

// Primary returns the primary deployment, or nil.
func Primary(deployments []types.Deployment) *types.Deployment {
	return find(deployments, func(d *types.Deployment) bool { return aws.ToString(d.Status) == "PRIMARY" })
}

// Deployment returns the deployment with the given id, or nil.
func Deployment(deployments []types.Deployment, id string) *types.Deployment {
	return find(deployments, func(d *types.Deployment) bool { return aws.ToString(d.Id) == id })
}

func find(deployments []types.Deployment, match func(*types.Deployment) bool) *types.Deployment {
	for n := range deployments {
		if match(&deployments[n]) {
			return &deployments[n]
		}
	}
	return nil
}

// Complete reports whether the primary deployment is the only one and all its tasks are
// healthy: only then does ECS set COMPLETED. Endpoints without rollout states are judged
// by the counts.
func Complete(deployments []types.Deployment) bool {
	d := Primary(deployments)
	if d == nil || d.RolloutState != "" && d.RolloutState != types.DeploymentRolloutStateCompleted {
		return false
	}
	return len(deployments) == 1 && d.RunningCount == d.DesiredCount
}

// ShortARN returns the part after the last slash of an ARN or id.
func ShortARN(arn string) string { return arn[strings.LastIndex(arn, "/")+1:] }
