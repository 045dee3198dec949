package rollout_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
)

// The target groups and rules of a service in the fake.
const (
	blueGroup  = "arn:aws:elasticloadbalancing:us-east-1:1:targetgroup/tg/1"
	greenGroup = "arn:aws:elasticloadbalancing:us-east-1:1:targetgroup/tg/2"
)

// fakeShift is what traffic is shifted with in the fake.
func fakeShift() *rollout.Shift {
	return &rollout.Shift{TargetGroup: blueGroup, AlternateTargetGroup: greenGroup, ProductionRule: "rule/production", TestRule: "rule/test", Role: "role"}
}

// newTarget is a target with a good image.
func newTarget(entry platform.Service) rollout.Target {
	target := rollout.Target{Service: entry, Image: string(completes) + "@sha256:new"}
	if entry.Strategy != nil {
		target.Shift = fakeShift()
	}
	return target
}

// fakeStage is a lifecycle stage of a deployment that shifts traffic.
type fakeStage struct {
	name    string
	percent float64 // of production traffic from its start
	lasts   time.Duration
}

// fakeStages returns the stages after SCALE_UP.
func fakeStages(c *types.DeploymentConfiguration) []fakeStage {
	list := []fakeStage{{"TEST_TRAFFIC_SHIFT", 0, time.Second}, {"POST_TEST_TRAFFIC_SHIFT", 0, 0}}
	steps, bake := []float64{100}, time.Duration(0)
	if canary := c.CanaryConfiguration; canary != nil {
		steps, bake = []float64{*canary.CanaryPercent, 100}, time.Duration(*canary.CanaryBakeTimeInMinutes)*time.Minute
	}
	if linear := c.LinearConfiguration; linear != nil {
		steps, bake = nil, time.Duration(*linear.StepBakeTimeInMinutes)*time.Minute
		for share := *linear.StepPercent; share < 100; share += *linear.StepPercent {
			steps = append(steps, share)
		}
		steps = append(steps, 100)
	}
	before := 0.
	for _, share := range steps {
		if share == 100 {
			bake = 0
		}
		list = append(list, fakeStage{"PRE_PRODUCTION_TRAFFIC_SHIFT", before, 0}, fakeStage{"PRODUCTION_TRAFFIC_SHIFT", share, time.Second + bake})
		before = share
	}
	return append(list, fakeStage{"POST_PRODUCTION_TRAFFIC_SHIFT", 100, 0}, fakeStage{"BAKE_TIME", 100, time.Duration(aws.ToInt32(c.BakeTimeInMinutes)) * time.Minute}, fakeStage{"CLEAN_UP", 100, time.Second})
}

// shifts reports whether the service's deployments shift traffic.
func (s *fakeService) shifts() bool {
	return s.config != nil && s.config.Strategy != "" && s.config.Strategy != types.DeploymentStrategyRolling
}

// setStage puts the newest deployment into a stage, with a hook at which it waits, or none.
func (f *fakeECS) setStage(s *fakeService, stage fakeStage, hooks ...types.DeploymentLifecycleHookDetail) {
	s.records = slices.Clone(s.records)
	r := &s.records[0]
	r.LifecycleStage, r.LifecycleHookDetails = types.ServiceDeploymentLifecycleStage(stage.name), hooks
	r.TargetServiceRevision = &types.ServiceRevisionSummary{Arn: r.TargetServiceRevision.Arn, RequestedProductionTrafficWeight: aws.Float64(stage.percent)}
	s.share = stage.percent
	if *s.deployments[0].TaskDefinition != s.good {
		s.maxShare = max(s.maxShare, s.share)
	}
	f.remember(s)
}

// scaledUp starts all new tasks and enters the stages after that.
func (f *fakeECS) scaledUp(s *fakeService) {
	if f.lacksImage(*s.deployments[0].TaskDefinition) && s.deployments[0].DesiredCount > 0 {
		f.event(s, "is unable to consistently start tasks successfully.")
		f.remember(s)
		return
	}
	s.deployments = slices.Clone(s.deployments)
	s.deployments[0].RunningCount = s.deployments[0].DesiredCount
	f.enter(s, fakeStages(s.config))
}

