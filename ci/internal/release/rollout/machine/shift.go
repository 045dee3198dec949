package machine

import (
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// Shift is how ECS shifts a service's production traffic to the new version. ECS waits at
// each of [PauseStages] until the deployment is continued.
type Shift struct {
	// Steps are the shares of traffic after each step, in percent; the last is 100.
	Steps []float64
	// StepBake is how long ECS waits after each step but the last.
	StepBake time.Duration
	// Limit is how long ECS waits for a deployment to be continued before it rolls back.
	Limit time.Duration
}

// Hook is a hook at which ECS waits for a deployment to be continued.
type Hook struct {
	ID      string
	Expires time.Time // ECS rolls back then; zero if unknown
}

// position is how far a deployment is, in the order in which the services of a release
// wait for each other.
type position int

const (
	atStart position = iota // not at the first stage to wait at
	atTest                  // new tasks receive test traffic
	atStep                  // and, plus n, after n steps of production traffic
	atEnd   position = 1000 // new tasks receive all production traffic
	beyond  position = 1001 // nothing to wait for is left
)

// stage returns the stage at which ECS waits at a position, "" for none.
func (p position) stage() PauseStage {
	switch {
	case p == atTest:
		return PostTestTrafficShift
	case p >= atStep && p < atEnd:
		return PreProductionTrafficShift
	case p == atEnd:
		return PostProductionTrafficShift
	}
	return ""
}

// position returns how far our own deployment is, and whether ECS waits there. Stages are
// compared as text, because ECS adds some.
func (s *service) position() (at position, waits bool) {
	o := s.Observed
	if s.Verdict == Done {
		return beyond, false
	}
	switch waits = o.Hook != nil && inFlight(o.Status); o.Stage {
	case string(PostTestTrafficShift):
		return atTest, waits
	case string(PreProductionTrafficShift), productionTrafficShift:
		return atStep + position(s.plan.Shift.stepsDone(o.Percent)), waits
	case string(PostProductionTrafficShift):
		return atEnd, waits
	case bakeTime, cleanUp:
		return beyond, false
	}
	return atStart, false
}

// stepsDone returns how many steps end at or below a share of traffic.
func (s Shift) stepsDone(percent float64) (n int) {
	for n < len(s.Steps) && s.Steps[n] <= percent+0.05 { // ECS knows tenths
		n++
	}
	return n
}

// barrier returns the position of the services that are least far, and whether all those
// whose traffic is shifted wait or have nothing left to wait for. Only then is any of them
// continued.
func (r *Release) barrier() (at position, ok bool) {
	at, ok = beyond, true
	for _, s := range r.services {
		if s.plan.Shift == nil {
			continue
		}
		position, waits := s.position()
		at, ok = min(at, position), ok && (waits || position == beyond)
	}
	return at, ok
}

// advance takes the next step of the release once all services are ready for it.
func (r *Release) advance(now time.Time) {
	at, ok := r.barrier()
	switch {
	case !ok:
		return
	case at == atTest && r.options.Test && !r.tested:
		r.stage, r.entered = Testing, now
		return
	case at == atTest && r.pausesAt(at):
		r.pause(at)
		return
	}
	r.opened = true
	if !r.allDone(func(s *service) bool { return s.plan.Shift == nil }) {
		return
	}
	switch {
	case at >= atEnd && r.options.Verify && !r.verified:
		r.stage, r.entered = Verifying, now
	case r.pausesAt(at):
		r.pause(at)
	case at < beyond:
		for _, s := range r.services {
			if s.plan.Shift == nil {
				continue
			}
			if position, waits := s.position(); waits && position == at && s.mayContinue(at, now) {
				s.action = Continue
			}
		}
	case r.allDone(func(*service) bool { return true }):
		r.stage = Finished
	}
}

// allDone reports whether the matching services are done.
func (r *Release) allDone(match func(*service) bool) bool {
	for _, s := range r.services {
		if match(s) && s.Verdict != Done {
			return false
		}
	}
	return true
}

// mayContinue reports whether a deployment that waits is to be continued: not if it was
// continued there or later, unless so long ago that the observation cannot be stale.
func (s *service) mayContinue(at position, now time.Time) bool {
	return at > s.continued || now.Sub(s.continuedAt) >= staleLimit
}

// pausesAt reports whether the release waits for a person at a position.
func (r *Release) pausesAt(at position) bool {
	return r.options.PauseAt != "" && at.stage() == r.options.PauseAt && at != r.passed
}

// pause ends the release where it waits for a person.
func (r *Release) pause(at position) {
	r.stage, r.pausedAt = Paused, at.stage()
	r.events = append(r.events, Event{"", fmt.Sprintf("paused at %s", r.pausedAt)})
}

// PausedAt returns the stage of a paused release, and when ECS rolls back the first of its
// services; zero if that is unknown.
func (r *Release) PausedAt() (stage PauseStage, until time.Time) {
	for _, s := range r.services {
		if h := s.Observed.Hook; h != nil && !h.Expires.IsZero() && (until.IsZero() || h.Expires.Before(until)) {
			until = h.Expires
		}
	}
	return r.pausedAt, until
}

func (r *Release) handleContinue(s *service, response Response, now time.Time) {
	if response.Status == Throttled {
		r.reportThrottled(s, "ContinueServiceDeployment")
		return
	}
	at, _ := s.position()
	if at != s.tried {
		s.tried, s.continues = at, 0
	}
	if response.Status == Accepted {
		s.continued, s.continuedAt = at, now
		r.report(s, "continued from "+string(at.stage()))
		return
	}
	r.report(s, fmt.Sprintf("cannot continue from %s: %s", at.stage(), response.Err))
	if s.continues++; response.Denied || s.continues >= maxTries {
		s.fail(fmt.Sprintf("continuing the deployment of service %s: %s", s.plan.ECSName, response.Err))
		s.finish(now)
	}
	if response.Status == Rejected { // somebody may have continued it
		s.continued, s.continuedAt = at, now
	}
}

// Tested is called with the result of the test of the new versions.
func (r *Release) Tested(err error, now time.Time) {
	if err != nil {
		r.restore(fmt.Errorf("testing the new version: %w", err), now)
		return
	}
	r.tested = true
	r.resume(now)
}

// resume goes on after a test, which does not count as slowness of ECS.
func (r *Release) resume(now time.Time) {
	r.stage, r.since, r.readAt = Updating, r.since.Add(now.Sub(r.entered)), now
}

// allowBake extends the time limit by the time since the last observation, while services
// bake, up to what is configured.
func (r *Release) allowBake(now time.Time) {
	for _, s := range r.services {
		if r.stage == Updating && s.Observed.timed() {
			d := min(now.Sub(r.readAt), r.bakes)
			r.since, r.bakes = r.since.Add(d), r.bakes-d
			return
		}
	}
}

// Bakes returns how long services with the plans bake together.
func Bakes(plans []Plan) (total time.Duration) {
	var steps []time.Duration
	var last time.Duration
	for _, p := range plans {
		last = max(last, p.Bake)
		if p.Shift == nil {
			continue
		}
		for n := range len(p.Shift.Steps) - 1 {
			if n == len(steps) {
				steps = append(steps, 0)
			}
			steps[n] = max(steps[n], p.Shift.StepBake)
		}
	}
	for _, d := range steps {
		total += d
	}
	return total + last
}

// reportShift reports how far a deployment is, and that ECS will soon stop waiting.
func (r *Release) reportShift(s *service, now time.Time) {
	o := s.Observed
	if !s.plan.Lifecycle || !s.Touched() || o.Stage == "" {
		return
	}
	text := "at " + o.Stage
	if o.Hook != nil {
		text = "waits " + text
	}
	if o.Percent > 0 {
		text += fmt.Sprintf(", %g %% of production traffic", o.Percent)
	}
	if text != s.shift {
		s.shift = text
		r.report(s, text)
	}
	if s.plan.Shift == nil || o.Hook == nil || o.Hook.Expires.IsZero() || *o.Hook == s.warned {
		return
	}
	if o.Hook.Expires.Sub(now) <= min(5*time.Minute, s.plan.Shift.Limit/10) {
		s.warned = *o.Hook
		r.report(s, fmt.Sprintf("waits at %s: ECS rolls back at %s unless the deployment is continued", o.Stage, o.Hook.Expires.UTC().Format(time.TimeOnly+" MST")))
	}
}

// reportDraining reports tasks that still run beside those of a successful deployment: ECS
// ends a deployment early if the service has early success criteria.
func (r *Release) reportDraining(s *service) {
	if tasks := s.otherTasks(s.Observed); tasks > 0 && s.Observed.Status == types.ServiceDeploymentStatusSuccessful {
		r.report(s, fmt.Sprintf("%d tasks of the previous version still drain", tasks))
	}
}
