package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// verdict is what is known of one service's way.
type verdict int

const (
	pending verdict = iota // wait
	arrived                // done: the service runs what it should
	broken                 // it will not arrive any more
)

// rolledBack tells whether a status means that ECS has left the deployment, by
// itself or because somebody asked for it.
func rolledBack(status types.ServiceDeploymentStatus) bool {
	switch status {
	case types.ServiceDeploymentStatusRollbackRequested, types.ServiceDeploymentStatusRollbackInProgress,
		types.ServiceDeploymentStatusRollbackSuccessful, types.ServiceDeploymentStatusRollbackFailed:
		return true
	}
	return false
}

// inFlight tells whether ECS still works on a service deployment.
func inFlight(status types.ServiceDeploymentStatus) bool {
	return status == types.ServiceDeploymentStatusPending || status == types.ServiceDeploymentStatusInProgress
}

// judge tells whether our own deployment has arrived. It depends on nothing but
// what is known of the release and what ECS says.
//
// The service deployment decides where the endpoint has it. A service that is
// stable is not enough: it is stable, too, after ECS has rolled back by
// itself, which is a failure.
func (m *move) judge(now time.Time, o observation) (verdict, string) {
	if o.missing {
		return broken, "the service was deleted during the release"
	}
	if !m.touched() {
		return m.judgeWaiting(o)
	}
	switch {
	case rolledBack(o.status), o.status == types.ServiceDeploymentStatusStopRequested:
		return broken, o.whyEnded()
	case o.status == types.ServiceDeploymentStatusStopped:
		if foreign := m.foreign(o); foreign != "" {
			m.superseded = foreign
			return broken, tookOver(foreign)
		}
		return broken, o.whyEnded()
	case inFlight(o.status):
		if own := o.deployment(m.own); own != nil && own.RolloutState == types.DeploymentRolloutStateFailed {
			return broken, whyFailed(own)
		}
		return pending, ""
	}
	return m.judgeDeployments(now, o)
}

// judgeWaiting judges a service that waits for its update: nobody may deploy it
// meanwhile.
func (m *move) judgeWaiting(o observation) (verdict, string) {
	primary := o.primary()
	if primary == nil || slices.Contains(m.before, aws.ToString(primary.Id)) {
		return pending, ""
	}
	return broken, fmt.Sprintf("another deployment, %s of %s, was begun while this one waited for its turn",
		aws.ToString(primary.Id), afterSlash(aws.ToString(primary.TaskDefinition)))
}

// judgeDeployments judges by the deployments of the service alone.
func (m *move) judgeDeployments(now time.Time, o observation) (verdict, string) {
	own, primary := o.deployment(m.own), o.primary()
	foreign := m.foreign(o)
	switch {
	case own != nil && own.RolloutState == types.DeploymentRolloutStateFailed:
		return broken, whyFailed(own)
	case primary == nil:
		return pending, ""
	case foreign != "" && aws.ToString(primary.TaskDefinition) == m.from.TaskDefinition:
		return broken, fmt.Sprintf("the service was put back to %s while the release was under way", afterSlash(m.from.TaskDefinition))
	case foreign != "":
		m.superseded = foreign
		return broken, tookOver(foreign)
	case m.own == "" || aws.ToString(primary.Id) != m.own: // what is read is older than what was done
		if m.ownSeen && m.doubt(now) {
			return broken, fmt.Sprintf("deployment %s is gone, and %s runs as before", m.own, afterSlash(aws.ToString(primary.TaskDefinition)))
		}
		return pending, ""
	}
	m.doubtful = time.Time{}
	if complete(o, primary) {
		return arrived, ""
	}
	return pending, ""
}

// foreign describes the primary deployment if it is neither ours nor one that
// was there before; "" otherwise.
func (m *move) foreign(o observation) string {
	primary := o.primary()
	if primary == nil || !m.touched() {
		return ""
	}
	id := aws.ToString(primary.Id)
	if id == m.own || id == m.back || slices.Contains(m.before, id) || m.own == "" && aws.ToString(primary.TaskDefinition) == m.to.TaskDefinition {
		return ""
	}
	return fmt.Sprintf("%s of %s", id, afterSlash(aws.ToString(primary.TaskDefinition)))
}

func tookOver(foreign string) string {
	return fmt.Sprintf("another deployment, %s, took the place of ours", foreign)
}

// judgeBack tells whether the service is back at what ran before, and what it
// needs to get there.
func (m *move) judgeBack(now time.Time, o observation) (verdict, need, string) {
	if m.leftRaised(o) {
		if m.putBack == taken {
			return m.late(now)
		}
		return pending, putBack, ""
	}
	v, wanted, why := m.judgeRevision(now, o)
	if v == arrived && m.count != nil && m.count.from != 0 && o.desired == 0 {
		return pending, putBack, ""
	}
	return v, wanted, why
}

