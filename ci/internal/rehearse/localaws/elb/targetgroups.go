package elb

import (
	"cmp"
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

func (b *Balancer) createTargetGroup(ctx context.Context, in *elbv2.CreateTargetGroupInput) (*elbv2.CreateTargetGroupOutput, error) {
	name := aws.ToString(in.Name)
	if name == "" || len(name) > 32 {
		return nil, wire.Errorf("ValidationError", "Target group name '%s' must have 1 to 32 characters", name)
	}
	for _, g := range b.groups {
		if aws.ToString(g.TargetGroupName) == name {
			return nil, wire.Errorf("DuplicateTargetGroupName", "A target group with the same name '%s' exists, but with different settings", name)
		}
	}
	requireAddTags(ctx, "CreateTargetGroup", b.cfg.Scope.ARN("elasticloadbalancing", "targetgroup/"+name+"/*"), in.Tags)
	arn := b.cfg.Scope.ARN("elasticloadbalancing", "targetgroup/"+name+"/"+wire.RandomHex(16))
	g := &targetGroup{attributes: map[string]string{
		deregistrationDelay: "300", "stickiness.enabled": "false", "stickiness.type": "lb_cookie",
		"slow_start.duration_seconds": "0", "load_balancing.algorithm.type": "round_robin",
	}}
	g.TargetGroup = types.TargetGroup{
		TargetGroupArn: &arn, TargetGroupName: in.Name, Port: in.Port, Protocol: cmp.Or(in.Protocol, types.ProtocolEnumHttp),
		ProtocolVersion: cmp.Or(in.ProtocolVersion, new("HTTP1")), TargetType: cmp.Or(in.TargetType, types.TargetTypeEnumInstance),
		VpcId: in.VpcId, IpAddressType: cmp.Or(in.IpAddressType, types.TargetGroupIpAddressTypeEnumIpv4),
		HealthCheckEnabled: cmp.Or(in.HealthCheckEnabled, new(true)), HealthCheckPath: cmp.Or(in.HealthCheckPath, new("/")),
		HealthCheckPort: cmp.Or(in.HealthCheckPort, new("traffic-port")), HealthCheckProtocol: cmp.Or(in.HealthCheckProtocol, types.ProtocolEnumHttp),
		HealthCheckIntervalSeconds: cmp.Or(in.HealthCheckIntervalSeconds, new(int32(30))), HealthCheckTimeoutSeconds: cmp.Or(in.HealthCheckTimeoutSeconds, new(int32(5))),
		HealthyThresholdCount: cmp.Or(in.HealthyThresholdCount, new(int32(5))), UnhealthyThresholdCount: cmp.Or(in.UnhealthyThresholdCount, new(int32(2))),
		Matcher: cmp.Or(in.Matcher, &types.Matcher{HttpCode: new("200")}),
	}
	if err := validateCheck(g.TargetGroup); err != nil {
		return nil, err
	}
	wire.AddResources(ctx, arn)
	b.setTags(arn, in.Tags)
	b.groups = append(b.groups, g)
	return &elbv2.CreateTargetGroupOutput{TargetGroups: []types.TargetGroup{b.describe(g)}}, nil
}

// validateCheck applies AWS's limits to a health check, except that its interval and
// timeout may be one second, which keeps rehearsals fast.
func validateCheck(g types.TargetGroup) error {
	interval, timeout := aws.ToInt32(g.HealthCheckIntervalSeconds), aws.ToInt32(g.HealthCheckTimeoutSeconds)
	switch {
	case interval < 1 || interval > 300:
		return wire.Errorf("ValidationError", "Health check interval '%d' must be between 1 and 300 seconds", interval)
	case timeout < 1 || timeout > 120:
		return wire.Errorf("ValidationError", "Health check timeout '%d' must be between 1 and 120 seconds", timeout)
	case timeout > interval || timeout == interval && interval >= 5:
		return wire.Errorf("ValidationError", "Health check interval must be greater than the timeout.")
	}
	for _, n := range []*int32{g.HealthyThresholdCount, g.UnhealthyThresholdCount} {
		if *n < 2 || *n > 10 {
			return wire.Errorf("ValidationError", "Health check threshold '%d' must be between 2 and 10", *n)
		}
	}
	return nil
}

func (b *Balancer) describeTargetGroups(ctx context.Context, in *elbv2.DescribeTargetGroupsInput) (*elbv2.DescribeTargetGroupsOutput, error) {
	candidates := slices.DeleteFunc(slices.Clone(b.groups), func(g *targetGroup) bool {
		return in.LoadBalancerArn != nil && !slices.Contains(b.forwardingLoadBalancers(*g.TargetGroupArn), *in.LoadBalancerArn)
	})
	all, missing := find(ctx, candidates, in.TargetGroupArns, in.Names, func(g *targetGroup) (arn, name *string) {
		return g.TargetGroupArn, g.TargetGroupName
	})
	if len(missing) > 0 {
		return nil, wire.Errorf("TargetGroupNotFound", "One or more target groups not found")
	}
	described := []types.TargetGroup{}
	for _, g := range all {
		described = append(described, b.describe(g))
	}
	page, next, err := wire.Paginate(described, in.Marker, in.PageSize, 400)
	return &elbv2.DescribeTargetGroupsOutput{TargetGroups: page, NextMarker: next}, err
}

func (b *Balancer) modifyTargetGroup(ctx context.Context, in *elbv2.ModifyTargetGroupInput) (*elbv2.ModifyTargetGroupOutput, error) {
	g, err := b.group(aws.ToString(in.TargetGroupArn))
	if err != nil {
		return nil, err
	}
	wire.AddResources(ctx, aws.ToString(in.TargetGroupArn))
	changed := g.TargetGroup
	changed.HealthCheckEnabled = cmp.Or(in.HealthCheckEnabled, g.HealthCheckEnabled)
	changed.HealthCheckPath = cmp.Or(in.HealthCheckPath, g.HealthCheckPath)
	changed.HealthCheckPort = cmp.Or(in.HealthCheckPort, g.HealthCheckPort)
	changed.HealthCheckProtocol = cmp.Or(in.HealthCheckProtocol, g.HealthCheckProtocol)
	changed.HealthCheckIntervalSeconds = cmp.Or(in.HealthCheckIntervalSeconds, g.HealthCheckIntervalSeconds)
	changed.HealthCheckTimeoutSeconds = cmp.Or(in.HealthCheckTimeoutSeconds, g.HealthCheckTimeoutSeconds)
	changed.HealthyThresholdCount = cmp.Or(in.HealthyThresholdCount, g.HealthyThresholdCount)
	changed.UnhealthyThresholdCount = cmp.Or(in.UnhealthyThresholdCount, g.UnhealthyThresholdCount)
	changed.Matcher = cmp.Or(in.Matcher, g.Matcher)
	if err := validateCheck(changed); err != nil {
		return nil, err
	}
	g.TargetGroup = changed
	for _, t := range g.targets {
		t.wake()
	}
	return &elbv2.ModifyTargetGroupOutput{TargetGroups: []types.TargetGroup{b.describe(g)}}, nil
}

func (b *Balancer) deleteTargetGroup(ctx context.Context, in *elbv2.DeleteTargetGroupInput) (*elbv2.DeleteTargetGroupOutput, error) {
	arn := aws.ToString(in.TargetGroupArn)
	wire.AddResources(ctx, arn)
	wire.AddResourceTags(ctx, b.tags[arn])
	if len(b.forwardingLoadBalancers(arn)) > 0 {
		return nil, wire.Errorf("ResourceInUse", "Target group '%s' is currently in use by a listener or a rule", arn)
	}
	for i, g := range b.groups {
		if aws.ToString(g.TargetGroupArn) == arn {
			for _, t := range slices.Clone(g.targets) {
				g.remove(t)
			}
			b.groups = slices.Delete(b.groups, i, i+1)
			delete(b.tags, arn)
			break
		}
	}
	return &elbv2.DeleteTargetGroupOutput{}, nil
}

func (b *Balancer) describeTargetGroupAttributes(ctx context.Context, in *elbv2.DescribeTargetGroupAttributesInput) (*elbv2.DescribeTargetGroupAttributesOutput, error) {
	g, err := b.group(aws.ToString(in.TargetGroupArn))
	if err != nil {
		return nil, err
	}
	wire.AddResources(ctx, aws.ToString(in.TargetGroupArn))
	return &elbv2.DescribeTargetGroupAttributesOutput{Attributes: sortedPairs[types.TargetGroupAttribute](g.attributes)}, nil
}

func (b *Balancer) modifyTargetGroupAttributes(ctx context.Context, in *elbv2.ModifyTargetGroupAttributesInput) (*elbv2.ModifyTargetGroupAttributesOutput, error) {
	g, err := b.group(aws.ToString(in.TargetGroupArn))
	if err != nil {
		return nil, err
	}
	wire.AddResources(ctx, aws.ToString(in.TargetGroupArn))
	wire.AddResourceTags(ctx, b.tags[aws.ToString(in.TargetGroupArn)])
	for _, a := range in.Attributes {
		g.attributes[aws.ToString(a.Key)] = aws.ToString(a.Value)
	}
	return &elbv2.ModifyTargetGroupAttributesOutput{Attributes: sortedPairs[types.TargetGroupAttribute](g.attributes)}, nil
}
