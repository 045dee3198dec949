package elb

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"dagger/slipway/internal/localaws/wire"
)

// Service is the ELBv2 API.
func (b *Balancer) Service() wire.Service {
	return wire.Service{
		Name:      "elasticloadbalancing",
		Version:   "2015-12-01",
		Namespace: "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/",
		Operations: []wire.Operation{
			wire.Op("CreateLoadBalancer", locked(b, b.createLoadBalancer)),
			wire.Op("DescribeLoadBalancers", locked(b, b.describeLoadBalancers)),
			wire.Op("DeleteLoadBalancer", locked(b, b.deleteLoadBalancer)),
			wire.Op("DescribeLoadBalancerAttributes", locked(b, b.describeLoadBalancerAttributes)),
			wire.Op("ModifyLoadBalancerAttributes", locked(b, b.modifyLoadBalancerAttributes)),
			wire.Op("CreateTargetGroup", locked(b, b.createTargetGroup)),
			wire.Op("DescribeTargetGroups", locked(b, b.describeTargetGroups)),
			wire.Op("ModifyTargetGroup", locked(b, b.modifyTargetGroup)),
			wire.Op("DeleteTargetGroup", locked(b, b.deleteTargetGroup)),
			wire.Op("DescribeTargetGroupAttributes", locked(b, b.describeTargetGroupAttributes)),
			wire.Op("ModifyTargetGroupAttributes", locked(b, b.modifyTargetGroupAttributes)),
			wire.Op("CreateListener", locked(b, b.createListener)),
			wire.Op("DescribeListeners", locked(b, b.describeListeners)),
			wire.Op("ModifyListener", locked(b, b.modifyListener)),
			wire.Op("DeleteListener", locked(b, b.deleteListener)),
			wire.Op("CreateRule", locked(b, b.createRule)),
			wire.Op("DescribeRules", locked(b, b.describeRules)),
			wire.Op("ModifyRule", locked(b, b.modifyRule)),
			wire.Op("DeleteRule", locked(b, b.deleteRule)),
			wire.Op("RegisterTargets", b.registerTargets),
			wire.Op("DeregisterTargets", b.deregisterTargets),
			wire.Op("DescribeTargetHealth", locked(b, b.describeTargetHealth)),
			wire.Op("AddTags", locked(b, b.addTags)),
			wire.Op("RemoveTags", locked(b, b.removeTags)),
			wire.Op("DescribeTags", locked(b, b.describeTags)),
		},
	}
}

// locked runs an operation under the Balancer's lock.
func locked[I, O any](b *Balancer, f func(context.Context, *I) (*O, error)) func(context.Context, *I) (*O, error) {
	return func(ctx context.Context, in *I) (*O, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		return f(ctx, in)
	}
}

func (b *Balancer) registerTargets(ctx context.Context, in *elbv2.RegisterTargetsInput) (*elbv2.RegisterTargetsOutput, error) {
	wire.Touch(ctx, aws.ToString(in.TargetGroupArn))
	for _, t := range in.Targets {
		if err := b.Register(aws.ToString(in.TargetGroupArn), aws.ToString(t.Id), b.portOf(in.TargetGroupArn, t), t.AvailabilityZone); err != nil {
			return nil, err
		}
	}
	return &elbv2.RegisterTargetsOutput{}, nil
}

func (b *Balancer) deregisterTargets(ctx context.Context, in *elbv2.DeregisterTargetsInput) (*elbv2.DeregisterTargetsOutput, error) {
	wire.Touch(ctx, aws.ToString(in.TargetGroupArn))
	for _, t := range in.Targets {
		if err := b.Deregister(aws.ToString(in.TargetGroupArn), aws.ToString(t.Id), b.portOf(in.TargetGroupArn, t)); err != nil {
			return nil, err
		}
	}
	return &elbv2.DeregisterTargetsOutput{}, nil
}

