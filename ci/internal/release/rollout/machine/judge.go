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

// Verdict is the state of a service's update or restore.
type Verdict int

// Verdicts.
const (
	Pending Verdict = iota
	Done            // the service runs the wanted version
	Failed          // it will not run it
)

// RolledBack reports whether ECS has rolled our deployment back or is doing so, by itself
// or on request.
func (o Observation) RolledBack() bool {
	switch o.Status {
	case types.ServiceDeploymentStatusRollbackRequested, types.ServiceDeploymentStatusRollbackInProgress,
		types.ServiceDeploymentStatusRollbackSuccessful, types.ServiceDeploymentStatusRollbackFailed:
		return true
	}
	return false
}

// inFlight reports whether a service deployment is in progress.
func inFlight(status types.ServiceDeploymentStatus) bool {
	return status == types.ServiceDeploymentStatusPending || status == types.ServiceDeploymentStatusInProgress
}

// judge returns the verdict on our own deployment.
//
// The service deployment decides if the endpoint supports it. That the service is stable
// is not enough: it is also stable after ECS has rolled back by itself, which is a
// failure.
func (s *service) judge(now time.Time, o Observation) (Verdict, string) {
	if o.Missing {
		return Failed, "the service was deleted during the release"
	}
	if !s.Touched() {
		return s.judgeWaiting(now, o)
	}
	switch {
	case o.RolledBack(), o.Status == types.ServiceDeploymentStatusStopRequested:
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
	case o.Status == types.ServiceDeploymentStatusSuccessful && s.ownIsPrimary(o):
		return Done, "" // whatever tasks still drain
	}
	return s.judgeDeployments(now, o)
}

func (s *service) ownIsPrimary(o Observation) bool {
	primary := o.Primary()
	return primary != nil && aws.ToString(primary.Id) == s.OwnDeployment
}

// judgeWaiting judges a service that waits for its update: nobody else may deploy it, but
// another process of the same release.
func (s *service) judgeWaiting(now time.Time, o Observation) (Verdict, string) {
	primary := o.Primary()
	if primary == nil || slices.Contains(s.plan.PreviousDeployments, aws.ToString(primary.Id)) {
		return Pending, ""
	}
	if aws.ToString(primary.TaskDefinition) == s.plan.To.TaskDefinition && !s.redeploys() {
		s.Update, s.OwnDeployment, s.ownSeen, s.Started = Accepted, aws.ToString(primary.Id), true, now
		return Pending, ""
	}
	return Failed, fmt.Sprintf("another deployment, %s of %s, started while this one waited",
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
		return Failed, fmt.Sprintf("the service was changed back to %s during the release", ShortARN(s.RestoreRevision))
	case foreign != "":
		s.Superseded = foreign
		return Failed, replacedBy(foreign)
	case s.OwnDeployment == "" || aws.ToString(primary.Id) != s.OwnDeployment: // the observation is stale
		if s.ownSeen && s.contradicted(now) {
			return Failed, fmt.Sprintf("deployment %s no longer exists, and %s runs as before", s.OwnDeployment, ShortARN(aws.ToString(primary.TaskDefinition)))
		}
		return Pending, ""
	}
	s.contradictedSince = time.Time{}
	if Complete(o.Deployments) {
		return Done, ""
	}
	return Pending, ""
}

// foreign describes the primary deployment if it is neither our own nor from before the
// release; "" otherwise.
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
	return fmt.Sprintf("another deployment, %s, replaced this one", foreign)
}

// judgeRestore returns the verdict on the restore and the action that it needs.
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

// countLeftRaised reports whether ECS has rolled back a first release, or is doing so,
// with the desired count of that release. ECS does not reset the count, and would wait
// for tasks of an image that never existed.
func (s *service) countLeftRaised(o Observation) bool {
	primary := o.Primary()
	return s.plan.Count != nil && s.plan.Count.From == 0 && o.DesiredCount != 0 && primary != nil && aws.ToString(primary.Id) != s.OwnDeployment &&
		aws.ToString(primary.TaskDefinition) == s.RestoreRevision
}

