package traffic_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/traffic"
)

// fixture is an embedded AWS with a load balancer whose listeners are on ports 80 and 10080.
type fixture struct {
	*localawstest.Platform
	balancer         string
	production, test string // listeners
	rules            int
}

func newFixture(t *testing.T) *fixture { return newFixtureOf(t, localaws.Options{}) }

func newFixtureOf(t *testing.T, o localaws.Options) *fixture {
	f := &fixture{Platform: localawstest.Start(t, o)}
	made, err := f.ELB.CreateLoadBalancer(t.Context(), &elb.CreateLoadBalancerInput{Name: aws.String("ecs-alb"), Subnets: []string{"subnet-1", "subnet-2"}})
	f.RequireNoError(err)
	f.balancer = *made.LoadBalancers[0].LoadBalancerArn
	f.production, f.test = f.listener(80), f.listener(10080)
	return f
}

func (f *fixture) listener(port int32) string {
	made, err := f.ELB.CreateListener(f.Context(), &elb.CreateListenerInput{
		LoadBalancerArn: &f.balancer, Port: &port, Protocol: types.ProtocolEnumHttp,
		DefaultActions: []types.Action{{Type: types.ActionTypeEnumFixedResponse, FixedResponseConfig: &types.FixedResponseActionConfig{StatusCode: aws.String("404")}}},
	})
	f.RequireNoError(err)
	return *made.Listeners[0].ListenerArn
}

// rule adds a rule that sends all requests to the first target group.
func (f *fixture) rule(listener string, groups ...string) string {
	f.rules++
	made, err := f.ELB.CreateRule(f.Context(), &elb.CreateRuleInput{
		ListenerArn: &listener, Priority: aws.Int32(int32(f.rules)), Actions: []types.Action{forward(groups...)},
		Conditions: []types.RuleCondition{{Field: aws.String("path-pattern"), Values: []string{fmt.Sprintf("/%d/*", f.rules)}}},
	})
	f.RequireNoError(err)
	return *made.Rules[0].RuleArn
}

func forward(groups ...string) types.Action {
	config := &types.ForwardActionConfig{}
	for n, group := range groups {
		config.TargetGroups = append(config.TargetGroups, types.TargetGroupTuple{TargetGroupArn: &group, Weight: aws.Int32(int32(100 * max(0, 1-n)))})
	}
	return types.Action{Type: types.ActionTypeEnumForward, ForwardConfig: config}
}

// service creates all that ECS shifts the traffic of a service with.
func (f *fixture) service(name string) (platform.Service, rollout.Shift) {
	blue, green := f.NewTargetGroup("ecs-"+name+"-tg", "/"), f.NewTargetGroup("ecs-"+name+"-t2", "/")
	return entry(name), rollout.Shift{
		TargetGroup: blue, AlternateTargetGroup: green, ProductionRule: f.rule(f.production, blue, green), TestRule: f.rule(f.test, green, blue),
		Role: "arn:aws:iam::000000000000:role/ecs-ecs-infrastructure-role",
	}
}

func entry(name string) platform.Service {
	return platform.Service{Name: name, Port: 8000, Strategy: &platform.Strategy{Type: platform.Canary}}
}

// advanced is the load balancer of a service in ECS.
func advanced(s rollout.Shift) []ecstypes.LoadBalancer {
	return []ecstypes.LoadBalancer{{TargetGroupArn: &s.TargetGroup, AdvancedConfiguration: &ecstypes.AdvancedConfiguration{
		AlternateTargetGroupArn: &s.AlternateTargetGroup, ProductionListenerRule: &s.ProductionRule, TestListenerRule: &s.TestRule, RoleArn: &s.Role,
	}}}
}

// countingELB counts calls.
type countingELB struct {
	traffic.ELB
	calls map[string]int
}

func (c *countingELB) DescribeTargetGroups(ctx context.Context, in *elb.DescribeTargetGroupsInput, options ...func(*elb.Options)) (*elb.DescribeTargetGroupsOutput, error) {
	c.calls["DescribeTargetGroups"]++
	return c.ELB.DescribeTargetGroups(ctx, in, options...)
}

func (c *countingELB) DescribeListeners(ctx context.Context, in *elb.DescribeListenersInput, options ...func(*elb.Options)) (*elb.DescribeListenersOutput, error) {
	c.calls["DescribeListeners"]++
	return c.ELB.DescribeListeners(ctx, in, options...)
}

