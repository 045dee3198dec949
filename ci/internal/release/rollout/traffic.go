package rollout

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"

	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
)

// trafficInterval is the shortest interval of [Request.CheckTraffic].
const trafficInterval = 30 * time.Second

// scaledClock is the clock of a rehearsal, on which ECS's minutes are shorter, but not the
// release's own: its work takes as long as otherwise.
type scaledClock interface {
	// Scale returns how long a duration of ECS takes; Nominal is its reverse.
	Scale(d time.Duration) time.Duration
	Nominal(d time.Duration) time.Duration
}

// trafficChecks is what the checks of shifted traffic need.
type trafficChecks struct {
	last   time.Time
	shares map[string]*ShiftedTraffic // by service
}

// scaled returns a plan with the bakes and limits of ECS on the engine's clock.
func (e Engine) scaled(p machine.Plan) machine.Plan {
	clock, ok := e.Clock.(scaledClock)
	if !ok {
		return p
	}
	p.Bake = clock.Scale(p.Bake)
	if p.Shift != nil {
		p.Shift = &machine.Shift{Steps: p.Shift.Steps, StepBake: clock.Scale(p.Shift.StepBake), Limit: clock.Scale(p.Shift.Limit)}
	}
	return p
}

// checkTraffic checks the traffic of services that receive production traffic on both
// versions, or bake. If ctx ends meanwhile, the release is interrupted.
func (r *run) checkTraffic(ctx context.Context) {
	now, interval := r.Clock.Now(), trafficInterval
	if scaled, ok := r.Clock.(scaledClock); ok {
		interval = scaled.Scale(interval)
	}
	if r.request.CheckTraffic == nil || r.machine.Stage() != machine.Updating || now.Sub(r.traffic.last) < interval && !r.cleansUp() {
		return
	}
	var shifted []ShiftedTraffic
	for n, s := range r.services {
		progress := r.machine.Progress(n)
		if s.Shift == nil || progress.Verdict == machine.Done || progress.Observed.Percent == 0 {
			continue
		}
		if share := r.share(ctx, s, now); share != nil {
			share.Percent, share.Baking = progress.Observed.Percent, progress.Observed.Bakes()
			shifted = append(shifted, *share)
		}
	}
	if len(shifted) == 0 {
		return
	}
	r.traffic.last = now
	if err := r.request.CheckTraffic(ctx, shifted); err != nil && ctx.Err() == nil {
		// If ECS has begun to roll back meanwhile, that is the cause, and it moves the traffic.
		if observed, unread := r.observe(ctx); unread == nil && slices.ContainsFunc(observed, machine.Observation.RolledBack) {
			r.machine.Observe(observed, r.Clock.Now())
		}
		r.machine.Fail(fmt.Errorf("checking the traffic of the new version: %w", err), r.Clock.Now())
	}
}

// cleansUp reports whether ECS has begun to stop the previous tasks of a service since the last
// check: then traffic is checked a last time.
func (r *run) cleansUp() (begun bool) {
	for n, s := range r.services {
		if s.Shift != nil && !s.cleansUp && r.machine.Progress(n).Observed.CleansUp() {
			s.cleansUp, begun = true, true
		}
	}
	return begun
}

// share returns a service's share of traffic, with the target groups of its versions; nil if
// they are unknown.
func (r *run) share(ctx context.Context, s *serviceRollout, now time.Time) *ShiftedTraffic {
	if share := r.traffic.shares[s.Name]; share != nil {
		return share
	}
	previous, next, err := r.groupsOf(ctx, s)
	if err != nil || previous == "" || next == "" {
		return nil
	}
	if r.traffic.shares == nil {
		r.traffic.shares = map[string]*ShiftedTraffic{}
	}
	r.traffic.shares[s.Name] = &ShiftedTraffic{Service: s.Name, Previous: previous, New: next, Rule: s.shift().ProductionRule, Since: now}
	return r.traffic.shares[s.Name]
}

// groupsOf returns the target groups of both versions of a service whose traffic is shifted.
// Only the service revisions tell which is which: they are swapped by each deployment.
func (r *run) groupsOf(ctx context.Context, s *serviceRollout) (previous, next string, err error) {
	shift := s.shift()
	if shift == nil {
		return "", "", nil
	}
	target := aws.ToString(s.lookup.deployment.TargetServiceRevision.Arn)
	arns := []string{target}
	for _, source := range s.lookup.deployment.SourceServiceRevisions {
		arns = append(arns, aws.ToString(source.Arn))
	}
	out, err := r.ECS.DescribeServiceRevisions(ctx, &ecs.DescribeServiceRevisionsInput{ServiceRevisionArns: arns})
	if err != nil {
		return "", "", err
	}
	for _, revision := range out.ServiceRevisions {
		switch group := shift.groupOf(revision); {
		case group == "":
		case aws.ToString(revision.ServiceRevisionArn) == target:
			next = group
		default:
			previous = group
		}
	}
	if next != "" && previous == "" { // it was not shifted before, so its revision names no group
		previous = shift.other(next)
	}
	return previous, next, nil
}
