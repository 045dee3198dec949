package elb_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"
)

func TestDescribe(t *testing.T) {
	f := start(t)
	ctx := t.Context()
	group := f.NewTargetGroup("g", "/health")
	again, err := f.ELB.CreateLoadBalancer(ctx, &elbv2.CreateLoadBalancerInput{Name: aws.String("lb"), Subnets: []string{"a", "b"}})
	require.NoError(t, err)
	require.Equal(t, f.lb, *again.LoadBalancers[0].LoadBalancerArn, "creation is idempotent")
	lbs, err := f.ELB.DescribeLoadBalancers(ctx, &elbv2.DescribeLoadBalancersInput{Names: []string{"lb"}})
	require.NoError(t, err)
	require.Equal(t, types.LoadBalancerStateEnumActive, lbs.LoadBalancers[0].State.Code)
	require.Len(t, lbs.LoadBalancers[0].AvailabilityZones, 2)
	require.Regexp(t, `^arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/lb/[0-9a-f]{16}$`, f.lb)

	attributes, err := f.ELB.ModifyLoadBalancerAttributes(ctx, &elbv2.ModifyLoadBalancerAttributesInput{
		LoadBalancerArn: &f.lb, Attributes: []types.LoadBalancerAttribute{{Key: aws.String("idle_timeout.timeout_seconds"), Value: aws.String("4")}},
	})
	require.NoError(t, err)
	described, err := f.ELB.DescribeLoadBalancerAttributes(ctx, &elbv2.DescribeLoadBalancerAttributesInput{LoadBalancerArn: &f.lb})
	require.NoError(t, err)
	require.Equal(t, attributes.Attributes, described.Attributes)
	delay, err := f.ELB.DescribeTargetGroupAttributes(ctx, &elbv2.DescribeTargetGroupAttributesInput{TargetGroupArn: &group})
	require.NoError(t, err)
	require.Equal(t, "1", *delay.Attributes[0].Value)

	groups, err := f.ELB.DescribeTargetGroups(ctx, &elbv2.DescribeTargetGroupsInput{Names: []string{"g"}})
	require.NoError(t, err)
	require.Empty(t, groups.TargetGroups[0].LoadBalancerArns)
	listener := f.listen(80, forward(group))
	groups, err = f.ELB.DescribeTargetGroups(ctx, &elbv2.DescribeTargetGroupsInput{LoadBalancerArn: &f.lb})
	require.NoError(t, err)
	require.Equal(t, []string{f.lb}, groups.TargetGroups[0].LoadBalancerArns)
	_, err = f.ELB.DeleteTargetGroup(ctx, &elbv2.DeleteTargetGroupInput{TargetGroupArn: &group})
	var used *types.ResourceInUseException
	require.ErrorAs(t, err, &used)

	_, err = f.ELB.AddTags(ctx, &elbv2.AddTagsInput{ResourceArns: []string{f.lb, listener}, Tags: []types.Tag{{Key: aws.String("b"), Value: aws.String("2")}}})
	require.NoError(t, err)
	_, err = f.ELB.RemoveTags(ctx, &elbv2.RemoveTagsInput{ResourceArns: []string{f.lb}, TagKeys: []string{"k"}})
	require.NoError(t, err)
	tags, err := f.ELB.DescribeTags(ctx, &elbv2.DescribeTagsInput{ResourceArns: []string{f.lb}})
	require.NoError(t, err)
	require.Len(t, tags.TagDescriptions[0].Tags, 1)
	require.Equal(t, "b", *tags.TagDescriptions[0].Tags[0].Key)

	f.register(group, newBackend(t, "one"))
	_, err = f.ELB.DeleteListener(ctx, &elbv2.DeleteListenerInput{ListenerArn: &listener})
	require.NoError(t, err)
	_, err = f.ELB.DeleteTargetGroup(ctx, &elbv2.DeleteTargetGroupInput{TargetGroupArn: &group})
	require.NoError(t, err)
}

