package ecs_test

import (
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/document"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
)

// shifted is a platform whose service "app" has two target groups, a production rule and
// a test rule on port 10080.
type shifted struct {
	*localawstest.Platform
	alternate        string // the second target group
	production, test string // rules
}

// newShifted creates the service with the image "one", and waits until it is complete.
func newShifted(t *testing.T, config *ecstypes.DeploymentConfiguration, scale float64) *shifted {
	t.Helper()
	p := &shifted{Platform: localawstest.New(t, binary, localaws.Options{TimeScale: scale})}
	p.alternate = p.NewTargetGroup("app-alternate", "/health")
	balancers, err := p.ELB.DescribeLoadBalancers(t.Context(), &elbv2.DescribeLoadBalancersInput{})
	require.NoError(t, err)
	lb := balancers.LoadBalancers[0].LoadBalancerArn
	listeners, err := p.ELB.DescribeListeners(t.Context(), &elbv2.DescribeListenersInput{LoadBalancerArn: lb})
	require.NoError(t, err)
	test, err := p.ELB.CreateListener(t.Context(), &elbv2.CreateListenerInput{
		LoadBalancerArn: lb, Port: aws.Int32(10080), Protocol: elbtypes.ProtocolEnumHttp, DefaultActions: forwardTo(p.Group),
	})
	require.NoError(t, err)
	rule := func(listener *string) string {
		out, err := p.ELB.CreateRule(t.Context(), &elbv2.CreateRuleInput{
			ListenerArn: listener, Priority: aws.Int32(10), Actions: forwardTo(p.Group),
			Conditions: []elbtypes.RuleCondition{{Field: aws.String("path-pattern"), Values: []string{"/*"}}},
		})
		require.NoError(t, err)
		return *out.Rules[0].RuleArn
	}
	p.production, p.test = rule(listeners.Listeners[0].ListenerArn), rule(test.Listeners[0].ListenerArn)
	p.CreateService(p.RegisterTaskDefinition(p.PushImage("one")), func(in *ecs.CreateServiceInput) {
		in.LoadBalancers[0].AdvancedConfiguration = p.advanced()
		config.DeploymentCircuitBreaker = in.DeploymentConfiguration.DeploymentCircuitBreaker
		in.DeploymentConfiguration = config
	})
	return p
}

func forwardTo(group string) []elbtypes.Action {
	return []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: &group}}
}

func (p *shifted) advanced() *ecstypes.AdvancedConfiguration {
	return &ecstypes.AdvancedConfiguration{
		AlternateTargetGroupArn: &p.alternate, ProductionListenerRule: &p.production, TestListenerRule: &p.test,
		RoleArn: aws.String("arn:aws:iam::000000000000:role/infrastructure"),
	}
}

// pauseAt returns hooks that pause at stages.
func pauseAt(minutes int32, action ecstypes.DeploymentLifecycleHookAction, stages ...string) []ecstypes.DeploymentLifecycleHook {
	hook := ecstypes.DeploymentLifecycleHook{
		TargetType:           ecstypes.DeploymentLifecycleHookTargetTypePause,
		TimeoutConfiguration: &ecstypes.DeploymentLifecycleHookTimeoutConfiguration{TimeoutInMinutes: &minutes, Action: action},
	}
	for _, stage := range stages {
		hook.LifecycleStages = append(hook.LifecycleStages, ecstypes.DeploymentLifecycleHookStage(stage))
	}
	return []ecstypes.DeploymentLifecycleHook{hook}
}

// configure replaces the deployment configuration, which starts no deployment.
func (p *shifted) configure(config *ecstypes.DeploymentConfiguration) {
	p.Helper()
	_, err := p.ECS.UpdateService(p.Context(), &ecs.UpdateServiceInput{Cluster: aws.String("test"), Service: aws.String("app"), DeploymentConfiguration: config})
	p.RequireNoError(err)
}

// waitUntil polls the newest service deployment.
func (p *shifted) waitUntil(wanted func(ecstypes.ServiceDeployment) bool) ecstypes.ServiceDeployment {
	p.Helper()
	var last ecstypes.ServiceDeployment
	require.Eventually(p, func() bool { last = serviceDeployments(p.Platform)[0]; return wanted(last) }, time.Minute, 5*time.Millisecond,
		"%+v", &last)
	return last
}

