package machine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// Verdict is the judgement of one service.
type Verdict int

// Verdicts.
const (
	Pending Verdict = iota
	Done            // the service runs what it should
	Failed          // it will not get there
)

// rolledBack reports whether a status means that ECS has left the deployment, by
// itself or because somebody asked for it.
func rolledBack(status types.ServiceDeploymentStatus) bool {
	switch status {
	case types.ServiceDeploymentStatusRollbackRequested, types.ServiceDeploymentStatusRollbackInProgress,
		types.ServiceDeploymentStatusRollbackSuccessful, types.ServiceDeploymentStatusRollbackFailed:
		return true
	}
	return false
}

// inFlight reports whether ECS still works on a service deployment.
func inFlight(status types.ServiceDeploymentStatus) bool {
	return status == types.ServiceDeploymentStatusPending || status == types.ServiceDeploymentStatusInProgress
}

// judge judges our own deployment by what is known of the release and what ECS says.
//
// The service deployment decides if the endpoint has it. A stable service is not
// enough: it is stable, too, after ECS has rolled back by itself, which is a
// failure.
func (s *service) judge(now time.Time, o Observation) (Verdict, string) {
	if o.Missing {
		return Failed, "the service was deleted during the release"
	}
	if !s.Touched() {
		return s.judgeWaiting(o)
	}
	switch {
	case rolledBack(o.Status), o.Status == types.ServiceDeploymentStatusStopRequested:
		return Failed, o.whyEnded()
	case o.Status == types.ServiceDeploymentStatusStopped:
		if foreign := s.foreign(o); foreign != "" {
			s.Superseded = foreign
			return Failed, replacedBy(foreign)
		}
		return Failed, o.whyEnded()
	case inFlight(o.Status):
		if own := o.deployment(s.OwnDeployment); own != nil && own.RolloutState == types.DeploymentRolloutStateFailed {
			return Failed, WhyFailed(own)
		}
		return Pending, ""
	}
	return s.judgeDeployments(now, o)
}

// judgeWaiting judges a service that waits for its update: nobody may deploy it
// meanwhile.
func (s *service) judgeWaiting(o Observation) (Verdict, string) {
	primary := o.Primary()
	if primary == nil || slices.Contains(s.plan.PreviousDeployments, aws.ToString(primary.Id)) {
		return Pending, ""
	}
	return Failed, fmt.Sprintf("another deployment, %s of %s, was begun while this one waited for its turn",
		aws.ToString(primary.Id), ShortARN(aws.ToString(primary.TaskDefinition)))
}

// judgeDeployments judges by the deployments of the service alone.
func (s *service) judgeDeployments(now time.Time, o Observation) (Verdict, string) {
	own, primary := o.deployment(s.OwnDeployment), o.Primary()
	foreign := s.foreign(o)
	switch {
	case own != nil && own.RolloutState == types.DeploymentRolloutStateFailed:
		return Failed, WhyFailed(own)
	case primary == nil:
		return Pending, ""
	case foreign != "" && aws.ToString(primary.TaskDefinition) == s.RestoreRevision:
		return Failed, fmt.Sprintf("the service was put back to %s while the release was under way", ShortARN(s.RestoreRevision))
	case foreign != "":
		s.Superseded = foreign
		return Failed, replacedBy(foreign)
	case s.OwnDeployment == "" || aws.ToString(primary.Id) != s.OwnDeployment: // what is read is older than what was done
		if s.ownSeen && s.contradicted(now) {
			return Failed, fmt.Sprintf("deployment %s is gone, and %s runs as before", s.OwnDeployment, ShortARN(aws.ToString(primary.TaskDefinition)))
		}
		return Pending, ""
	}
	s.contradictedSince = time.Time{}
	if Complete(o.Deployments) {
		return Done, ""
	}
	return Pending, ""
}

// foreign describes the primary deployment if it is neither ours nor one that
// was there before; "" otherwise.
func (s *service) foreign(o Observation) string {
	primary := o.Primary()
	if primary == nil || !s.Touched() {
		return ""
	}
	id := aws.ToString(primary.Id)
	if id == s.OwnDeployment || id == s.restoreID || slices.Contains(s.plan.PreviousDeployments, id) || s.OwnDeployment == "" && aws.ToString(primary.TaskDefinition) == s.plan.To.TaskDefinition {
		return ""
	}
	return fmt.Sprintf("%s of %s", id, ShortARN(aws.ToString(primary.TaskDefinition)))
}

func replacedBy(foreign string) string {
	return fmt.Sprintf("another deployment, %s, took the place of ours", foreign)
}

// judgeRestore judges whether the service is back at what ran before, and returns
// the action that it needs to get there.
func (s *service) judgeRestore(now time.Time, o Observation) (Verdict, Action, string) {
	if s.countLeftRaised(o) {
		if s.restore == Accepted {
			return s.waitForStale(now)
		}
		return Pending, Restore, ""
	}
	v, action, why := s.judgeRevision(now, o)
	if v == Done && s.plan.Count != nil && s.plan.Count.From != 0 && o.DesiredCount == 0 {
		return Pending, Restore, ""
	}
	return v, action, why
}

// countLeftRaised reports whether ECS has gone back, or is on its way, to what was before a
// first release, with the count of that release: it leaves the count. It would wait
// for tasks of an image that was never there.
func (s *service) countLeftRaised(o Observation) bool {
	primary := o.Primary()
	return s.plan.Count != nil && s.plan.Count.From == 0 && o.DesiredCount != 0 && primary != nil && aws.ToString(primary.Id) != s.OwnDeployment &&
		aws.ToString(primary.TaskDefinition) == s.RestoreRevision
}