// leftRaised tells whether ECS has gone back, or is on its way, to what was before a
// first release, with the count of that release: it leaves the count. It would wait
// for tasks of an image that was never there.
func (m *move) leftRaised(o observation) bool {
	primary := o.primary()
	return m.count != nil && m.count.from == 0 && o.desired != 0 && primary != nil && aws.ToString(primary.Id) != m.own &&
		aws.ToString(primary.TaskDefinition) == m.from.TaskDefinition
}

// judgeRevision is judgeBack as far as the revision goes.
func (m *move) judgeRevision(now time.Time, o observation) (verdict, need, string) {
	if o.missing {
		return broken, nothing, "the service was deleted: there is nothing to restore"
	}
	primary := o.primary()
	if primary == nil || o.status == types.ServiceDeploymentStatusStopRequested ||
		o.status == types.ServiceDeploymentStatusRollbackRequested || o.status == types.ServiceDeploymentStatusRollbackInProgress {
		return pending, nothing, "" // ECS is on its way by itself
	}
	id := aws.ToString(primary.Id)
	switch {
	case id == m.own && m.own != "":
		return m.judgeOwn(now, o)
	case aws.ToString(primary.TaskDefinition) == m.from.TaskDefinition:
		return m.judgeOrigin(now, o, primary)
	case slices.Contains(m.before, id): // older than what was done
		return m.late(now)
	case o.status == types.ServiceDeploymentStatusRollbackSuccessful, o.status == types.ServiceDeploymentStatusRollbackFailed:
		return pending, putBack, "" // ECS went back to something else
	}
	m.superseded = m.foreign(o)
	return broken, nothing, tookOver(m.superseded) + "; it is left alone"
}

// judgeOwn judges a service whose primary deployment is still ours.
func (m *move) judgeOwn(now time.Time, o observation) (verdict, need, string) {
	switch {
	case m.to.TaskDefinition == m.from.TaskDefinition && !inFlight(o.status) && (complete(o, o.primary()) || m.stillRuns(o)):
		return arrived, nothing, "" // a forced deployment of what ran before
	case m.back != "" || m.putBack == taken: // we have turned it round already
		return m.late(now)
	case inFlight(o.status) && (m.stop == unasked || m.stop == lost && m.stops < maxTries):
		return pending, stopOwn, ""
	case inFlight(o.status) && m.stop != refused:
		return m.late(now)
	}
	return pending, putBack, ""
}

// stillRuns tells whether the tasks that ran before a forced deployment run on,
// because ECS has given that deployment up.
func (m *move) stillRuns(o observation) bool {
	if o.primary().RolloutState != types.DeploymentRolloutStateFailed {
		return false
	}
	var running int32
	for _, d := range o.deployments {
		if aws.ToString(d.Id) != m.own {
			running += d.RunningCount
		}
	}
	return running >= m.service.DesiredCount
}

// judgeOrigin judges a service whose primary deployment runs what ran before. If
// it is one that was there before, and ours was not seen to have ended, the
// reading may be older than our change: then only ECS's answer to a change, or
// its word that it has rolled back, is believed.
func (m *move) judgeOrigin(now time.Time, o observation, primary *types.Deployment) (verdict, need, string) {
	id := aws.ToString(primary.Id)
	if slices.Contains(m.before, id) && id != m.back && o.status != types.ServiceDeploymentStatusRollbackSuccessful {
		if m.update == lost && m.own == "" {
			return pending, putBack, ""
		}
		return m.late(now)
	}
	m.doubtful = time.Time{}
	switch {
	case !m.settled: // it was not complete before, either
		return arrived, nothing, ""
	case m.ranNothing() && o.desired == 0:
		if o.tasks() > 0 {
			return pending, nothing, ""
		}
		return arrived, nothing, "" // whatever ECS made of going back to nothing
	case primary.RolloutState == types.DeploymentRolloutStateFailed:
		m.back = ""
		return pending, putBack, ""
	case complete(o, primary):
		return arrived, nothing, ""
	}
	return pending, nothing, ""
}

// ranNothing tells whether the service was to run nothing before: there is no task
// to restore, and the image of what ran before need not be there.
func (m *move) ranNothing() bool {
	if m.count != nil {
		return m.count.from == 0
	}
	return m.service.DesiredCount == 0
}

// late waits while a reading may be late, and wants the service put back after.
func (m *move) late(now time.Time) (verdict, need, string) {
	if m.doubt(now) {
		m.doubtful = time.Time{}
		return pending, putBack, ""
	}
	return pending, nothing, ""
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

// whyEnded says who or what ended our service deployment.
func (o observation) whyEnded() string {
	var who string
	switch {
	case len(o.alarms) > 0:
		who = "deployment alarm " + strings.Join(o.alarms, ", ") + " went off"
	case o.breaker:
		who = "ECS's circuit breaker tripped"
	case strings.Contains(o.reason, "user"):
		who = "somebody stopped the deployment"
	}
	said := cmp.Or(o.reason, fmt.Sprintf("the service deployment is %s", o.status))
	if who == "" {
		return said
	}
	return who + ": " + said
}

func whyFailed(d *types.Deployment) string {
	return cmp.Or(aws.ToString(d.RolloutStateReason), "ECS marked the deployment as failed")
}