// waitPaused waits until the newest deployment awaits an action at a stage, and returns
// it with the hook's id.
func (p *shifted) waitPaused(stage string) (ecstypes.ServiceDeployment, string) {
	p.Helper()
	d := p.waitUntil(func(d ecstypes.ServiceDeployment) bool {
		return string(d.LifecycleStage) == stage && len(d.LifecycleHookDetails) == 1 &&
			d.LifecycleHookDetails[0].Status == ecstypes.DeploymentLifecycleHookStatusAwaitingAction
	})
	return d, *d.LifecycleHookDetails[0].HookId
}

func (p *shifted) resume(stage string, action ecstypes.DeploymentLifecycleHookAction) ecstypes.ServiceDeployment {
	p.Helper()
	d, id := p.waitPaused(stage)
	_, err := p.ECS.ContinueServiceDeployment(p.Context(), &ecs.ContinueServiceDeploymentInput{ServiceDeploymentArn: d.ServiceDeploymentArn, HookId: &id, Action: action})
	p.RequireNoError(err)
	return d
}

func (p *shifted) waitStatus(status ecstypes.ServiceDeploymentStatus) ecstypes.ServiceDeployment {
	p.Helper()
	return p.waitUntil(func(d ecstypes.ServiceDeployment) bool { return d.Status == status })
}

// weights returns the weights of the first and the alternate target group of a rule.
func (p *shifted) weights(rule string) [2]int32 {
	p.Helper()
	out, err := p.ELB.DescribeRules(p.Context(), &elbv2.DescribeRulesInput{RuleArns: []string{rule}})
	p.RequireNoError(err)
	got := [2]int32{}
	for _, t := range out.Rules[0].Actions[0].ForwardConfig.TargetGroups {
		i := 0
		if *t.TargetGroupArn == p.alternate {
			i = 1
		}
		got[i] = *t.Weight
	}
	return got
}

// resolved returns the target group that ECS resolved for a revision.
func (p *shifted) resolved(revision *string) string {
	p.Helper()
	out, err := p.ECS.DescribeServiceRevisions(p.Context(), &ecs.DescribeServiceRevisionsInput{ServiceRevisionArns: []string{*revision}})
	p.RequireNoError(err)
	require.Equal(p, p.production, *out.ServiceRevisions[0].ResolvedConfiguration.LoadBalancers[0].ProductionListenerRule)
	return *out.ServiceRevisions[0].ResolvedConfiguration.LoadBalancers[0].TargetGroupArn
}

func (p *shifted) versionAtTest() string {
	p.Helper()
	other := *p.Platform
	other.URL = "http://" + p.Server.ListenerAddress("alb", 10080)
	return other.Version()
}

const cont, back = ecstypes.DeploymentLifecycleHookActionContinue, ecstypes.DeploymentLifecycleHookActionRollback

var allPauses = []string{"PRE_SCALE_UP", "POST_SCALE_UP", "POST_TEST_TRAFFIC_SHIFT", "PRE_PRODUCTION_TRAFFIC_SHIFT", "POST_PRODUCTION_TRAFFIC_SHIFT"}

func blueGreen(bake int32, hooks []ecstypes.DeploymentLifecycleHook) *ecstypes.DeploymentConfiguration {
	if hooks == nil {
		hooks = []ecstypes.DeploymentLifecycleHook{}
	}
	return &ecstypes.DeploymentConfiguration{Strategy: ecstypes.DeploymentStrategyBlueGreen, BakeTimeInMinutes: &bake, LifecycleHooks: hooks}
}

