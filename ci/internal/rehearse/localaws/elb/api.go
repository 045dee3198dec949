package elb

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// Service returns the ELBv2 API.
func (b *Balancer) Service() wire.Service {
	return wire.Service{
		Name:      "elasticloadbalancing",
		Version:   "2015-12-01",
		Namespace: "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/",
		Operations: []wire.Operation{
			wire.NewLockedOperation(&b.mu, "CreateLoadBalancer", b.createLoadBalancer),
			wire.NewLockedOperation(&b.mu, "DescribeLoadBalancers", b.describeLoadBalancers),
			wire.NewLockedOperation(&b.mu, "DeleteLoadBalancer", b.deleteLoadBalancer),
			wire.NewLockedOperation(&b.mu, "DescribeLoadBalancerAttributes", b.describeLoadBalancerAttributes),
			wire.NewLockedOperation(&b.mu, "ModifyLoadBalancerAttributes", b.modifyLoadBalancerAttributes),
			wire.NewLockedOperation(&b.mu, "CreateTargetGroup", b.createTargetGroup),
			wire.NewLockedOperation(&b.mu, "DescribeTargetGroups", b.describeTargetGroups),
			wire.NewLockedOperation(&b.mu, "ModifyTargetGroup", b.modifyTargetGroup),
			wire.NewLockedOperation(&b.mu, "DeleteTargetGroup", b.deleteTargetGroup),
			wire.NewLockedOperation(&b.mu, "DescribeTargetGroupAttributes", b.describeTargetGroupAttributes),
			wire.NewLockedOperation(&b.mu, "ModifyTargetGroupAttributes", b.modifyTargetGroupAttributes),
			wire.NewLockedOperation(&b.mu, "CreateListener", b.createListener),
			wire.NewLockedOperation(&b.mu, "DescribeListeners", b.describeListeners),
			wire.NewLockedOperation(&b.mu, "ModifyListener", b.modifyListener),
			wire.NewLockedOperation(&b.mu, "DeleteListener", b.deleteListener),
			wire.NewLockedOperation(&b.mu, "CreateRule", b.createRule),
			wire.NewLockedOperation(&b.mu, "DescribeRules", b.describeRules),
			wire.NewLockedOperation(&b.mu, "ModifyRule", b.modifyRule),
			wire.NewLockedOperation(&b.mu, "DeleteRule", b.deleteRule),
			wire.NewOperation("RegisterTargets", b.registerTargets),
			wire.NewOperation("DeregisterTargets", b.deregisterTargets),
			wire.NewLockedOperation(&b.mu, "DescribeTargetHealth", b.describeTargetHealth),
			wire.NewLockedOperation(&b.mu, "AddTags", b.addTags),
			wire.NewLockedOperation(&b.mu, "RemoveTags", b.removeTags),
			wire.NewLockedOperation(&b.mu, "DescribeTags", b.describeTags),
		},
	}
}

func (b *Balancer) registerTargets(ctx context.Context, in *elbv2.RegisterTargetsInput) (*elbv2.RegisterTargetsOutput, error) {
	wire.AddResources(ctx, aws.ToString(in.TargetGroupArn))
	for _, t := range in.Targets {
		if err := b.Register(aws.ToString(in.TargetGroupArn), aws.ToString(t.Id), b.portOf(in.TargetGroupArn, t), t.AvailabilityZone); err != nil {
			return nil, err
		}
	}
	return &elbv2.RegisterTargetsOutput{}, nil
}

func (b *Balancer) deregisterTargets(ctx context.Context, in *elbv2.DeregisterTargetsInput) (*elbv2.DeregisterTargetsOutput, error) {
	wire.AddResources(ctx, aws.ToString(in.TargetGroupArn))
	for _, t := range in.Targets {
		if err := b.Deregister(aws.ToString(in.TargetGroupArn), aws.ToString(t.Id), b.portOf(in.TargetGroupArn, t)); err != nil {
			return nil, err
		}
	}
	return &elbv2.DeregisterTargetsOutput{}, nil
}

// portOf returns a target's port, by default that of its group.
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
	wire.AddResources(ctx, aws.ToString(in.TargetGroupArn))
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
		if t.description != "" {
			health.Description = new(t.description)
		}
		_, port, _ := strings.Cut(b.healthCheckOf(g, t).address, ":")
		out.TargetHealthDescriptions = append(out.TargetHealthDescriptions, types.TargetHealthDescription{
			Target:          &types.TargetDescription{Id: &t.ip, Port: new(int32(t.port)), AvailabilityZone: t.zone},
			HealthCheckPort: &port, TargetHealth: health,
		})
	}
	for _, d := range in.Targets {
		if g.find(aws.ToString(d.Id), int(aws.ToInt32(d.Port))) == nil && d.Port != nil {
			out.TargetHealthDescriptions = append(out.TargetHealthDescriptions, types.TargetHealthDescription{
				Target:       &d,
				TargetHealth: &types.TargetHealth{State: notRegistered.State, Reason: notRegistered.Reason, Description: new(notRegistered.Description)},
			})
		}
	}
	return out, nil
}

