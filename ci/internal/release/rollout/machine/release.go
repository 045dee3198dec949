// Package machine is the state machine of a release whose revisions are
// registered: pure decisions, without clock, network or goroutine. It is given
// what ECS answers and what can be read of the services, and says what to do next.
//
// A service's [Plan] never changes, and its [Progress] is changed by the machine
// alone.
package machine

import (
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/report"
)

// Stage is the state of a release.
type Stage int

// Stages, in the order of a release that has to be restored.
const (
	Updating  Stage = iota // towards the new version
	Verifying              // all services run it: does it work?
	Restoring              // towards what ran before
	Finished
)

// Release is the state machine of a release.
type Release struct {
	services []*service
	options  Options
	stage    Stage
	since    time.Time // when the stage began
	cause    error     // why the release began to restore
	readAt   time.Time // when ECS could be read last
	changed  time.Time // when something was seen to change
	seen     string    // fingerprint of the last observation
	events   []Event   // not yet reported
}

// Options are those of a whole release.
type Options struct {
	Timeout, RestoreTimeout time.Duration // of the way to the new version, and back
	Verify                  bool          // whether to verify before the release is finished
}

// Event is something that happened, for people; Service is "" for the release as
// a whole.
type Event struct{ Service, Text string }

// Action is a change of a service.
type Action int

// Actions.
const (
	None    Action = iota
	Update         // UpdateService to the new version
	Stop           // StopServiceDeployment of our deployment
	Restore        // UpdateService to what ran before
)

// Command is one change to make.
type Command struct {
	Action  Action
	Service int // index of the service's plan
	// Deployment is the id of ours, for Stop.
	Deployment string
	// For Update and Restore:
	Revision     string
	Force        bool
	DesiredCount *int32 // nil leaves it
}

// CallStatus is what is known of a call that changes something.
type CallStatus int

// Statuses of calls.
const (
	NotCalled CallStatus = iota
	Accepted
	Unknown   // no answer came, or one that does not say: it may have been accepted
	Rejected  // nothing was changed
	Throttled // nothing was changed, and it may be called again
)

// Response is the result of an order.
type Response struct {
	Status CallStatus
	// Deployments are the service's, as ECS answered: unlike what is read, that is
	// never older than the order.
	Deployments []types.Deployment
	Err         error
	Denied      bool // Err says that the role may not, or that there is nothing to restore
	// Copy is the ARN of a copy of what ran before, registered because the original
	// was deregistered; "" otherwise.
	Copy string
}

// maxUnreadable is how long ECS may stay unreadable before a release is restored.
const maxUnreadable = 2 * time.Minute

// Limits on calling again.
const (
	maxTries  = 3 // a call whose answer was lost
	maxDenied = 5 // restoring without permission; IAM is eventually consistent
)

// errTimeout is the cause of a release that took too long.
var errTimeout = errors.New("not complete within the time limit")

// New starts a release. Services are referred to by the index of their plan.
func New(plans []Plan, options Options, now time.Time) *Release {
	r := &Release{options: options, since: now, readAt: now, changed: now}
	for _, plan := range plans {
		r.services = append(r.services, newService(plan))
	}
	return r
}

// Stage is the state that the release is in.
func (r *Release) Stage() Stage { return r.stage }

// Cause is why the release began to restore, or nil.
func (r *Release) Cause() error { return r.cause }

// Progress is a copy of a service's progress.
func (r *Release) Progress(n int) Progress { return r.services[n].Progress }

// Commands returns the changes to make now, at most limit of them. The others stay due.
func (r *Release) Commands(limit int) []Command {
	var orders []Command
	for n, s := range r.services {
		action := r.dueAction(s)
		if action != None && len(orders) == limit {
			break
		}
		if action != None {
			orders = append(orders, s.command(action, n))
		}
		s.action = None
	}
	return orders
}

// dueAction is the change that a service needs now.
func (r *Release) dueAction(s *service) Action {
	switch {
	case s.Verdict != Pending:
	case r.stage == Updating && (s.Update == NotCalled || s.Update == Unknown && s.OwnDeployment == "" && s.action == Update):
		return Update
	case r.stage == Restoring:
		return s.action
	}
	return None
}

func (s *service) command(action Action, n int) Command {
	o := Command{Action: action, Service: n, Deployment: s.OwnDeployment}
	switch action {
	case Update:
		o.Revision, o.Force = s.plan.To.TaskDefinition, s.redeploys()
		if s.plan.Count != nil {
			o.DesiredCount = &s.plan.Count.To
		}
	case Restore:
		o.Revision = s.RestoreRevision
		if s.plan.Count != nil {
			o.DesiredCount = &s.plan.Count.From
		}
	}
	return o
}