// TestBlueGreen checks every stage of a deployment with pause hooks: which version
// serves at which listener, the weights of both rules, and what ECS describes.
func TestBlueGreen(t *testing.T) {
	t.Parallel()
	p := newShifted(t, blueGreen(0, nil), 60)
	first := p.waitStatus(ecstypes.ServiceDeploymentStatusSuccessful)
	require.Equal(t, p.Group, p.resolved(first.TargetServiceRevision.Arn))
	require.Equal(t, [2]int32{100, 0}, p.weights(p.production))
	require.Equal(t, "CLEAN_UP", string(first.LifecycleStage))
	require.Len(t, serviceDeployments(p.Platform), 1)

	p.configure(blueGreen(1, pauseAt(60, back, allPauses...)))
	require.Len(t, serviceDeployments(p.Platform), 1, "deploymentConfiguration alone is no deployment")
	green, test := p.Server.ListenerRequests("alb", 80)[p.alternate], p.Server.ListenerRequests("alb", 10080)[p.alternate]
	require.Zero(t, green+test)
	p.UpdateService(p.RegisterTaskDefinition(p.PushImage("two")))
	for _, stage := range []struct {
		name             string
		tasks            int32
		production, test string
		weights          [2]int32
		shares           [2]float64 // of the target: production and test
	}{
		{"PRE_SCALE_UP", 0, "one", "one", [2]int32{100, 0}, [2]float64{0, 0}},
		{"POST_SCALE_UP", 2, "one", "one", [2]int32{100, 0}, [2]float64{0, 0}},
		{"POST_TEST_TRAFFIC_SHIFT", 2, "one", "two", [2]int32{100, 0}, [2]float64{0, 100}},
		{"PRE_PRODUCTION_TRAFFIC_SHIFT", 2, "one", "two", [2]int32{100, 0}, [2]float64{0, 100}},
		{"POST_PRODUCTION_TRAFFIC_SHIFT", 2, "two", "two", [2]int32{0, 100}, [2]float64{100, 100}},
	} {
		d, _ := p.waitPaused(stage.name)
		require.Equal(t, ecstypes.ServiceDeploymentStatusInProgress, d.Status)
		require.Equal(t, stage.tasks, d.TargetServiceRevision.RunningTaskCount, stage.name)
		shares := [2]float64{*d.TargetServiceRevision.RequestedProductionTrafficWeight, *d.TargetServiceRevision.RequestedTestTrafficWeight}
		require.Equal(t, stage.shares, shares)
		require.InDelta(t, 100-stage.shares[0], *d.SourceServiceRevisions[0].RequestedProductionTrafficWeight, 0)
		require.Equal(t, stage.production, p.Version(), stage.name)
		require.Equal(t, stage.test, p.versionAtTest(), stage.name)
		require.Equal(t, stage.weights, p.weights(p.production))
		if stage.production == "one" {
			require.Zero(t, p.Server.ListenerRequests("alb", 80)[p.alternate], "production requests of green before the shift")
		}
		p.resume(stage.name, cont)
	}
	p.waitUntil(func(d ecstypes.ServiceDeployment) bool { return d.LifecycleStage == "BAKE_TIME" })
	require.Equal(t, int32(4), p.DescribeService().RunningCount, "the old tasks run during the bake")
	second := p.waitStatus(ecstypes.ServiceDeploymentStatusSuccessful)
	require.Equal(t, p.alternate, p.resolved(second.TargetServiceRevision.Arn))
	require.Equal(t, p.Group, p.resolved(second.SourceServiceRevisions[0].Arn))
	p.WaitStable()

	// The roles of the target groups are swapped at each deployment.
	p.configure(blueGreen(0, nil))
	p.UpdateService(p.RegisterTaskDefinition(p.PushImage("three")))
	third := p.waitStatus(ecstypes.ServiceDeploymentStatusSuccessful)
	require.Equal(t, p.Group, p.resolved(third.TargetServiceRevision.Arn))
	require.Equal(t, [2]int32{100, 0}, p.weights(p.production))
	require.Equal(t, "three", p.Version())
	p.WaitStable()
}

