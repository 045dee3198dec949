// Package machine is the state machine of a release: pure decisions, without clock,
// network or goroutine. It takes the responses of ECS and observations of the services,
// and returns the commands to execute next. It begins once all revisions are
// registered.
//
// A service's [Plan] never changes. Only the machine changes its [Progress].
package machine

import (
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/report"
)

// Stage is the state of a release.
type Stage int

// Stages, in the order of a release that is restored.
const (
	Updating  Stage = iota // to the new version
	Testing                // the new versions receive test traffic only, and are being tested
	Verifying              // all services run the new version; it is being tested
	Restoring              // to the previous version
	Finished
	Paused // ended where it waits for a person
)

// Release is the state machine of a release.
type Release struct {
	services []*service
	options  Options
	stage    Stage
	since    time.Time     // start of the stage
	cause    error         // why the release is restored
	readAt   time.Time     // of the last observation
	changed  time.Time     // of the last observed change
	seen     []Observation // the last ones, nil for none
	events   []Event       // not yet reported

	bakes            time.Duration // of what is configured, what the time limit does not count yet
	entered          time.Time     // start of Testing or Verifying
	tested, verified bool
	opened           bool     // services whose traffic is not shifted may be updated
	started          bool     // the services were observed
	passed           position // where a continued release stood
	pausedAt         PauseStage
}

// Options are the options of a release.
type Options struct {
	// Timeout and RestoreTimeout limit the update, without its bakes, and the restore.
	Timeout, RestoreTimeout time.Duration
	Test                    bool // whether to test new versions before they receive production traffic
	Verify                  bool // whether to verify the new version
	// PauseAt is the stage at which the release waits for a person, "" for none. Continue
	// lets it pass where it stands.
	PauseAt  PauseStage
	Continue bool
}

// Event is a line of the release's log. Service is "" for the whole release.
type Event struct{ Service, Text string }

// Action is a change of a service.
type Action int

// Actions.
const (
	None     Action = iota
	Update          // UpdateService to the new version
	Continue        // ContinueServiceDeployment of our own deployment
	Stop            // StopServiceDeployment of our own deployment, which rolls it back
	Restore         // UpdateService to the previous version
)

// Command is a change to execute.
type Command struct {
	Action  Action
	Service int // index of the service's plan
	// Deployment is the id of our own deployment, for Continue and Stop.
	Deployment string
	Hook       string // id, for Continue
	// For Update and Restore:
	Revision     string
	Force        bool
	DesiredCount *int32 // nil leaves it unchanged
}

// CallStatus is what is known about the effect of a call.
type CallStatus int

// Call statuses.
const (
	NotCalled CallStatus = iota
	Accepted
	Unknown   // no conclusive response: it may have been accepted
	Rejected  // nothing was changed
	Throttled // nothing was changed; call it again
)

// Response is the result of a command.
type Response struct {
	Status CallStatus
	// Deployments are the service's deployments in ECS's response. Unlike those of a
	// read, they are never older than the command.
	Deployments []types.Deployment
	Err         error
	Denied      bool // the role lacks permission, or the revision no longer exists
	// Copy is the ARN of a copy of the previous revision, registered because the
	// original was deregistered; "" otherwise.
	Copy string
}

// maxUnreadable is how long reads of ECS may fail before a release is restored.
const maxUnreadable = 2 * time.Minute

// Limits on retries.
const (
	maxTries  = 3 // calls without a conclusive response
	maxDenied = 5 // denied restores; IAM is eventually consistent
)

// errTimeout is the cause of a release that exceeds its time limit.
var errTimeout = errors.New("not complete within the time limit")

// New starts a release. The index of a plan identifies its service.
func New(plans []Plan, options Options, now time.Time) *Release {
	r := &Release{options: options, since: now, readAt: now, changed: now, bakes: Bakes(plans), opened: true}
	for _, plan := range plans {
		r.services = append(r.services, newService(plan))
		r.opened = r.opened && plan.Shift == nil
	}
	return r
}

// Stage returns the state of the release.
func (r *Release) Stage() Stage { return r.stage }

// Cause returns why the release is restored, or nil.
func (r *Release) Cause() error { return r.cause }

// Progress returns a service's progress.
func (r *Release) Progress(n int) Progress { return r.services[n].Progress }

// Commands returns the commands that are due, at most limit of them. The others stay
// due.
func (r *Release) Commands(limit int) []Command {
	var commands []Command
	for n, s := range r.services {
		action := r.dueAction(s)
		if action != None && len(commands) == limit {
			break
		}
		if action != None {
			commands = append(commands, s.command(action, n))
		}
		s.action = None
	}
	return commands
}