// HandleResponses is called with the answers to orders that were given together: only when
// all are known can it be said what was touched.
func (r *Release) HandleResponses(orders []Command, answers []Response, now time.Time) {
	r.changed = now
	var failure error
	for n, o := range orders {
		s := r.services[o.Service]
		switch o.Action {
		case Update:
			r.handleUpdate(s, answers[n], now)
			if s.Verdict == Failed && failure == nil {
				failure = fmt.Errorf("%s: %w", s.plan.Name, s.Err)
			}
		case Stop:
			r.handleStop(s, answers[n])
		case Restore:
			r.handleRestore(s, answers[n])
		}
	}
	if failure != nil {
		r.restore(failure, now)
	}
}

func (r *Release) handleUpdate(s *service, a Response, now time.Time) {
	if a.Status == Throttled {
		if !s.throttled {
			r.report(s, "waiting: ECS takes no more updates for now")
		}
		s.throttled = true
		return
	}
	if s.updates++; s.updates == 1 {
		s.Started = now
	}
	switch {
	case a.Status == Rejected && s.Update == Unknown: // the first try may have been accepted
	default:
		s.Update = a.Status
	}
	switch a.Status {
	case Accepted:
		s.findOwn(Observation{Deployments: a.Deployments}, true)
		if s.OwnDeployment == "" {
			// ECS made no deployment of the change: the service ran the revision already.
			s.findOwnUnchanged(a.Deployments)
		}
		r.report(s, "deployment "+s.OwnDeployment+" started")
	case Unknown:
		r.report(s, "no answer to the update: "+a.Err.Error())
		if s.updates >= maxTries {
			s.fail(fmt.Sprintf("updating service %s: %s", s.plan.ECSName, a.Err))
		}
	case Rejected:
		s.fail(fmt.Sprintf("updating service %s: %s", s.plan.ECSName, a.Err))
		s.finish(now)
	}
}

func (r *Release) handleStop(s *service, a Response) {
	if s.stop = a.Status; a.Status == Throttled {
		s.stop = Unknown // called again, but not for ever: there is another way back
	}
	s.contradictedSince = time.Time{}
	s.stops++
	if a.Status != Accepted {
		r.report(s, "ECS was not made to roll back: "+a.Err.Error())
	}
}

func (r *Release) handleRestore(s *service, a Response) {
	if a.Copy != "" {
		s.RestoreRevision = a.Copy
	}
	s.restore = a.Status
	s.contradictedSince = time.Time{}
	if a.Status == Accepted {
		if primary := Primary(a.Deployments); primary != nil {
			s.restoreID = aws.ToString(primary.Id)
		}
		return
	}
	r.report(s, "could not turn back, trying again: "+a.Err.Error())
	if a.Denied {
		s.denied++
	}
	if s.denied >= maxDenied {
		r.failRestore(s, a.Err)
	}
}

// restore begins to restore every service that was touched.
func (r *Release) restore(cause error, now time.Time) {
	if r.stage == Restoring || r.stage == Finished {
		return
	}
	r.stage, r.cause, r.since, r.changed, r.seen = Restoring, cause, now, now, ""
	for _, s := range r.services {
		s.Verdict, s.action, s.contradictedSince = Pending, None, time.Time{}
		s.UpdateProblem, s.Problem = s.Problem, ""
	}
	touched := 0
	for _, s := range r.services {
		switch {
		case !s.Touched():
			s.Verdict = Done
		case s.plan.Irreversible:
			r.failRestore(s, errors.New("what it replaced was in progress: there is nothing known good to go back to"))
			touched++
		default:
			touched++
			r.report(s, "putting back "+s.plan.From.Short())
		}
	}
	if touched > 0 {
		r.events = append(r.events, Event{"", "restoring: " + cause.Error()})
	}
	r.finishRestore()
}

// Interrupt is called when somebody wants the release to end.
func (r *Release) Interrupt(cause error, now time.Time) { r.restore(cause, now) }

// Verified is called with the result of verifying the new version.
func (r *Release) Verified(err error, now time.Time) {
	if err != nil {
		r.restore(fmt.Errorf("verifying the release: %w", err), now)
		return
	}
	r.stage = Finished
}

// Unreadable is called when ECS could not be read.
func (r *Release) Unreadable(err error, now time.Time) {
	if r.stage == Updating && now.Sub(r.readAt) > maxUnreadable {
		r.restore(fmt.Errorf("losing sight of the services for %s: %w", maxUnreadable, err), now)
	}
	r.checkTimeouts(now, err)
}

// SetProblem is called with an event of ECS that says what keeps a service from going on.
func (r *Release) SetProblem(n int, text string) { r.services[n].Problem = text }

