package cli_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// shiftTraffic gives the service api a strategy, and makes what Terraform makes for it: a
// second target group, and one rule for production and one for test traffic.
func shiftTraffic(t *testing.T, dir string) {
	t.Helper()
	config, err := awsauth.Load(t.Context(), awsauth.Options{})
	require.NoError(t, err)
	client := elb.NewFromConfig(config)
	balancers, err := client.DescribeLoadBalancers(t.Context(), &elb.DescribeLoadBalancersInput{})
	require.NoError(t, err)
	balancer := balancers.LoadBalancers[0]
	groups, err := client.DescribeTargetGroups(t.Context(), &elb.DescribeTargetGroupsInput{Names: []string{"ecs-api-tg"}})
	require.NoError(t, err)
	group := groups.TargetGroups[0]
	second, err := client.CreateTargetGroup(t.Context(), &elb.CreateTargetGroupInput{
		Name: aws.String("ecs-api-t2"), Port: group.Port, Protocol: group.Protocol, TargetType: group.TargetType, VpcId: group.VpcId, HealthCheckPath: group.HealthCheckPath,
	})
	require.NoError(t, err)
	listeners, err := client.DescribeListeners(t.Context(), &elb.DescribeListenersInput{LoadBalancerArn: balancer.LoadBalancerArn})
	require.NoError(t, err)
	test, err := client.CreateListener(t.Context(), &elb.CreateListenerInput{
		LoadBalancerArn: balancer.LoadBalancerArn, Port: aws.Int32(10080), Protocol: types.ProtocolEnumHttp,
		DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: group.TargetGroupArn}},
	})
	require.NoError(t, err)
	rules, err := client.DescribeRules(t.Context(), &elb.DescribeRulesInput{ListenerArn: listeners.Listeners[0].ListenerArn})
	require.NoError(t, err)
	var patterns []string
	for _, rule := range rules.Rules {
		if len(rule.Actions) == 1 && aws.ToString(rule.Actions[0].TargetGroupArn) == *group.TargetGroupArn && !aws.ToBool(rule.IsDefault) {
			for _, condition := range rule.Conditions {
				patterns = append(patterns, condition.Values...)
			}
			_, err := client.DeleteRule(t.Context(), &elb.DeleteRuleInput{RuleArn: rule.RuleArn})
			require.NoError(t, err)
		}
	}
	require.NotEmpty(t, patterns)
	for _, listener := range []*string{listeners.Listeners[0].ListenerArn, test.Listeners[0].ListenerArn} {
		_, err := client.CreateRule(t.Context(), &elb.CreateRuleInput{
			ListenerArn: listener, Priority: aws.Int32(2), Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("api")}},
			Conditions: []types.RuleCondition{{Field: aws.String("path-pattern"), Values: patterns}},
			Actions: []types.Action{{Type: types.ActionTypeEnumForward, ForwardConfig: &types.ForwardActionConfig{TargetGroups: []types.TargetGroupTuple{
				{TargetGroupArn: group.TargetGroupArn, Weight: aws.Int32(100)}, {TargetGroupArn: second.TargetGroups[0].TargetGroupArn, Weight: aws.Int32(0)},
			}}}},
		})
		require.NoError(t, err)
	}
	services := strings.Replace(sourcetest.Services, `"api": {`, `"api": { "strategy": {"type": "canary", "percent": 20, "step_bake_minutes": 0, "bake_minutes": 0},`, 1)
	require.Contains(t, services, "canary")
	sourcetest.Write(t, dir, platform.ServicesFile, services)
}

// TestPausedRelease pauses a release, continues it, and aborts the next one, each command in
// a process of its own.
func TestPausedRelease(t *testing.T) {
	inPlatform(t, func(dir string) {
		shiftTraffic(t, dir)
		commit := func(text string) string {
			sourcetest.Write(t, dir, "api/fix.go", "package main\n\nfunc init() { println(\""+text+"\") }\n")
			sourcetest.Commit(t, dir, text)
			return strings.TrimSpace(sourcetest.Git(t, dir, "rev-parse", "HEAD"))
		}
		refused := func(want string, args ...string) {
			t.Helper()
			code, stdout, stderr := run(t, append(args, "--source", dir)...)
			require.Equal(t, outcome.Refused, code, stdout+stderr)
			require.Contains(t, stdout+stderr, want)
		}
		first := commit("first")
		paused := decode[report.Release](t, ran(t, dir, "deploy", "--pause-at", "post-test-traffic-shift", "--pause-limit", "336h"))
		require.Equal(t, report.Paused, paused.Result)
		require.Equal(t, "post-test-traffic-shift", paused.Pause.Stage)
		require.Equal(t, "slipway continue", paused.Next)
		status := decode[report.Status](t, ran(t, dir, "status"))
		require.Equal(t, "CANARY", status.Services[0].Strategy)
		require.Equal(t, "POST_TEST_TRAFFIC_SHIFT", status.Services[0].Shift.Stage)
		refused("is of commit "+first, "continue", "--of", strings.Repeat("0", 40))
		refused("is of commit "+first, "abort", "--of", strings.Repeat("0", 40))

		next := decode[report.Release](t, ran(t, dir, "continue", "--of", first, "--pause-at", "post-production-traffic-shift", "--pause-limit", "336h"))
		require.Equal(t, report.Paused, next.Result)
		require.Equal(t, "post-production-traffic-shift", next.Pause.Stage)
		require.Equal(t, report.Succeeded, decode[report.Release](t, ran(t, dir, "continue")).Result)
		require.Equal(t, first, decode[report.Status](t, ran(t, dir, "status")).Services[0].Version.SHA)
		refused("no release is paused: the last one is over", "continue")

		for _, command := range []string{"abort", "rollback"} {
			commit(command)
			require.Equal(t, report.Paused, decode[report.Release](t, ran(t, dir, "deploy", "--pause-at", "pre-production-traffic-shift", "--pause-limit", "336h")).Result)
			require.Equal(t, report.Restored, decode[report.Release](t, ran(t, dir, command)).Result)
			require.Equal(t, first, decode[report.Status](t, ran(t, dir, "status")).Services[0].Version.SHA)
		}
		refused("no release is in progress", "abort")
	})
}