// dueAction returns the action that a service needs now.
func (r *Release) dueAction(s *service) Action {
	switch {
	case s.Verdict != Pending:
	case r.stage == Updating && s.plan.Shift == nil && !r.opened: // waits for the tests of the others
	case r.stage == Updating && (s.Update == NotCalled || s.Update == Unknown && s.OwnDeployment == "" && s.action == Update):
		return Update
	case r.stage == Updating && s.action == Continue:
		return Continue
	case r.stage == Restoring:
		return s.action
	}
	return None
}

func (s *service) command(action Action, n int) Command {
	c := Command{Action: action, Service: n, Deployment: s.OwnDeployment}
	switch action {
	case Update:
		c.Revision, c.Force = s.plan.To.TaskDefinition, s.redeploys()
		if s.plan.Count != nil {
			c.DesiredCount = &s.plan.Count.To
		}
	case Continue:
		c.Hook = s.Observed.Hook.ID
	case Restore:
		c.Revision = s.RestoreRevision
		if primary := s.Observed.Primary(); s.plan.Shift != nil && primary != nil {
			c.Force = aws.ToString(primary.TaskDefinition) == s.RestoreRevision
		}
		if s.plan.Count != nil {
			c.DesiredCount = &s.plan.Count.From
		}
	}
	return c
}

// HandleResponses is called with the responses to commands that were executed together:
// the machine must know all of them to restore every service that may have changed.
func (r *Release) HandleResponses(commands []Command, responses []Response, now time.Time) {
	r.changed = now
	var failure error
	for n, c := range commands {
		s := r.services[c.Service]
		switch c.Action {
		case Update:
			r.handleUpdate(s, responses[n], now)
		case Continue:
			r.handleContinue(s, responses[n], now)
		case Stop:
			r.handleStop(s, responses[n])
		case Restore:
			r.handleRestore(s, responses[n])
		}
		if r.stage == Updating && s.Verdict == Failed && failure == nil {
			failure = fmt.Errorf("%s: %w", s.plan.Name, s.Err)
		}
	}
	if failure != nil {
		r.restore(failure, now)
	}
}

func (r *Release) handleUpdate(s *service, response Response, now time.Time) {
	if response.Status == Throttled {
		r.reportThrottled(s, "UpdateService")
		return
	}
	if s.updates++; s.updates == 1 {
		s.Started = now
	}
	switch {
	case response.Status == Rejected && s.Update == Unknown: // the first call may have been accepted
	default:
		s.Update = response.Status
	}
	switch response.Status {
	case Accepted:
		s.findOwn(Observation{Deployments: response.Deployments}, true)
		if s.OwnDeployment == "" {
			// ECS started no deployment: the service ran the revision already.
			s.findOwnUnchanged(response.Deployments)
		}
		r.report(s, "deployment "+s.OwnDeployment+" started")
	case Unknown:
		r.report(s, "no response to UpdateService: "+response.Err.Error())
		if s.updates >= maxTries {
			s.fail(fmt.Sprintf("updating service %s: %s", s.plan.ECSName, response.Err))
		}
	case Rejected:
		s.fail(fmt.Sprintf("updating service %s: %s", s.plan.ECSName, response.Err))
		s.finish(now)
	}
}

func (r *Release) reportThrottled(s *service, operation string) {
	if !s.throttled {
		r.report(s, "waiting: ECS throttles "+operation)
	}
	s.throttled = true
}

func (r *Release) handleStop(s *service, response Response) {
	if s.stop = response.Status; response.Status == Throttled {
		s.stop = Unknown // retried a few times; then the service is updated instead
	}
	s.contradictedSince = time.Time{}
	s.stops++
	if response.Status != Accepted {
		r.report(s, "cannot stop the deployment: "+response.Err.Error())
	}
}

func (r *Release) handleRestore(s *service, response Response) {
	if response.Copy != "" {
		s.RestoreRevision = response.Copy
	}
	s.restore = response.Status
	s.contradictedSince = time.Time{}
	if response.Status == Accepted {
		if primary := Primary(response.Deployments); primary != nil {
			s.restoreID = aws.ToString(primary.Id)
		}
		return
	}
	r.report(s, "cannot restore yet, retrying: "+response.Err.Error())
	if response.Denied {
		s.denied++
	}
	if s.denied >= maxDenied {
		r.failRestore(s, response.Err)
	}
}