// portOf is a target's port, which is the group's where none is named.
func (b *Balancer) portOf(group *string, t types.TargetDescription) int {
	if t.Port != nil {
		return int(*t.Port)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	g, err := b.group(aws.ToString(group))
	if err != nil {
		return 0
	}
	return int(aws.ToInt32(g.Port))
}

func (b *Balancer) describeTargetHealth(ctx context.Context, in *elbv2.DescribeTargetHealthInput) (*elbv2.DescribeTargetHealthOutput, error) {
	g, err := b.group(aws.ToString(in.TargetGroupArn))
	if err != nil {
		return nil, err
	}
	wire.Touch(ctx, aws.ToString(in.TargetGroupArn))
	wanted := func(t *target) bool {
		return len(in.Targets) == 0 || slices.ContainsFunc(in.Targets, func(d types.TargetDescription) bool {
			return aws.ToString(d.Id) == t.ip && (d.Port == nil || int(*d.Port) == t.port)
		})
	}
	out := &elbv2.DescribeTargetHealthOutput{TargetHealthDescriptions: []types.TargetHealthDescription{}}
	for _, t := range g.targets {
		if !wanted(t) {
			continue
		}
		health := &types.TargetHealth{State: t.state, Reason: t.reason}
		if t.text != "" {
			health.Description = new(t.text)
		}
		_, port, _ := strings.Cut(b.probe(g, t).address, ":")
		out.TargetHealthDescriptions = append(out.TargetHealthDescriptions, types.TargetHealthDescription{
			Target:          &types.TargetDescription{Id: &t.ip, Port: new(int32(t.port)), AvailabilityZone: t.zone},
			HealthCheckPort: &port, TargetHealth: health,
		})
	}
	for _, d := range in.Targets {
		if g.find(aws.ToString(d.Id), int(aws.ToInt32(d.Port))) == nil && d.Port != nil {
			out.TargetHealthDescriptions = append(out.TargetHealthDescriptions, types.TargetHealthDescription{
				Target:       &d,
				TargetHealth: &types.TargetHealth{State: notRegistered.State, Reason: notRegistered.Reason, Description: new(notRegistered.Text)},
			})
		}
	}
	return out, nil
}

func (b *Balancer) setTags(arn string, tags []types.Tag) {
	if b.tags[arn] == nil {
		b.tags[arn] = map[string]string{}
	}
	for _, t := range tags {
		b.tags[arn][aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
}

func (b *Balancer) addTags(ctx context.Context, in *elbv2.AddTagsInput) (*elbv2.AddTagsOutput, error) {
	for _, arn := range in.ResourceArns {
		wire.Touch(ctx, arn)
		b.setTags(arn, in.Tags)
	}
	return &elbv2.AddTagsOutput{}, nil
}

func (b *Balancer) removeTags(ctx context.Context, in *elbv2.RemoveTagsInput) (*elbv2.RemoveTagsOutput, error) {
	for _, arn := range in.ResourceArns {
		wire.Touch(ctx, arn)
		for _, key := range in.TagKeys {
			delete(b.tags[arn], key)
		}
	}
	return &elbv2.RemoveTagsOutput{}, nil
}

func (b *Balancer) describeTags(ctx context.Context, in *elbv2.DescribeTagsInput) (*elbv2.DescribeTagsOutput, error) {
	out := &elbv2.DescribeTagsOutput{TagDescriptions: []types.TagDescription{}}
	for _, arn := range in.ResourceArns {
		wire.Touch(ctx, arn)
		d := types.TagDescription{ResourceArn: &arn, Tags: []types.Tag{}}
		for _, key := range slices.Sorted(maps.Keys(b.tags[arn])) {
			d.Tags = append(d.Tags, types.Tag{Key: &key, Value: new(b.tags[arn][key])})
		}
		out.TagDescriptions = append(out.TagDescriptions, d)
	}
	return out, nil
}