func tagMap(tags []types.Tag) map[string]string {
	values := map[string]string{}
	for _, t := range tags {
		values[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return values
}

func (b *Balancer) setTags(arn string, tags []types.Tag) {
	if b.tags[arn] == nil {
		b.tags[arn] = map[string]string{}
	}
	maps.Copy(b.tags[arn], tagMap(tags))
}

// maxTaggedResources is how many resources DescribeTags and AddTags take.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTags.html
const maxTaggedResources = 20

// taggable returns an error unless the resources exist.
func (b *Balancer) taggable(ctx context.Context, arns []string) error {
	if len(arns) == 0 || len(arns) > maxTaggedResources {
		return wire.Errorf("ValidationError", "1 to %d resources can be specified", maxTaggedResources)
	}
	for _, arn := range arns {
		var err error
		switch resource := arn[strings.LastIndexByte(arn, ':')+1:]; {
		case strings.HasPrefix(resource, "targetgroup/"):
			_, err = b.group(arn)
		case strings.HasPrefix(resource, "listener-rule/"):
			_, _, err = b.rule(arn)
		case strings.HasPrefix(resource, "listener/"):
			_, err = b.listener(arn)
		case strings.HasPrefix(resource, "loadbalancer/"):
			_, err = b.balancer(arn)
		default:
			err = wire.Errorf("ValidationError", "'%s' is not a valid resource ARN", arn)
		}
		if err != nil {
			return err
		}
		wire.AddResources(ctx, arn)
	}
	return nil
}

// requireAddTags records the permission that a call with tags needs, and the tags.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/tagging-resources-during-creation.html
func requireAddTags(ctx context.Context, call, arn string, tags []types.Tag) {
	wire.RequireTagging(ctx, "elasticloadbalancing", "AddTags", call, arn, tagMap(tags))
}

func (b *Balancer) addTags(ctx context.Context, in *elbv2.AddTagsInput) (*elbv2.AddTagsOutput, error) {
	if err := b.taggable(ctx, in.ResourceArns); err != nil {
		return nil, err
	}
	for _, arn := range in.ResourceArns {
		wire.AddResourceTags(ctx, b.tags[arn])
		b.setTags(arn, in.Tags)
	}
	wire.AddRequestTags(ctx, tagMap(in.Tags))
	return &elbv2.AddTagsOutput{}, nil
}

func (b *Balancer) removeTags(ctx context.Context, in *elbv2.RemoveTagsInput) (*elbv2.RemoveTagsOutput, error) {
	if err := b.taggable(ctx, in.ResourceArns); err != nil {
		return nil, err
	}
	for _, arn := range in.ResourceArns {
		for _, key := range in.TagKeys {
			delete(b.tags[arn], key)
		}
	}
	return &elbv2.RemoveTagsOutput{}, nil
}

func (b *Balancer) describeTags(ctx context.Context, in *elbv2.DescribeTagsInput) (*elbv2.DescribeTagsOutput, error) {
	if err := b.taggable(ctx, in.ResourceArns); err != nil {
		return nil, err
	}
	out := &elbv2.DescribeTagsOutput{TagDescriptions: []types.TagDescription{}}
	for _, arn := range in.ResourceArns {
		out.TagDescriptions = append(out.TagDescriptions, types.TagDescription{ResourceArn: &arn, Tags: sortedPairs[types.Tag](b.tags[arn])})
	}
	return out, nil
}

// find returns the resources with the given ARNs or names, or all if none are given.
// missing are the ARNs and names without a resource.
func find[R any](ctx context.Context, all []R, arns, names []string, of func(R) (arn, name *string)) (found []R, missing []string) {
	known := map[string]bool{}
	for _, r := range all {
		arn, name := of(r)
		if len(arns)+len(names) == 0 || slices.Contains(arns, *arn) || slices.Contains(names, *name) {
			known[*arn], known[*name] = true, true
			wire.AddResources(ctx, *arn)
			found = append(found, r)
		}
	}
	return found, slices.DeleteFunc(slices.Concat(arns, names), func(wanted string) bool { return known[wanted] })
}

// sortedPairs returns tags or attributes sorted by key. Their types have the same fields.
func sortedPairs[P types.Tag | types.LoadBalancerAttribute | types.TargetGroupAttribute](values map[string]string) []P {
	list := []P{}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		list = append(list, P(types.Tag{Key: &key, Value: new(values[key])}))
	}
	return list
}