// FindOwnDeployment is called with a service's deployments before its service deployment is
// looked up, and returns the id of ours, "" if it is not known.
func (r *Release) FindOwnDeployment(n int, o Observation) (own string) {
	r.services[n].findOwn(o, true)
	return r.services[n].OwnDeployment
}

// Observe is called with what ECS says of each service.
func (r *Release) Observe(observed []Observation, now time.Time) {
	r.readAt = now
	if seen := fingerprint(observed); seen != r.seen {
		r.seen, r.changed = seen, now
	}
	var failure error
	all := true
	for n, s := range r.services {
		s.Observed = observed[n] //nolint:gosec // one for each service, as the caller has them
		s.findOwn(s.Observed, r.stage == Updating)
		switch r.stage {
		case Updating:
			r.judge(s, now)
			if s.Verdict == Failed && failure == nil {
				failure = fmt.Errorf("%s: %w", s.plan.Name, s.Err)
			}
			all = all && s.Verdict == Done
		case Restoring:
			r.judgeRestore(s, now)
		}
	}
	switch {
	case failure != nil:
		r.restore(failure, now)
	case r.stage == Updating && all && r.options.Verify:
		r.stage, r.since = Verifying, now
	case r.stage == Updating && all:
		r.stage = Finished
	}
	r.checkTimeouts(now, nil)
}

func (r *Release) judge(s *service, now time.Time) {
	verdict, why := s.judge(now, s.Observed)
	if s.Update == Unknown && s.OwnDeployment == "" {
		s.action = Update // again: the same update twice is one
	}
	if s.Verdict == Done && verdict == Pending {
		return // it was done; only a failure undoes that
	}
	if verdict == Done && s.Verdict != Done {
		r.report(s, "runs the new version")
		if s.plan.DesiredCount == 0 && s.plan.Count == nil {
			r.report(s, "has a desired count of 0: no task was started, so nothing is proven")
		}
		s.Result = report.Succeeded
		s.finish(now)
	}
	s.Verdict = verdict
	if verdict == Failed {
		s.fail(why)
		s.finish(now)
		r.report(s, "failed: "+why)
	}
}

func (r *Release) judgeRestore(s *service, now time.Time) {
	if s.Verdict != Pending {
		return
	}
	verdict, action, why := s.judgeRestore(now, s.Observed)
	s.action = action
	switch verdict {
	case Done:
		s.Verdict, s.Result = Done, report.Restored
		s.finish(now)
		r.report(s, "runs the previous version again")
	case Failed:
		r.failRestore(s, errors.New(why))
		s.finish(now)
	}
	r.finishRestore()
}

// failRestore records that a service cannot be restored.
func (r *Release) failRestore(s *service, why error) {
	s.Verdict, s.Result = Failed, report.Failed
	s.RestoreErr = fmt.Errorf("restoring %s: %w", s.plan.Name, why)
	r.report(s, "cannot be restored: "+why.Error())
	r.finishRestore()
}

// finishRestore ends a restore in which nothing is left to wait for.
func (r *Release) finishRestore() {
	for _, s := range r.services {
		if s.Verdict == Pending {
			return
		}
	}
	if r.stage == Restoring {
		r.stage = Finished
	}
}

// checkTimeouts ends what took too long.
func (r *Release) checkTimeouts(now time.Time, unreadable error) {
	switch {
	case r.stage == Updating && now.Sub(r.since) > r.options.Timeout:
		for _, s := range r.services {
			if s.Verdict == Pending {
				s.fail(s.withProblem(fmt.Sprintf("%s of %s", errTimeout, r.options.Timeout)))
				s.finish(now)
				r.report(s, "failed: "+s.Err.Error())
			}
		}
		failed := r.firstFailed()
		r.restore(fmt.Errorf("%s: %w", failed.plan.Name, failed.Err), now)
	case r.stage == Restoring && now.Sub(r.since) > r.options.RestoreTimeout:
		for _, s := range r.services {
			if s.Verdict == Pending {
				s.finish(now)
				r.failRestore(s, errors.Join(errors.New(s.withProblem(fmt.Sprintf("not restored within the time limit of %s", r.options.RestoreTimeout))), unreadable))
			}
		}
	}
}

// firstFailed is the first service that did not reach the new version.
func (r *Release) firstFailed() *service {
	for _, s := range r.services {
		if s.Err != nil {
			return s
		}
	}
	return r.services[0]
}

func (r *Release) report(s *service, text string) {
	r.events = append(r.events, Event{s.plan.Name, text})
}

// Events returns what happened since it was called last.
func (r *Release) Events() []Event {
	events := r.events
	r.events = nil
	return events
}