// enter enters the first of the stages.
func (f *fakeECS) enter(s *fakeService, stages []fakeStage) {
	if len(stages) == 0 {
		s.share = 0
		f.complete(s)
		return
	}
	stage := stages[0]
	f.setStage(s, stage)
	isNew := strings.HasSuffix(f.image(*s.deployments[0].TaskDefinition), ":new") // ECS ignores alarms that are triggered when a deployment starts
	if key := s.name + " " + stage.name; isNew && (f.failAt[key] || f.failAt[fmt.Sprintf("%s %g", key, stage.percent)]) {
		f.setAlarm(s)
		return
	}
	next := func() { f.enter(s, stages[1:]) }
	for _, hook := range s.config.LifecycleHooks {
		if hook.TargetType != types.DeploymentLifecycleHookTargetTypePause || !slices.Contains(hook.LifecycleStages, types.DeploymentLifecycleHookStage(stage.name)) {
			continue
		}
		limit := time.Duration(*hook.TimeoutConfiguration.TimeoutInMinutes) * time.Minute
		f.number++
		detail := types.DeploymentLifecycleHookDetail{
			HookId: aws.String(fmt.Sprintf("hook-%d", f.number)), Status: types.DeploymentLifecycleHookStatusAwaitingAction,
			TargetType: types.DeploymentLifecycleHookTargetTypePause, ExpiresAt: aws.Time(f.clock.Now().Add(limit)), TimeoutAction: types.DeploymentLifecycleHookActionRollback,
		}
		f.setStage(s, stage, detail)
		s.afterHook = next
		s.due = append(s.due, scheduledChange{f.clock.Now().Add(limit), func() {
			detail.Status = types.DeploymentLifecycleHookStatusTimedOut
			f.setStage(s, stage, detail)
			f.rollBack(s, "Service deployment rolled back because a lifecycle hook timed out.")
		}})
		return
	}
	s.due = append(s.due, scheduledChange{f.clock.Now().Add(stage.lasts), next})
}

// setAlarm rolls a deployment back because of an alarm.
func (f *fakeECS) setAlarm(s *fakeService) {
	s.records = slices.Clone(s.records)
	s.records[0].Alarms = &types.ServiceDeploymentAlarms{Status: types.ServiceDeploymentRollbackMonitorsStatusTriggered, TriggeredAlarmNames: []string{"errors"}}
	f.rollBack(s, "Service deployment rolled back because an alarm was triggered.")
}

func (f *fakeECS) ContinueServiceDeployment(_ context.Context, in *ecs.ContinueServiceDeploymentInput, _ ...func(*ecs.Options)) (*ecs.ContinueServiceDeploymentOutput, error) {
	arn := aws.ToString(in.ServiceDeploymentArn)
	name := strings.Split(arn, "/")[2]
	done, err := f.begin("ContinueServiceDeployment", name)
	if err != nil {
		return nil, err
	}
	defer done()
	s := f.services[name]
	r := s.records[0]
	f.calls[len(f.calls)-1] += " " + string(r.LifecycleStage)
	if *r.ServiceDeploymentArn != arn || r.Status != types.ServiceDeploymentStatusInProgress || len(r.LifecycleHookDetails) == 0 ||
		r.LifecycleHookDetails[0].Status != types.DeploymentLifecycleHookStatusAwaitingAction || *r.LifecycleHookDetails[0].HookId != *in.HookId {
		return nil, apiError("InvalidParameterException")
	}
	hook := r.LifecycleHookDetails[0]
	hook.Status = types.DeploymentLifecycleHookStatusSucceeded
	f.setStage(s, fakeStage{string(r.LifecycleStage), s.share, 0}, hook)
	s.due = []scheduledChange{{f.clock.Now().Add(time.Second), s.afterHook}}
	return &ecs.ContinueServiceDeploymentOutput{ServiceDeploymentArn: &arn}, f.response("ContinueServiceDeployment", name)
}

// newShiftFixture has the services a, b and c behind a load balancer, and the worker w.
// All but w have a strategy.
func newShiftFixture(strategies ...platform.Strategy) *fixture {
	b := newFixture(completes, completes)
	b.request.Targets = nil
	for n, strategy := range strategies {
		name := string(rune('a' + n))
		entry := platform.Service{Name: name, Strategy: &strategy}
		if b.ecs.services["ecs-"+name+"-service"] == nil {
			b.ecs.add(entry, oldImage)
		}
		b.ecs.services["ecs-"+name+"-service"].web = true
		b.request.Targets = append(b.request.Targets, newTarget(entry))
	}
	b.ecs.addService("w", oldImage)
	b.request.Targets = append(b.request.Targets, newTarget(platform.Service{Name: "w"}))
	_ = b.ecs.clock.Sleep(context.Background(), time.Hour)
	return b
}