// TestShiftRollsBack checks the rollback from each stage and by each cause: the traffic
// is back at the old version, whose target group serves all, and the new tasks are gone.
func TestShiftRollsBack(t *testing.T) {
	t.Parallel()
	alarms := &ecstypes.DeploymentAlarms{Enable: true, Rollback: true, AlarmNames: []string{"5xx"}}
	stop := func(p *shifted, d ecstypes.ServiceDeployment) {
		_, err := p.ECS.StopServiceDeployment(p.Context(), &ecs.StopServiceDeploymentInput{
			ServiceDeploymentArn: d.ServiceDeploymentArn, StopType: ecstypes.StopServiceDeploymentStopTypeRollback,
		})
		p.RequireNoError(err)
	}
	hookReason := "Service deployment rolled back because of lifecycle hook execution failure(s)."
	userReason := "Service deployment rolled back because of a user request."
	tests := map[string]struct {
		stage  string
		act    func(p *shifted, d ecstypes.ServiceDeployment)
		reason string
	}{
		"stopped before scale-up":       {"PRE_SCALE_UP", stop, userReason},
		"stopped after scale-up":        {"POST_SCALE_UP", stop, userReason},
		"stopped after the test shift":  {"POST_TEST_TRAFFIC_SHIFT", stop, userReason},
		"stopped after the first share": {"POST_PRODUCTION_TRAFFIC_SHIFT", stop, userReason},
		"hook answered with ROLLBACK": {"PRE_PRODUCTION_TRAFFIC_SHIFT", func(p *shifted, _ ecstypes.ServiceDeployment) {
			p.resume("PRE_PRODUCTION_TRAFFIC_SHIFT", back)
		}, hookReason},
		"hook expired": {"POST_TEST_TRAFFIC_SHIFT", func(p *shifted, _ ecstypes.ServiceDeployment) { p.Server.ExpireHooks() }, hookReason},
		"alarm while paused": {"POST_PRODUCTION_TRAFFIC_SHIFT", func(p *shifted, _ ecstypes.ServiceDeployment) {
			p.Server.SetAlarm("5xx", true)
		}, "Service deployment rolled back because one or more deployment alarms were triggered."},
		"alarm while baking": {"POST_PRODUCTION_TRAFFIC_SHIFT", func(p *shifted, _ ecstypes.ServiceDeployment) {
			p.resume("POST_PRODUCTION_TRAFFIC_SHIFT", cont)
			p.waitUntil(func(d ecstypes.ServiceDeployment) bool { return d.LifecycleStage == "BAKE_TIME" })
			p.Server.SetAlarm("5xx", true)
		}, "Service deployment rolled back because one or more deployment alarms were triggered."},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newShifted(t, blueGreen(0, nil), 60)
			first := p.waitStatus(ecstypes.ServiceDeploymentStatusSuccessful)
			config := blueGreen(1440, pauseAt(60, "", tt.stage))
			config.Alarms = alarms
			p.configure(config)
			p.UpdateService(p.RegisterTaskDefinition(p.PushImage("two")))
			d, _ := p.waitPaused(tt.stage)
			require.Equal(t, back, d.LifecycleHookDetails[0].TimeoutAction, "the default")
			tt.act(p, d)
			d = p.waitStatus(ecstypes.ServiceDeploymentStatusRollbackSuccessful)
			require.Equal(t, tt.reason, *d.StatusReason)
			require.Equal(t, *first.TargetServiceRevision.Arn, *d.Rollback.ServiceRevisionArn)
			require.Empty(t, d.LifecycleHookDetails)
			require.Equal(t, [2]int32{100, 0}, p.weights(p.production))
			require.Equal(t, [2]float64{0, 100}, [2]float64{*d.TargetServiceRevision.RequestedProductionTrafficWeight, *d.SourceServiceRevisions[0].RequestedProductionTrafficWeight})
			require.Equal(t, []string{"one", "one"}, []string{p.Version(), p.versionAtTest()})
			s := p.WaitStable()
			require.Equal(t, int32(2), s.RunningCount)
			require.Equal(t, p.Group, p.resolved(first.TargetServiceRevision.Arn))

			// The next deployment goes to the alternate target group again.
			p.Server.SetAlarm("5xx", false)
			p.configure(blueGreen(0, nil))
			p.UpdateService(p.RegisterTaskDefinition(p.PushImage("three")))
			d = p.waitStatus(ecstypes.ServiceDeploymentStatusSuccessful)
			require.Equal(t, p.alternate, p.resolved(d.TargetServiceRevision.Arn))
			require.Equal(t, "three", p.Version())
		})
	}
}

// TestRollbackLosesNoRequest shifts all traffic to the new version and back under load.
func TestRollbackLosesNoRequest(t *testing.T) {
	t.Parallel()
	p := newShifted(t, blueGreen(0, nil), 20)
	p.waitStatus(ecstypes.ServiceDeploymentStatusSuccessful)
	p.WaitStable()
	stop := load(p.Platform)
	p.configure(blueGreen(60, pauseAt(60, back, "POST_PRODUCTION_TRAFFIC_SHIFT")))
	p.UpdateService(p.RegisterTaskDefinition(p.PushImage("two")))
	p.waitPaused("POST_PRODUCTION_TRAFFIC_SHIFT")
	require.Equal(t, "two", p.Version())
	p.resume("POST_PRODUCTION_TRAFFIC_SHIFT", back)
	p.waitStatus(ecstypes.ServiceDeploymentStatusRollbackSuccessful)
	good, bad := stop()
	require.Zero(t, bad)
	require.Positive(t, good)
}

