package rollout_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest/testapp"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// shiftedPlatform is an embedded AWS with services behind a load balancer, each with two
// target groups and a rule on the production and on the test listener.
type shiftedPlatform struct {
	*localawstest.Platform
	targets []rollout.Target
}

func newShiftedPlatform(t *testing.T, binary string, strategies ...platform.Strategy) *shiftedPlatform {
	p := &shiftedPlatform{Platform: localawstest.New(t, binary, localaws.Options{TimeScale: 60})}
	balancers, err := p.ELB.DescribeLoadBalancers(t.Context(), &elbv2.DescribeLoadBalancersInput{})
	require.NoError(t, err)
	lb := balancers.LoadBalancers[0].LoadBalancerArn
	listeners, err := p.ELB.DescribeListeners(t.Context(), &elbv2.DescribeListenersInput{LoadBalancerArn: lb})
	require.NoError(t, err)
	forward := func(group string) []elbtypes.Action {
		return []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: &group}}
	}
	test, err := p.ELB.CreateListener(t.Context(), &elbv2.CreateListenerInput{
		LoadBalancerArn: lb, Port: aws.Int32(10080), Protocol: elbtypes.ProtocolEnumHttp, DefaultActions: forward(p.Group),
	})
	require.NoError(t, err)
	image := p.PushImage("old")
	for n, strategy := range strategies {
		name := string(rune('a' + n))
		entry := platform.Service{Name: name, Strategy: &strategy, Names: platform.Names{Service: name, Family: name, Container: "app", Cluster: "test"}, DesiredCount: 1, Port: 8000}
		shift := &rollout.Shift{TargetGroup: p.NewTargetGroup(name, "/health"), AlternateTargetGroup: p.NewTargetGroup(name+"-b", "/health"), Role: "arn:aws:iam::000000000000:role/infrastructure"}
		rule := func(listener *string) string {
			out, err := p.ELB.CreateRule(t.Context(), &elbv2.CreateRuleInput{
				ListenerArn: listener, Priority: aws.Int32(int32(10 + n)), Actions: forward(shift.TargetGroup),
				Conditions: []elbtypes.RuleCondition{{Field: aws.String("path-pattern"), Values: []string{"/" + name + "/*"}}},
			})
			require.NoError(t, err)
			return *out.Rules[0].RuleArn
		}
		shift.ProductionRule, shift.TestRule = rule(listeners.Listeners[0].ListenerArn), rule(test.Listeners[0].ListenerArn)
		definition, err := p.ECS.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{
			Family: &name, Cpu: aws.String("256"), Memory: aws.String("512"), NetworkMode: types.NetworkModeAwsvpc,
			RequiresCompatibilities: []types.Compatibility{types.CompatibilityFargate}, ExecutionRoleArn: aws.String("arn:aws:iam::000000000000:role/exec"),
			ContainerDefinitions: []types.ContainerDefinition{{Name: aws.String("app"), Image: &image, Essential: aws.Bool(true), PortMappings: []types.PortMapping{{ContainerPort: aws.Int32(8000)}}}},
		})
		require.NoError(t, err)
		p.CreateService(*definition.TaskDefinition.TaskDefinitionArn, func(in *ecs.CreateServiceInput) {
			in.ServiceName, in.DesiredCount, in.LoadBalancers[0].TargetGroupArn = &name, aws.Int32(1), &shift.TargetGroup
		})
		p.targets = append(p.targets, rollout.Target{Service: entry, Shift: shift})
	}
	for _, target := range p.targets {
		require.Eventually(t, func() bool { return machine.Complete(p.service(target).Deployments) }, time.Minute, 20*time.Millisecond)
	}
	return p
}

func (p *shiftedPlatform) service(target rollout.Target) types.Service {
	out, err := p.ECS.DescribeServices(p.Context(), &ecs.DescribeServicesInput{Cluster: aws.String("test"), Services: []string{target.Service.Name}})
	p.RequireNoError(err)
	return out.Services[0]
}

// request returns the release of an image to all services.
func (p *shiftedPlatform) request(version string, args ...string) rollout.Request {
	request := rollout.Request{Version: version}
	image := p.PushImage(version, args...)
	for _, target := range p.targets {
		target.Image = image
		request.Targets = append(request.Targets, target)
	}
	return request
}

// requireWeights checks that the production rule of each service forwards to one group only.
func (p *shiftedPlatform) requireWeights() {
	p.Helper()
	for _, target := range p.targets {
		out, err := p.ELB.DescribeRules(p.Context(), &elbv2.DescribeRulesInput{RuleArns: []string{target.Shift.ProductionRule}})
		p.RequireNoError(err)
		var weights []int32
		for _, group := range out.Rules[0].Actions[0].ForwardConfig.TargetGroups {
			if *group.Weight > 0 {
				weights = append(weights, *group.Weight)
			}
		}
		require.Equal(p, []int32{100}, weights, target.Service.Name)
	}
}

// TestLockstepOnEmbeddedAWS releases two services in lock-step over HTTP: one release is
// paused and continued, the next fails its check in the bake, the last is aborted.
func TestLockstepOnEmbeddedAWS(t *testing.T) {
	binary, err := testapp.Build(t.Context(), t.TempDir())
	require.NoError(t, err)
	quick := platform.Strategy{Type: platform.Canary, Percent: 5, StepBake: aws.Int(1), Bake: aws.Int(1)}
	p := newShiftedPlatform(t, binary, quick, platform.Strategy{Type: platform.BlueGreen, Bake: aws.Int(0)})
	engine := rollout.Engine{ECS: p.ECS, Logs: p.Logs, Clock: clock.NewScaled(60), Event: func(service, text string) { t.Log(service, text) }}
	var entries []platform.Service
	for _, target := range p.targets {
		entries = append(entries, target.Service)
	}

	request := p.request("new")
	request.PauseAt = machine.PostTestTrafficShift
	tested := false
	request.TestNew = func(context.Context, map[string]string) error { tested = true; return nil }
	got := engine.Release(t.Context(), request)
	require.Equal(t, report.Paused, got.Result, got.Error)
	require.True(t, tested)
	p.requireWeights()
	u, err := engine.Unfinished(t.Context(), entries)
	require.NoError(t, err)
	require.True(t, u != nil && u.Paused, "%+v", u)
	require.Equal(t, "POST_TEST_TRAFFIC_SHIFT", u.Stage)
	request.PauseAt, request.Continue = "", true
	got = engine.Release(t.Context(), request)
	require.Equal(t, report.Succeeded, got.Result, got.Error)
	p.requireWeights()
	for _, target := range p.targets {
		require.Empty(t, p.service(target).DeploymentConfiguration.LifecycleHooks)
	}

	request = p.request("bad")
	request.CheckTraffic = func(_ context.Context, shifted []rollout.ShiftedTraffic) error {
		for _, s := range shifted {
			require.NotEqual(t, s.Previous, s.New)
		}
		return errors.New("5xx share 7 %")
	}
	failed := engine.Release(t.Context(), request)
	require.Equal(t, report.Restored, failed.Result, failed.Error)
	p.requireWeights()

	request = p.request("aborted")
	request.PauseAt = machine.PostProductionTrafficShift
	require.Equal(t, report.Paused, engine.Release(t.Context(), request).Result)
	aborted := engine.Abort(t.Context(), entries, 0)
	require.Equal(t, report.Restored, aborted.Result, aborted.Error)
	require.Equal(t, outcome.Done, aborted.ExitCode)
	p.requireWeights()
	for n, target := range p.targets {
		require.Equal(t, got.Services[n].To.TaskDefinition, *p.service(target).TaskDefinition, "the version before")
	}
}