// judgeRevision is judgeRestore without the desired count.
func (s *service) judgeRevision(now time.Time, o Observation) (Verdict, Action, string) {
	if o.Missing {
		return Failed, None, "the service was deleted and cannot be restored"
	}
	primary := o.Primary()
	if primary == nil || o.Status == types.ServiceDeploymentStatusStopRequested ||
		o.Status == types.ServiceDeploymentStatusRollbackRequested || o.Status == types.ServiceDeploymentStatusRollbackInProgress {
		return Pending, None, "" // ECS is rolling back
	}
	id := aws.ToString(primary.Id)
	switch {
	case id == s.OwnDeployment && s.OwnDeployment != "":
		return s.judgeOwn(now, o)
	case aws.ToString(primary.TaskDefinition) == s.RestoreRevision:
		return s.judgePrevious(now, o, primary)
	case slices.Contains(s.plan.PreviousDeployments, id): // a stale observation
		return s.waitForStale(now)
	case o.Status == types.ServiceDeploymentStatusRollbackSuccessful, o.Status == types.ServiceDeploymentStatusRollbackFailed:
		return Pending, Restore, "" // ECS rolled back to another revision
	}
	s.Superseded = s.foreign(o)
	return Failed, None, replacedBy(s.Superseded) + "; it is not changed"
}

// judgeOwn judges a restore while our own deployment is the primary one.
func (s *service) judgeOwn(now time.Time, o Observation) (Verdict, Action, string) {
	switch {
	case s.redeploys() && !inFlight(o.Status) && (Complete(o.Deployments) || s.stillRuns(o)):
		return Done, None, "" // a forced deployment of the previous revision
	case s.restoreID != "" || s.restore == Accepted: // the restore was accepted
		return s.waitForStale(now)
	case inFlight(o.Status) && (s.stop == NotCalled || s.stop == Unknown && s.stops < maxTries):
		return Pending, Stop, ""
	case inFlight(o.Status) && s.stop != Rejected:
		return s.waitForStale(now)
	}
	return Pending, Restore, ""
}

// stillRuns reports whether the tasks from before a forced deployment still run, because
// ECS has given that deployment up.
func (s *service) stillRuns(o Observation) bool {
	if o.Primary().RolloutState != types.DeploymentRolloutStateFailed {
		return false
	}
	return s.otherTasks(o) >= s.plan.DesiredCount
}

// otherTasks returns the number of running tasks of all deployments but our own.
func (s *service) otherTasks(o Observation) (running int32) {
	for _, d := range o.Deployments {
		if aws.ToString(d.Id) != s.OwnDeployment {
			running += d.RunningCount
		}
	}
	return running
}

// judgePrevious judges a restore while the primary deployment runs the previous revision.
// If it is one from before the release, the observation may be stale: then only the
// response to a command, or a status of ROLLBACK_SUCCESSFUL, counts.
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
	case !s.plan.WasComplete: // it was not complete before the release
		return Done, None, ""
	case s.ranNothing() && o.DesiredCount == 0:
		if o.tasks() > 0 {
			return Pending, None, ""
		}
		return Done, None, "" // whatever the state of the deployment
	case primary.RolloutState == types.DeploymentRolloutStateFailed:
		s.restoreID = ""
		return Pending, Restore, ""
	case Complete(o.Deployments):
		return Done, None, ""
	case s.plan.Shift != nil && s.restore == NotCalled && o.Status == types.ServiceDeploymentStatusStopped:
		return Pending, Restore, "" // somebody's deployment, which may wait at the release's hooks
	}
	return Pending, None, ""
}

// ranNothing reports whether the service ran no task before the release. Then no task has
// to be restored, and the previous image need not exist.
func (s *service) ranNothing() bool {
	if s.plan.Count != nil {
		return s.plan.Count.From == 0
	}
	return s.plan.DesiredCount == 0
}

// waitForStale waits while an observation may be stale, and then restores.
func (s *service) waitForStale(now time.Time) (Verdict, Action, string) {
	if s.contradicted(now) {
		s.contradictedSince = time.Time{}
		return Pending, Restore, ""
	}
	return Pending, None, ""
}

// whyEnded returns the reason why our service deployment ended.
func (o Observation) whyEnded() string {
	var by string
	switch {
	case len(o.Alarms) > 0:
		by = "deployment alarm " + strings.Join(o.Alarms, ", ") + " triggered"
	case o.CircuitBreaker:
		by = "ECS's circuit breaker tripped"
	case o.HookFailure != "":
		by = o.HookFailure
	case strings.Contains(o.Reason, "user"):
		by = "a user stopped the deployment"
	}
	reason := cmp.Or(o.Reason, fmt.Sprintf("the service deployment is %s", o.Status))
	if by == "" {
		return reason
	}
	return by + ": " + reason
}

// WhyFailed returns the reason why ECS gave a deployment up.
func WhyFailed(d *types.Deployment) string {
	return cmp.Or(aws.ToString(d.RolloutStateReason), "ECS marked the deployment as failed")
}