// TestCircuitBreakerStopsGreen checks that new tasks that fail get no request.
func TestCircuitBreakerStopsGreen(t *testing.T) {
	t.Parallel()
	p := newShifted(t, blueGreen(0, nil), 60)
	p.waitStatus(ecstypes.ServiceDeploymentStatusSuccessful)
	p.UpdateService(p.RegisterTaskDefinition(p.PushImage("bad", "exit", "7")))
	d := p.waitStatus(ecstypes.ServiceDeploymentStatusRollbackSuccessful)
	require.Equal(t, ecstypes.ServiceDeploymentRollbackMonitorsStatusTriggered, d.DeploymentCircuitBreaker.Status)
	require.Zero(t, p.Server.ListenerRequests("alb", 80)[p.alternate])
	require.Equal(t, "one", p.Version())
	p.WaitStable()
}

func TestCanaryAndLinear(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		config ecstypes.DeploymentConfiguration
		shares []float64
	}{
		"canary": {ecstypes.DeploymentConfiguration{
			Strategy:            ecstypes.DeploymentStrategyCanary,
			CanaryConfiguration: &ecstypes.CanaryConfiguration{CanaryPercent: aws.Float64(5), CanaryBakeTimeInMinutes: aws.Int32(1)},
		}, []float64{0, 5}},
		"tenths": {ecstypes.DeploymentConfiguration{
			Strategy:            ecstypes.DeploymentStrategyCanary,
			CanaryConfiguration: &ecstypes.CanaryConfiguration{CanaryPercent: aws.Float64(0.3), CanaryBakeTimeInMinutes: aws.Int32(0)},
		}, []float64{0, 0.3}},
		"linear": {ecstypes.DeploymentConfiguration{
			Strategy:            ecstypes.DeploymentStrategyLinear,
			LinearConfiguration: &ecstypes.LinearConfiguration{StepPercent: aws.Float64(40), StepBakeTimeInMinutes: aws.Int32(1)},
		}, []float64{0, 40, 80}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newShifted(t, &tt.config, 60)
			p.waitStatus(ecstypes.ServiceDeploymentStatusSuccessful)
			p.configure(&ecstypes.DeploymentConfiguration{LifecycleHooks: pauseAt(60, back, "PRE_PRODUCTION_TRAFFIC_SHIFT", "POST_PRODUCTION_TRAFFIC_SHIFT")})
			p.UpdateService(p.RegisterTaskDefinition(p.PushImage("two")))
			last := ""
			for _, share := range tt.shares {
				d := p.waitUntil(func(d ecstypes.ServiceDeployment) bool {
					return string(d.LifecycleStage) == "PRE_PRODUCTION_TRAFFIC_SHIFT" && len(d.LifecycleHookDetails) == 1 && *d.LifecycleHookDetails[0].HookId != last
				})
				require.InDelta(t, share, *d.TargetServiceRevision.RequestedProductionTrafficWeight, 1e-9)
				w := p.weights(p.production)
				require.InDelta(t, share/100, float64(w[1])/float64(w[0]+w[1]), 1e-9)
				last = *d.LifecycleHookDetails[0].HookId
				p.resume("PRE_PRODUCTION_TRAFFIC_SHIFT", "")
				if share != tt.shares[len(tt.shares)-1] && name != "tenths" {
					p.waitUntil(func(d ecstypes.ServiceDeployment) bool { return d.LifecycleStage == "PRODUCTION_TRAFFIC_SHIFT" })
				}
			}
			p.resume("POST_PRODUCTION_TRAFFIC_SHIFT", cont)
			p.waitStatus(ecstypes.ServiceDeploymentStatusSuccessful)
			require.Equal(t, [2]int32{0, 100}, p.weights(p.production))
			require.Equal(t, "two", p.Version())
		})
	}
}

