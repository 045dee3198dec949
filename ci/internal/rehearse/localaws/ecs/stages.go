package ecs

import (
	"math"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// The lifecycle stages of a deployment whose strategy moves traffic, in their order. The
// SDK's enumeration lacks preProduction.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/blue-green-deployment-how-it-works.html
const (
	stageReconcile      = "RECONCILE_SERVICE"
	stagePreScaleUp     = "PRE_SCALE_UP"
	stageScaleUp        = "SCALE_UP"
	stagePostScaleUp    = "POST_SCALE_UP"
	stageTest           = "TEST_TRAFFIC_SHIFT"
	stagePostTest       = "POST_TEST_TRAFFIC_SHIFT"
	stagePreProduction  = "PRE_PRODUCTION_TRAFFIC_SHIFT"
	stageProduction     = "PRODUCTION_TRAFFIC_SHIFT"
	stagePostProduction = "POST_PRODUCTION_TRAFFIC_SHIFT"
	stageBake           = "BAKE_TIME"
	stageCleanUp        = "CLEAN_UP"
)

var stages = []string{
	stageReconcile, stagePreScaleUp, stageScaleUp, stagePostScaleUp, stageTest, stagePostTest,
	stagePreProduction, stageProduction, stagePostProduction, stageBake, stageCleanUp,
}

// shift is the progress of a service deployment that starts all tasks of the new
// revision (green) beside those of the old one (blue), moves the traffic, and then stops
// the old ones. Without a load balancer, the stages pass without traffic to move.
type shift struct {
	until      time.Time   // when the stage's bake ends, in real time
	source     *deployment // blue; nil if no deployment was ever completed
	shares     []float64   // green's share of the production traffic after each step
	step       int
	production float64 // green's shares now, as ECS has set them, in percent
	test       float64
	reconciled bool // RECONCILE_SERVICE has given the traffic back
}

// newShift returns the shift of a deployment that starts beside others, or nil for a
// rolling one. The first deployment of a service has nothing to shift from: it takes all
// traffic in one step, without a bake.
func (s *service) newShift(config *types.DeploymentConfiguration) *shift {
	if config.Strategy == types.DeploymentStrategyRolling {
		return nil
	}
	sh := &shift{source: s.source(), shares: []float64{100}}
	if sh.source != nil && s.shiftsTraffic() {
		sh.shares = productionShares(config)
	}
	return sh
}

// settleCleanUp makes a deployment that was only stopping the old tasks the one that
// serves production: a newer deployment starts from it.
func (s *service) settleCleanUp() {
	if len(s.deployments) == 0 {
		return
	}
	if rec := s.shifting(); rec != nil && rec.status == types.ServiceDeploymentStatusInProgress && rec.stage == stageCleanUp {
		s.lastCompleted = s.primary()
	}
}

// source returns the deployment whose revision serves production: the last completed
// one, or the one that has taken over its tasks.
func (s *service) source() *deployment {
	for _, d := range s.deployments {
		if s.lastCompleted != nil && d.revision == s.lastCompleted.revision {
			return d
		}
	}
	return s.lastCompleted
}

// shiftsTraffic reports whether ECS moves the service's traffic: it is behind a load
// balancer. That of headless services is not moved.
func (s *service) shiftsTraffic() bool { return len(s.record.LoadBalancers) > 0 }

// resolveTargets returns the load balancers of a new revision with the target group that
// its tasks get: of the two, the one that the source does not use. A rolling deployment
// stays in the source's, to which ECS left the production traffic.
func resolveTargets(lbs []types.LoadBalancer, source *deployment, rolling bool) []types.LoadBalancer {
	targets := slices.Clone(lbs)
	for i, lb := range targets {
		if lb.AdvancedConfiguration == nil || source == nil {
			continue
		}
		used := slices.ContainsFunc(source.revision.targets, func(t types.LoadBalancer) bool {
			return aws.ToString(t.TargetGroupArn) == aws.ToString(lb.AdvancedConfiguration.AlternateTargetGroupArn)
		})
		if used == rolling {
			targets[i].TargetGroupArn = lb.AdvancedConfiguration.AlternateTargetGroupArn
		}
	}
	return targets
}

// shifting returns the deployment in progress if its strategy moves traffic.
func (s *service) shifting() *serviceDeployment {
	rec := s.primary().serviceDeployment
	if rec == nil || rec.shift == nil || rec.finished() || s.status != statusActive {
		return nil
	}
	return rec
}

// advanceShift brings a deployment that moves traffic, or its rollback, as far as it
// gets now. It returns when to try again.
func (s *service) advanceShift(rec *serviceDeployment) time.Duration {
	switch rec.status {
	case types.ServiceDeploymentStatusInProgress:
	case types.ServiceDeploymentStatusRollbackInProgress:
		return s.advanceShiftRollback(rec)
	default:
		return resyncInterval
	}
	sh, p := rec.shift, s.primary()
	if rec.stage == "" {
		first := stagePreScaleUp
		if len(s.deployments) > 2 {
			first = stageReconcile // more than one active revision beside the new one
		}
		s.enterStage(rec, first)
	}
	for s.shifting() == rec && rec.status == types.ServiceDeploymentStatusInProgress {
		wait := resyncInterval
		if sh.source != nil && rec.stage != stageCleanUp {
			wait = min(wait, s.scaleTo(sh.source))
		}
		if slices.Index(stages, rec.stage) >= slices.Index(stages, stageScaleUp) {
			wait = min(wait, s.scaleTo(p))
		}
		done, again, back := rec.advanceHooks()
		if back {
			return s.failByHook(p)
		}
		if left := time.Until(sh.until); left > 0 {
			done, again = false, min(again, left)
		}
		if reached := s.stageReached(rec); !done || !reached {
			return min(wait, again)
		}
		s.leaveStage(rec)
	}
	return resyncInterval
}

// enterStage does a stage's own work, and starts its bake and hooks.
func (s *service) enterStage(rec *serviceDeployment, stage string) {
	sh, now := rec.shift, time.Now()
	rec.stage, sh.until = stage, time.Time{}
	rec.updatedAt = s.c.cfg.Clock.Now()
	bake := int32(0)
	switch stage {
	case stagePreScaleUp:
		s.attachTargets(rec.target)
	case stageTest:
		s.setTraffic(rec, sh.production, 100)
	case stageProduction:
		s.setTraffic(rec, sh.shares[sh.step], sh.test)
		if sh.step < len(sh.shares)-1 {
			bake = stepBake(rec.config)
		}
	case stageBake:
		if sh.source != nil {
			bake = aws.ToInt32(rec.config.BakeTimeInMinutes)
		}
	}
	if bake > 0 {
		sh.until = now.Add(s.c.cfg.Clock.Scale(time.Duration(bake) * time.Minute))
	}
	rec.startHooks(stage)
}

// stageReached reports whether the tasks are as the end of a stage wants them.
func (s *service) stageReached(rec *serviceDeployment) bool {
	p, source := s.primary(), rec.shift.source
	switch rec.stage {
	case stageReconcile: // an unfinished deployment's traffic goes back before its tasks stop
		if source != nil && s.servingTasks(source) < s.desired {
			return false
		}
		if source != nil && !rec.shift.reconciled {
			s.setTraffic(rec, 0, 0)
			rec.shift.reconciled = true
		}
		return s.stopOthers(p, source) == 0
	case stageScaleUp:
		return s.servingTasks(p) >= s.desired
	case stageCleanUp:
		return s.stopOthers(p, nil) == 0 && s.servingTasks(p) >= s.desired
	}
	return true
}

// leaveStage enters the next stage, or completes the deployment after the last.
func (s *service) leaveStage(rec *serviceDeployment) {
	sh := rec.shift
	switch {
	case rec.stage == stageCleanUp:
		s.reachSteadyState()
	case rec.stage == stageProduction && sh.step < len(sh.shares)-1:
		sh.step++
		s.enterStage(rec, stagePreProduction)
	default:
		s.enterStage(rec, stages[slices.Index(stages, rec.stage)+1])
	}
}

// advanceShiftRollback makes the old revision's tasks whole, gives it all traffic back,
// and only then stops the new revision's. The hooks of TEST_TRAFFIC_SHIFT and
// PRODUCTION_TRAFFIC_SHIFT, which run again, can only be functions and pass at once.
func (s *service) advanceShiftRollback(rec *serviceDeployment) time.Duration {
	p, sh := s.primary(), rec.shift
	wait := s.scaleTo(p)
	if s.servingTasks(p) < s.desired {
		return wait
	}
	if rec.stage != stageCleanUp || sh.production > 0 || sh.test > 0 {
		s.setTraffic(rec, 0, 0)
		rec.stage = stageCleanUp
		rec.updatedAt = s.c.cfg.Clock.Now()
	}
	if s.stopOthers(p, nil) == 0 {
		s.reachSteadyState()
	}
	return wait
}

// scaleTo starts missing tasks of a deployment, each with its own revision, and stops
// surplus ones. It returns when to try again.
func (s *service) scaleTo(d *deployment) time.Duration {
	if !slices.Contains(s.deployments, d) {
		s.deployments = append(s.deployments, d) // its tasks had all stopped
	}
	tasks := s.tasksOf(d)
	if len(tasks) > s.desired {
		s.stopTasks(tasks[s.desired:], "Scaling activity initiated by (deployment "+d.id+")")
	}
	return s.startTasks(d, s.desired-len(tasks))
}

// tasksOf returns the tasks of a deployment that are not stopping, oldest first.
func (s *service) tasksOf(d *deployment) []*taskRun {
	return slices.DeleteFunc(s.activeTasks(), func(t *taskRun) bool { return t.deployment != d || t.stopping })
}

func (s *service) servingTasks(d *deployment) int {
	return len(slices.DeleteFunc(s.tasksOf(d), func(t *taskRun) bool { return !t.serving() }))
}

// stopOthers stops the tasks of all deployments but two, and returns how many of these
// tasks have not stopped.
func (s *service) stopOthers(p, source *deployment) int {
	for _, d := range s.deployments {
		if d != p && d != source {
			d.keep = 0
		}
	}
	others := slices.DeleteFunc(s.activeTasks(), func(t *taskRun) bool { return t.deployment == p || t.deployment == source })
	s.stopTasks(slices.DeleteFunc(slices.Clone(others), func(t *taskRun) bool { return t.stopping }), "Scaling activity initiated by (deployment "+p.id+")")
	return len(others)
}

// attachTargets makes the load balancer check the targets of a revision. ECS does not
// look at the weights, which somebody may have changed, before it sets them.
func (s *service) attachTargets(r *revision) {
	for _, lb := range r.targets {
		if lb.AdvancedConfiguration == nil {
			continue
		}
		if err := s.c.cfg.Balancer.Attach(aws.ToString(lb.AdvancedConfiguration.ProductionListenerRule), aws.ToString(lb.TargetGroupArn)); err != nil {
			s.event("(service %s) was unable to change the production listener rule: %v", s.name, err)
		}
	}
}

// setTraffic gives the target revision of a deployment shares of the production and test
// traffic, in percent, and the other target group the rest.
func (s *service) setTraffic(rec *serviceDeployment, production, test float64) {
	rec.shift.production, rec.shift.test = production, test
	for i, lb := range rec.target.targets {
		a := lb.AdvancedConfiguration
		if a == nil {
			continue
		}
		green := aws.ToString(lb.TargetGroupArn)
		blue := aws.ToString(a.AlternateTargetGroupArn)
		if green == blue {
			blue = aws.ToString(rec.target.loadBalancers[i].TargetGroupArn)
		}
		for rule, share := range map[string]float64{aws.ToString(a.ProductionListenerRule): production, aws.ToString(a.TestListenerRule): test} {
			if rule == "" {
				continue
			}
			if err := s.c.cfg.Balancer.SetWeights(rule, weights(blue, green, share)); err != nil {
				s.event("(service %s) was unable to change the listener rule %s: %v", s.name, rule, err)
			}
		}
	}
}

// weights returns the weights of two target groups: they add up to 100, or to 1,000 for
// a share in tenths of a percent.
func weights(blue, green string, share float64) []elbtypes.TargetGroupTuple {
	total := 100.0
	if share != math.Trunc(share) {
		share, total = share*10, 1000
	}
	n := int32(math.Round(share))
	return []elbtypes.TargetGroupTuple{{TargetGroupArn: &blue, Weight: new(int32(total) - n)}, {TargetGroupArn: &green, Weight: &n}}
}

// trafficWeights returns the shares of the production and test traffic of a revision in
// a service deployment; nil if ECS does not move them.
func (d *serviceDeployment) trafficWeights(r *revision) (production, test *float64) {
	sh := d.shift
	if sh == nil || len(d.target.targets) == 0 {
		return nil, nil
	}
	share := func(green float64) *float64 {
		switch {
		case r == d.target:
			return new(green)
		case sh.source != nil && r == sh.source.revision:
			return new(100 - green)
		}
		return new(0.0)
	}
	production = share(sh.production)
	if a := d.target.targets[0].AdvancedConfiguration; a != nil && a.TestListenerRule != nil {
		test = share(sh.test)
	}
	return production, test
}

// resolvedConfiguration returns which target groups the tasks of a revision got.
func (r *revision) resolvedConfiguration() *types.ResolvedConfiguration {
	out := &types.ResolvedConfiguration{}
	for _, lb := range r.targets {
		if lb.AdvancedConfiguration != nil {
			out.LoadBalancers = append(out.LoadBalancers, types.ServiceRevisionLoadBalancer{
				TargetGroupArn: lb.TargetGroupArn, ProductionListenerRule: lb.AdvancedConfiguration.ProductionListenerRule,
			})
		}
	}
	if len(out.LoadBalancers) == 0 {
		return nil
	}
	return out
}