// judgeRevision is judgeRestore as far as the revision goes.
func (s *service) judgeRevision(now time.Time, o Observation) (Verdict, Action, string) {
	if o.Missing {
		return Failed, None, "the service was deleted: there is nothing to restore"
	}
	primary := o.Primary()
	if primary == nil || o.Status == types.ServiceDeploymentStatusStopRequested ||
		o.Status == types.ServiceDeploymentStatusRollbackRequested || o.Status == types.ServiceDeploymentStatusRollbackInProgress {
		return Pending, None, "" // ECS is on its way by itself
	}
	id := aws.ToString(primary.Id)
	switch {
	case id == s.OwnDeployment && s.OwnDeployment != "":
		return s.judgeOwn(now, o)
	case aws.ToString(primary.TaskDefinition) == s.RestoreRevision:
		return s.judgePrevious(now, o, primary)
	case slices.Contains(s.plan.PreviousDeployments, id): // older than what was done
		return s.waitForStale(now)
	case o.Status == types.ServiceDeploymentStatusRollbackSuccessful, o.Status == types.ServiceDeploymentStatusRollbackFailed:
		return Pending, Restore, "" // ECS went back to something else
	}
	s.Superseded = s.foreign(o)
	return Failed, None, replacedBy(s.Superseded) + "; it is left alone"
}

// judgeOwn judges a service whose primary deployment is still ours.
func (s *service) judgeOwn(now time.Time, o Observation) (Verdict, Action, string) {
	switch {
	case s.redeploys() && !inFlight(o.Status) && (Complete(o.Deployments) || s.stillRuns(o)):
		return Done, None, "" // a forced deployment of what ran before
	case s.restoreID != "" || s.restore == Accepted: // it was restored already
		return s.waitForStale(now)
	case inFlight(o.Status) && (s.stop == NotCalled || s.stop == Unknown && s.stops < maxTries):
		return Pending, Stop, ""
	case inFlight(o.Status) && s.stop != Rejected:
		return s.waitForStale(now)
	}
	return Pending, Restore, ""
}

// stillRuns reports whether the tasks that ran before a forced deployment run on,
// because ECS has given that deployment up.
func (s *service) stillRuns(o Observation) bool {
	if o.Primary().RolloutState != types.DeploymentRolloutStateFailed {
		return false
	}
	var running int32
	for _, d := range o.Deployments {
		if aws.ToString(d.Id) != s.OwnDeployment {
			running += d.RunningCount
		}
	}
	return running >= s.plan.DesiredCount
}

// judgePrevious judges a service whose primary deployment runs what ran before. If
// it is one that was there before, and ours was not seen to have ended, the
// reading may be older than our change: then only ECS's answer to a change, or its
// status that it has rolled back, counts.
func (s *service) judgePrevious(now time.Time, o Observation, primary *types.Deployment) (Verdict, Action, string) {
	id := aws.ToString(primary.Id)
	if slices.Contains(s.plan.PreviousDeployments, id) && id != s.restoreID && o.Status != types.ServiceDeploymentStatusRollbackSuccessful {
		if s.Update == Unknown && s.OwnDeployment == "" {
			return Pending, Restore, ""
		}
		return s.waitForStale(now)
	}
	s.contradictedSince = time.Time{}
	switch {
	case !s.plan.WasComplete: // it was not complete before, either
		return Done, None, ""
	case s.ranNothing() && o.DesiredCount == 0:
		if o.tasks() > 0 {
			return Pending, None, ""
		}
		return Done, None, "" // whatever ECS made of going back to nothing
	case primary.RolloutState == types.DeploymentRolloutStateFailed:
		s.restoreID = ""
		return Pending, Restore, ""
	case Complete(o.Deployments):
		return Done, None, ""
	}
	return Pending, None, ""
}

// ranNothing reports whether the service was to run nothing before: there is no task
// to restore, and the image of what ran before need not be there.
func (s *service) ranNothing() bool {
	if s.plan.Count != nil {
		return s.plan.Count.From == 0
	}
	return s.plan.DesiredCount == 0
}

// waitForStale waits while a reading may be stale, and restores the service after.
func (s *service) waitForStale(now time.Time) (Verdict, Action, string) {
	if s.contradicted(now) {
		s.contradictedSince = time.Time{}
		return Pending, Restore, ""
	}
	return Pending, None, ""
}

// whyEnded says who or what ended our service deployment.
func (o Observation) whyEnded() string {
	var who string
	switch {
	case len(o.Alarms) > 0:
		who = "deployment alarm " + strings.Join(o.Alarms, ", ") + " went off"
	case o.CircuitBreaker:
		who = "ECS's circuit breaker tripped"
	case strings.Contains(o.Reason, "user"):
		who = "somebody stopped the deployment"
	}
	said := cmp.Or(o.Reason, fmt.Sprintf("the service deployment is %s", o.Status))
	if who == "" {
		return said
	}
	return who + ": " + said
}

// WhyFailed is the reason of a deployment that ECS has given up.
func WhyFailed(d *types.Deployment) string {
	return cmp.Or(aws.ToString(d.RolloutStateReason), "ECS marked the deployment as failed")
}