// TestUpdateDuringShift checks that a newer deployment gives the traffic back to the last
// completed revision first, and that ECS does not notice weights that somebody changed
// until it sets them itself.
func TestUpdateDuringShift(t *testing.T) {
	t.Parallel()
	p := newShifted(t, blueGreen(0, nil), 60)
	p.waitStatus(ecstypes.ServiceDeploymentStatusSuccessful)
	p.configure(blueGreen(0, pauseAt(60, back, "RECONCILE_SERVICE", "POST_PRODUCTION_TRAFFIC_SHIFT")))
	p.UpdateService(p.RegisterTaskDefinition(p.PushImage("two")))
	p.waitPaused("POST_PRODUCTION_TRAFFIC_SHIFT")
	require.Equal(t, "two", p.Version())

	p.UpdateService(p.RegisterTaskDefinition(p.PushImage("three")))
	p.waitPaused("RECONCILE_SERVICE")
	require.Equal(t, [2]int32{100, 0}, p.weights(p.production))
	require.Equal(t, "one", p.Version())
	require.Equal(t, ecstypes.ServiceDeploymentStatusStopped, serviceDeployments(p.Platform)[1].Status)
	_, err := p.ELB.ModifyRule(t.Context(), &elbv2.ModifyRuleInput{RuleArn: &p.production, Actions: []elbtypes.Action{{
		Type: elbtypes.ActionTypeEnumForward, ForwardConfig: &elbtypes.ForwardActionConfig{TargetGroups: []elbtypes.TargetGroupTuple{
			{TargetGroupArn: &p.Group, Weight: aws.Int32(70)}, {TargetGroupArn: &p.alternate, Weight: aws.Int32(30)},
		}},
	}}})
	require.NoError(t, err)
	d := p.resume("RECONCILE_SERVICE", cont)
	require.Len(t, d.SourceServiceRevisions, 2)
	p.waitUntil(func(d ecstypes.ServiceDeployment) bool { return d.LifecycleStage != "RECONCILE_SERVICE" })
	p.resume("POST_PRODUCTION_TRAFFIC_SHIFT", cont)
	p.waitStatus(ecstypes.ServiceDeploymentStatusSuccessful)
	require.Equal(t, [2]int32{0, 100}, p.weights(p.production))
	require.Equal(t, "three", p.Version())
	p.WaitStable()

	// A rolling deployment stays in the target group that serves production.
	rolling := blueGreen(0, nil)
	rolling.Strategy = ecstypes.DeploymentStrategyRolling
	p.configure(rolling)
	p.UpdateService(p.RegisterTaskDefinition(p.PushImage("four")))
	d = p.waitStatus(ecstypes.ServiceDeploymentStatusSuccessful)
	require.Empty(t, d.LifecycleStage)
	require.Nil(t, d.TargetServiceRevision.RequestedProductionTrafficWeight)
	require.Equal(t, "four", p.Version())
	require.Equal(t, p.alternate, p.resolved(d.TargetServiceRevision.Arn))
}

// TestFailedOldTaskIsReplaced checks that a task of the old revision that fails during a
// deployment is replaced with its own revision.
func TestFailedOldTaskIsReplaced(t *testing.T) {
	t.Parallel()
	p := newShifted(t, blueGreen(0, nil), 60)
	p.waitStatus(ecstypes.ServiceDeploymentStatusSuccessful)
	p.configure(blueGreen(0, pauseAt(60, back, "POST_TEST_TRAFFIC_SHIFT")))
	p.UpdateService(p.RegisterTaskDefinition(p.PushImage("two")))
	p.waitPaused("POST_TEST_TRAFFIC_SHIFT")
	old := *p.DescribeService().Deployments[1].Id
	p.Get("/die")
	s := p.Eventually(func(s ecstypes.Service) bool {
		died := func(task ecstypes.Task) bool { return *task.TaskDefinitionArn == *s.Deployments[1].TaskDefinition }
		return len(s.Deployments) == 2 && slices.ContainsFunc(p.DescribeTasks(ecstypes.DesiredStatusStopped), died) && s.Deployments[1].RunningCount == 2
	})
	require.Equal(t, old, *s.Deployments[1].Id)
	require.Equal(t, int32(2), s.Deployments[0].RunningCount)
	require.Equal(t, "one", p.Version())
}