func TestErrors(t *testing.T) {
	f := start(t)
	group := f.NewTargetGroup("g", "/health")
	listener := f.listen(80, forward(group))
	none := aws.String("arn:none")
	rule := &elbv2.CreateRuleInput{ListenerArn: &listener, Priority: aws.Int32(1), Actions: forward(group), Conditions: []types.RuleCondition{{Field: aws.String("path-pattern"), Values: []string{"/x"}}}}
	_, err := f.ELB.CreateRule(t.Context(), rule)
	require.NoError(t, err)
	rules, err := f.ELB.DescribeRules(t.Context(), &elbv2.DescribeRulesInput{ListenerArn: &listener})
	require.NoError(t, err)
	standard := rules.Rules[1].RuleArn
	target := func(change func(*elbv2.CreateTargetGroupInput)) func(context.Context) error {
		return func(ctx context.Context) error {
			in := &elbv2.CreateTargetGroupInput{Name: aws.String("new"), VpcId: aws.String("v"), Port: aws.Int32(80)}
			change(in)
			return second(f.ELB.CreateTargetGroup(ctx, in))
		}
	}
	created := func(change func(*elbv2.CreateRuleInput)) func(context.Context) error {
		return func(ctx context.Context) error {
			in := &elbv2.CreateRuleInput{
				ListenerArn: &listener, Priority: aws.Int32(3), Actions: forward(group), Conditions: []types.RuleCondition{{Field: aws.String("path-pattern"), Values: []string{"/x"}}},
				Transforms: urlRewrite("^/x", "/"),
			}
			change(in)
			return second(f.ELB.CreateRule(ctx, in))
		}
	}
	tests := map[string]struct {
		call func(context.Context) error
		code string
	}{
		"long name": {func(ctx context.Context) error {
			return second(f.ELB.CreateLoadBalancer(ctx, &elbv2.CreateLoadBalancerInput{Name: aws.String("abcdefghijklmnopqrstuvwxyz-0123456789")}))
		}, "ValidationError"},
		"unknown lb": {func(ctx context.Context) error {
			return second(f.ELB.DescribeLoadBalancers(ctx, &elbv2.DescribeLoadBalancersInput{Names: []string{"none"}}))
		}, "LoadBalancerNotFound"},
		"lb's listeners": {func(ctx context.Context) error {
			return second(f.ELB.DescribeListeners(ctx, &elbv2.DescribeListenersInput{LoadBalancerArn: none}))
		}, "LoadBalancerNotFound"},
		"lb's attributes": {func(ctx context.Context) error {
			return second(f.ELB.DescribeLoadBalancerAttributes(ctx, &elbv2.DescribeLoadBalancerAttributesInput{LoadBalancerArn: none}))
		}, "LoadBalancerNotFound"},
		"unknown group": {func(ctx context.Context) error {
			return second(f.ELB.DescribeTargetGroups(ctx, &elbv2.DescribeTargetGroupsInput{TargetGroupArns: []string{*none}}))
		}, "TargetGroupNotFound"},
		"group's health": {func(ctx context.Context) error {
			return second(f.ELB.DescribeTargetHealth(ctx, &elbv2.DescribeTargetHealthInput{TargetGroupArn: none}))
		}, "TargetGroupNotFound"},
		"group's target": {func(ctx context.Context) error {
			return second(f.ELB.RegisterTargets(ctx, &elbv2.RegisterTargetsInput{TargetGroupArn: none, Targets: []types.TargetDescription{{Id: aws.String("127.0.0.1")}}}))
		}, "TargetGroupNotFound"},
		"deregistration": {func(ctx context.Context) error {
			return second(f.ELB.DeregisterTargets(ctx, &elbv2.DeregisterTargetsInput{TargetGroupArn: none, Targets: []types.TargetDescription{{Id: aws.String("127.0.0.1")}}}))
		}, "TargetGroupNotFound"},
		"unknown listener": {func(ctx context.Context) error {
			return second(f.ELB.DeleteListener(ctx, &elbv2.DeleteListenerInput{ListenerArn: none}))
		}, "ListenerNotFound"},
		"unknown rule": {func(ctx context.Context) error {
			return second(f.ELB.DeleteRule(ctx, &elbv2.DeleteRuleInput{RuleArn: none}))
		}, "RuleNotFound"},
		"default rule": {func(ctx context.Context) error {
			return second(f.ELB.DeleteRule(ctx, &elbv2.DeleteRuleInput{RuleArn: standard}))
		}, "OperationNotPermitted"},
		"busy port": {func(ctx context.Context) error {
			return second(f.ELB.CreateListener(ctx, &elbv2.CreateListenerInput{LoadBalancerArn: &f.lb, Port: aws.Int32(80), DefaultActions: forward(group)}))
		}, "DuplicateListener"},
		"listener without a group": {func(ctx context.Context) error {
			return second(f.ELB.CreateListener(ctx, &elbv2.CreateListenerInput{LoadBalancerArn: &f.lb, Port: aws.Int32(81), DefaultActions: forward(*none)}))
		}, "TargetGroupNotFound"},
		"busy priority": {func(ctx context.Context) error { return second(f.ELB.CreateRule(ctx, rule)) }, "PriorityInUse"},
		"unsupported condition": {func(ctx context.Context) error {
			odd := *rule
			odd.Priority, odd.Conditions = aws.Int32(2), []types.RuleCondition{{Field: aws.String("source-ip")}}
			return second(f.ELB.CreateRule(ctx, &odd))
		}, "UnsupportedFeature"},
		"unknown rule's tags": {func(ctx context.Context) error {
			return second(f.ELB.DescribeTags(ctx, &elbv2.DescribeTagsInput{ResourceArns: []string{*standard + "0"}}))
		}, "RuleNotFound"},
		"unknown group's tags": {func(ctx context.Context) error {
			return second(f.ELB.AddTags(ctx, &elbv2.AddTagsInput{ResourceArns: []string{group + "0"}, Tags: []types.Tag{{Key: aws.String("a")}}}))
		}, "TargetGroupNotFound"},
		"tags of many": {func(ctx context.Context) error {
			return second(f.ELB.DescribeTags(ctx, &elbv2.DescribeTagsInput{ResourceArns: slices.Repeat([]string{group}, 21)}))
		}, "ValidationError"},
		"high priority":   {created(func(in *elbv2.CreateRuleInput) { in.Priority = aws.Int32(50001) }), "ValidationError"},
		"many values":     {created(func(in *elbv2.CreateRuleInput) { in.Conditions[0].Values = slices.Repeat([]string{"/a"}, 6) }), "ValidationError"},
		"long value":      {created(func(in *elbv2.CreateRuleInput) { in.Conditions[0].Values = []string{strings.Repeat("a", 129)} }), "ValidationError"},
		"two rewrites":    {created(func(in *elbv2.CreateRuleInput) { in.Transforms = append(in.Transforms, in.Transforms[0]) }), "ValidationError"},
		"rewrite's regex": {created(func(in *elbv2.CreateRuleInput) { in.Transforms[0].UrlRewriteConfig.Rewrites[0].Regex = aws.String("(") }), "ValidationError"},
		"busy name":       {target(func(in *elbv2.CreateTargetGroupInput) { in.Name = aws.String("g") }), "DuplicateTargetGroupName"},
		"no name":         {target(func(in *elbv2.CreateTargetGroupInput) { in.Name = aws.String("") }), "ValidationError"},
		"long interval":   {target(func(in *elbv2.CreateTargetGroupInput) { in.HealthCheckIntervalSeconds = aws.Int32(301) }), "ValidationError"},
		"no timeout":      {target(func(in *elbv2.CreateTargetGroupInput) { in.HealthCheckTimeoutSeconds = aws.Int32(0) }), "ValidationError"},
		"equal times":     {target(func(in *elbv2.CreateTargetGroupInput) { in.HealthCheckIntervalSeconds = aws.Int32(5) }), "ValidationError"},
		"small threshold": {target(func(in *elbv2.CreateTargetGroupInput) { in.HealthyThresholdCount = aws.Int32(1) }), "ValidationError"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var answered smithy.APIError
			require.ErrorAs(t, test.call(t.Context()), &answered)
			require.Equal(t, test.code, answered.ErrorCode())
		})
	}
}

func second[T any](_ T, err error) error { return err }