func (c *countingELB) DescribeRules(ctx context.Context, in *elb.DescribeRulesInput, options ...func(*elb.Options)) (*elb.DescribeRulesOutput, error) {
	c.calls["DescribeRules"]++
	return c.ELB.DescribeRules(ctx, in, options...)
}

func TestLookup(t *testing.T) {
	f := newFixture(t)
	want := map[string]rollout.Shift{}
	var services []platform.Service
	for n := range 25 {
		s, shift := f.service(fmt.Sprintf("s%d", n))
		services, want[s.Name] = append(services, s), shift
	}
	lookup := traffic.Lookup{ELB: f.ELB, TestPort: 10080}
	counting := &countingELB{ELB: f.ELB, calls: map[string]int{}} // not the SDK's retries
	lookup.ELB = counting
	found, configured, err := lookup.Shifts(t.Context(), services)
	require.NoError(t, err)
	require.Equal(t, want, found)
	require.Empty(t, configured)
	require.Equal(t, map[string]int{"DescribeTargetGroups": 3, "DescribeListeners": 1, "DescribeRules": 2}, counting.calls, "25 services")

	// ECS knows s0's; s1's production rule was replaced by Terraform since; s2 is adopted, and
	// its target group has another name.
	stale := want["s1"]
	stale.ProductionRule = strings.Replace(stale.ProductionRule, "/app/", "/app/x", 1)
	own := f.NewTargetGroup("legacy", "/")
	adopted := rollout.Shift{TargetGroup: own, AlternateTargetGroup: f.NewTargetGroup("ecs-adopted-t2", "/"), Role: want["s0"].Role}
	adopted.ProductionRule, adopted.TestRule = f.rule(f.production, own), f.rule(f.test, own)
	lookup.Current = map[string][]ecstypes.LoadBalancer{
		"s0": advanced(want["s0"]), "s1": advanced(stale), "adopted": {{TargetGroupArn: &own}},
	}
	found, configured, err = lookup.Shifts(t.Context(), []platform.Service{entry("s0"), entry("s1"), entry("adopted")})
	require.NoError(t, err)
	require.Equal(t, map[string]rollout.Shift{"s1": want["s1"], "adopted": adopted}, found)
	require.Equal(t, map[string]rollout.Shift{"s0": want["s0"]}, configured)

	clear(counting.calls)
	_, _, err = lookup.Shifts(t.Context(), []platform.Service{entry("s0")})
	require.NoError(t, err)
	require.Equal(t, map[string]int{"DescribeRules": 1}, counting.calls, "a service that ECS knows all of")
}

func TestLookupOfMissing(t *testing.T) {
	f := newFixture(t)
	f.service("good")
	blue := f.NewTargetGroup("ecs-blue-tg", "/")
	f.rule(f.production, blue)
	several := f.NewTargetGroup("ecs-several-tg", "/")
	f.NewTargetGroup("ecs-several-t2", "/")
	f.rule(f.production, several)
	f.rule(f.production, several)
	f.rule(f.test, several)
	const next = ", so ECS cannot shift traffic: apply the services file with Terraform (slipway plan, slipway apply)"
	for name, tt := range map[string]struct {
		services []string
		port     int
		want     []string
	}{
		"nothing":          {services: []string{"none"}, want: []string{"service none: target group ecs-none-t2 does not exist", "service none: target group ecs-none-tg does not exist"}},
		"no alternate":     {services: []string{"good", "blue"}, want: []string{"service blue: target group ecs-blue-t2 does not exist", "service blue: the listener on port 10080 for test traffic has no rule that forwards to it"}},
		"several rules":    {services: []string{"several"}, want: []string{"service several: the load balancer has 2 rules that forward to it, and ECS shifts the traffic of one"}},
		"no test listener": {services: []string{"good", "several"}, port: 10081, want: []string{"services good, several: the load balancer has no listener on port 10081 for test traffic"}},
	} {
		t.Run(name, func(t *testing.T) {
			lookup := traffic.Lookup{ELB: f.ELB, TestPort: 10080}
			if tt.port != 0 {
				lookup.TestPort = tt.port
			}
			var services []platform.Service
			for _, name := range tt.services {
				services = append(services, entry(name))
			}
			_, _, err := lookup.Shifts(t.Context(), services)
			for _, want := range tt.want {
				require.ErrorContains(t, err, want+next)
			}
		})
	}
}