// TestHeadlessService checks that a service without a load balancer passes all stages.
func TestHeadlessService(t *testing.T) {
	t.Parallel()
	p := &shifted{Platform: localawstest.New(t, binary, localaws.Options{TimeScale: 60})}
	lambda := ecstypes.DeploymentLifecycleHook{
		HookTargetArn: aws.String("arn:aws:lambda:us-east-1:000000000000:function:check"), RoleArn: aws.String("arn:aws:iam::000000000000:role/hooks"),
		LifecycleStages: []ecstypes.DeploymentLifecycleHookStage{"POST_TEST_TRAFFIC_SHIFT"}, HookDetails: document.NewLazyDocument(map[string]any{"limit": 3}),
	}
	config := blueGreen(0, append(append(pauseAt(60, cont, "POST_TEST_TRAFFIC_SHIFT"), lambda), pauseAt(1, cont, "POST_PRODUCTION_TRAFFIC_SHIFT")...))
	p.CreateService(p.RegisterTaskDefinition(p.PushImage("one")), func(in *ecs.CreateServiceInput) {
		in.LoadBalancers, in.DeploymentConfiguration = nil, config
	})
	d := p.waitUntil(func(d ecstypes.ServiceDeployment) bool { return len(d.LifecycleHookDetails) == 2 })
	require.Equal(t, ecstypes.DeploymentLifecycleHookTargetTypeAwsLambda, d.LifecycleHookDetails[1].TargetType)
	p.Server.ExpireHooks()
	d = p.waitStatus(ecstypes.ServiceDeploymentStatusSuccessful) // the hooks expire, the last one by its limit, and continue
	require.Nil(t, d.TargetServiceRevision.RequestedProductionTrafficWeight)
	var details map[string]any
	require.NoError(t, p.DescribeService().DeploymentConfiguration.LifecycleHooks[1].HookDetails.UnmarshalSmithyDocument(&details))
	require.Contains(t, details, "limit")
	out, err := p.ECS.DescribeServiceRevisions(t.Context(), &ecs.DescribeServiceRevisionsInput{ServiceRevisionArns: []string{*d.TargetServiceRevision.Arn}})
	require.NoError(t, err)
	require.Nil(t, out.ServiceRevisions[0].ResolvedConfiguration)
	p.configure(blueGreen(0, nil))
	p.UpdateService(p.RegisterTaskDefinition(p.PushImage("two")))
	p.waitStatus(ecstypes.ServiceDeploymentStatusSuccessful)
	p.WaitStable()
}

func TestContinueServiceDeploymentErrors(t *testing.T) {
	t.Parallel()
	p := newShifted(t, blueGreen(0, nil), 60)
	first := p.waitStatus(ecstypes.ServiceDeploymentStatusSuccessful)
	call := func(arn *string, hook string, action ecstypes.DeploymentLifecycleHookAction) error {
		_, err := p.ECS.ContinueServiceDeployment(t.Context(), &ecs.ContinueServiceDeploymentInput{ServiceDeploymentArn: arn, HookId: &hook, Action: action})
		return err
	}
	require.ErrorContains(t, call(aws.String("arn:nowhere"), "x", ""), "ServiceDeploymentNotFoundException")
	require.ErrorContains(t, call(first.ServiceDeploymentArn, "x", ""), "ClientException: The service deployment cannot be continued because it is in the SUCCESSFUL state.")
	// Two hooks at a stage: both must complete.
	p.configure(blueGreen(0, append(pauseAt(60, back, "PRE_SCALE_UP"), pauseAt(60, back, "PRE_SCALE_UP")...)))
	p.UpdateService(p.RegisterTaskDefinition(p.PushImage("two")))
	d := p.waitUntil(func(d ecstypes.ServiceDeployment) bool { return len(d.LifecycleHookDetails) == 2 })
	hook := *d.LifecycleHookDetails[0].HookId
	require.ErrorContains(t, call(d.ServiceDeploymentArn, "x", ""), "InvalidParameterException")
	require.ErrorContains(t, call(d.ServiceDeploymentArn, hook, "STOP"), "InvalidParameterException")
	require.NoError(t, call(d.ServiceDeploymentArn, hook, ""))
	require.ErrorContains(t, call(d.ServiceDeploymentArn, hook, ""), "ClientException: The lifecycle hook "+hook+" cannot be continued because it is in the SUCCEEDED state.")
	require.Equal(t, "PRE_SCALE_UP", string(serviceDeployments(p.Platform)[0].LifecycleStage))
	require.NoError(t, call(d.ServiceDeploymentArn, *d.LifecycleHookDetails[1].HookId, cont))
	p.waitStatus(ecstypes.ServiceDeploymentStatusSuccessful)
}
