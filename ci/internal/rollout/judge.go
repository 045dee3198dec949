package rollout

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// verdict is what an observation means for one service.
type verdict int

const (
	pending    verdict = iota // wait
	arrived                   // done: the service runs what it should
	broken                    // it will not arrive any more
	undirected                // nothing is on its way there: ask again
)

// judge tells whether our own deployment has arrived. It is a pure function of
// what is known of the release and what ECS says.
//
// The service deployment decides where the endpoint has it. A service that is
// stable is not enough: it is stable, too, after ECS has rolled back by
// itself, which is a failure.
func (m *move) judge(o observation) (verdict, string) {
	if o.missing {
		return broken, "the service was deleted during the release"
	}
	switch o.status {
	case types.ServiceDeploymentStatusSuccessful:
		return m.judgePrimary(o)
	case types.ServiceDeploymentStatusStopped, types.ServiceDeploymentStatusStopRequested,
		types.ServiceDeploymentStatusRollbackRequested, types.ServiceDeploymentStatusRollbackInProgress,
		types.ServiceDeploymentStatusRollbackSuccessful, types.ServiceDeploymentStatusRollbackFailed:
		return broken, describeEnd(o)
	}
	if own := o.deployment(m.own); own != nil && own.RolloutState == types.DeploymentRolloutStateFailed {
		return broken, cmp.Or(aws.ToString(own.RolloutStateReason), "ECS marked the deployment as failed")
	}
	if o.status != "" {
		return pending, ""
	}
	return m.judgePrimary(o)
}

// judgePrimary judges by the deployments of the service alone.
func (m *move) judgePrimary(o observation) (verdict, string) {
	primary := o.primary()
	switch {
	case primary == nil, slices.Contains(m.before, aws.ToString(primary.Id)):
		return pending, "" // what we read is older than what we did
	case aws.ToString(primary.Id) != m.own:
		return broken, fmt.Sprintf("another deployment, %s of %s, took the place of ours", aws.ToString(primary.Id), aws.ToString(primary.TaskDefinition))
	case complete(o, primary):
		return arrived, ""
	}
	return pending, ""
}

// judgeRestored tells whether the service is back at what ran before.
func (m *move) judgeRestored(o observation) (verdict, string) {
	if o.missing {
		return broken, "the service was deleted: there is nothing to restore"
	}
	primary := o.primary()
	switch {
	case primary == nil:
		return pending, ""
	case aws.ToString(primary.TaskDefinition) == m.from.TaskDefinition:
		if primary.RolloutState == types.DeploymentRolloutStateFailed {
			return undirected, "the deployment of what ran before failed: " + aws.ToString(primary.RolloutStateReason)
		}
		if complete(o, primary) {
			return arrived, ""
		}
		return pending, ""
	case o.status == types.ServiceDeploymentStatusRollbackRequested, o.status == types.ServiceDeploymentStatusRollbackInProgress:
		return pending, "" // ECS is on its way by itself
	}
	return undirected, ""
}

// complete tells whether the deployment is the only one left and has all its
// tasks, healthy ones: ECS sets COMPLETED only then. Endpoints without rollout
// states are judged by the counts.
func complete(o observation, d *types.Deployment) bool {
	if d.RolloutState != "" && d.RolloutState != types.DeploymentRolloutStateCompleted {
		return false
	}
	return len(o.deployments) == 1 && d.RunningCount == d.DesiredCount
}

func describeEnd(o observation) string {
	return cmp.Or(o.reason, fmt.Sprintf("the service deployment is %s", o.status))
}
