package ecs_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/rehearse/localaws"
	"dagger/slipway/internal/rehearse/localaws/localawstest"
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
	require.Eventually(p, func() bool { last = serviceDeployments(p.Platform)[0]; return wanted(last) }, 30*time.Second, 5*time.Millisecond,
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
		require.Equal(t, stage.shares, [2]float64{*d.TargetServiceRevision.RequestedProductionTrafficWeight, *d.TargetServiceRevision.RequestedTestTrafficWeight})
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