// restore starts to restore every service that may have changed.
func (r *Release) restore(cause error, now time.Time) {
	if r.stage == Restoring || r.stage == Finished {
		return
	}
	r.stage, r.cause, r.since, r.changed, r.seen = Restoring, cause, now, now, nil
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
			r.failRestore(s, errors.New("it replaced a deployment that was in progress, so no known good version exists"))
			touched++
		default:
			touched++
			r.report(s, "restoring "+s.plan.From.Short())
		}
	}
	if touched > 0 {
		r.events = append(r.events, Event{"", "restoring: " + cause.Error()})
	}
	r.finishRestore()
}

// Fail is called if the release fails for another reason than a service's deployment, such
// as an interruption. It restores what has changed.
func (r *Release) Fail(cause error, now time.Time) { r.restore(cause, now) }

// Verified is called with the result of the verification.
func (r *Release) Verified(err error, now time.Time) {
	if err != nil {
		r.restore(fmt.Errorf("verifying the release: %w", err), now)
		return
	}
	r.verified = true
	r.resume(now)
	if r.allDone(func(*service) bool { return true }) {
		r.stage = Finished
	}
}

// Unreadable is called when an observation fails.
func (r *Release) Unreadable(err error, now time.Time) {
	if r.stage == Updating && now.Sub(r.readAt) > maxUnreadable {
		r.restore(fmt.Errorf("reading the services from ECS has failed for %s: %w", maxUnreadable, err), now)
	}
	r.checkTimeouts(now, err)
}

// SetProblem is called with a service event that reports what blocks a deployment.
func (r *Release) SetProblem(n int, text string) { r.services[n].Problem = text }

// FindOwnDeployment is called with a service's deployments before its service deployment
// is looked up. It returns the id of our own deployment, or "" if it is unknown.
func (r *Release) FindOwnDeployment(n int, o Observation) (own string) {
	r.services[n].findOwn(o, true)
	return r.services[n].OwnDeployment
}

// Observe is called with an observation of each service.
func (r *Release) Observe(observed []Observation, now time.Time) {
	for n, s := range r.services {
		s.Observed = observed[n] //nolint:gosec // one for each service
	}
	r.allowBake(now)
	r.readAt = now
	if !sameState(observed, r.seen) {
		r.changed = now
	}
	r.seen = observed
	var failure error
	for _, s := range r.services {
		s.findOwn(s.Observed, r.stage == Updating)
		switch r.stage {
		case Updating:
			r.judge(s, now)
			if s.Verdict == Failed && failure == nil {
				failure = fmt.Errorf("%s: %w", s.plan.Name, s.Err)
			}
		case Restoring:
			r.judgeRestore(s, now)
		}
	}
	if !r.started && r.options.Continue {
		r.passed, _ = r.barrier() // a continued release passes the position where it stands
	}
	r.started = true
	switch {
	case failure != nil:
		r.restore(failure, now)
	case r.stage == Updating:
		r.advance(now)
	}
	r.checkTimeouts(now, nil)
}

func (r *Release) judge(s *service, now time.Time) {
	r.reportShift(s, now)
	verdict, why := s.judge(now, s.Observed)
	if s.Update == Unknown && s.OwnDeployment == "" {
		s.action = Update // UpdateService is idempotent
	}
	if s.Verdict == Done && verdict == Pending {
		return // only a failure changes Done
	}
	if verdict == Done && s.Verdict != Done {
		r.report(s, "runs the new version")
		r.reportDraining(s)
		if s.plan.DesiredCount == 0 && s.plan.Count == nil {
			r.report(s, "has a desired count of 0: no task was started, so the new version is untested")
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

// finishRestore finishes the restore once no service is pending.
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

// checkTimeouts fails what exceeds its time limit.
func (r *Release) checkTimeouts(now time.Time, unreadable error) {
	switch {
	case r.stage == Updating && now.Sub(r.since) > r.options.Timeout:
		for _, s := range r.services {
			if s.Verdict == Pending && !s.waitsForOthers(r) {
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

// waitsForOthers reports whether a service is not the one that is slow.
func (s *service) waitsForOthers(r *Release) bool {
	if s.plan.Shift == nil {
		return !r.opened && !s.Touched()
	}
	at, waits := s.position()
	lowest, all := r.barrier()
	return waits && (!all || at != lowest)
}

// firstFailed returns the first service with an error.
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

// Events returns the events since the last call.
func (r *Release) Events() []Event {
	events := r.events
	r.events = nil
	return events
}
