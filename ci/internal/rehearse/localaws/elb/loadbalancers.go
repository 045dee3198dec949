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

func (b *Balancer) createLoadBalancer(ctx context.Context, in *elbv2.CreateLoadBalancerInput) (*elbv2.CreateLoadBalancerOutput, error) {
	name := aws.ToString(in.Name)
	if name == "" || len(name) > 32 {
		return nil, wire.Errorf("ValidationError", "The load balancer name '%s' must have 1 to 32 characters", name)
	}
	for _, lb := range b.balancers {
		if aws.ToString(lb.LoadBalancerName) == name {
			return &elbv2.CreateLoadBalancerOutput{LoadBalancers: []types.LoadBalancer{lb.LoadBalancer}}, nil
		}
	}
	arn := b.cfg.Scope.ARN("elasticloadbalancing", "loadbalancer/app/"+name+"/"+wire.RandomHex(16))
	lb := &loadBalancer{attributes: map[string]string{
		"idle_timeout.timeout_seconds": "60", "deletion_protection.enabled": "false", "routing.http2.enabled": "true",
	}}
	lb.LoadBalancer = types.LoadBalancer{
		LoadBalancerArn: &arn, LoadBalancerName: in.Name,
		CanonicalHostedZoneId: new("Z35SXDOTRQ7X7K"), CreatedTime: new(b.cfg.Clock.Now()),
		Scheme: cmp.Or(in.Scheme, types.LoadBalancerSchemeEnumInternetFacing), Type: types.LoadBalancerTypeEnumApplication,
		State:         &types.LoadBalancerState{Code: types.LoadBalancerStateEnumActive},
		IpAddressType: cmp.Or(in.IpAddressType, types.IpAddressTypeIpv4), SecurityGroups: in.SecurityGroups,
		VpcId: new("vpc-00000000"), AvailabilityZones: []types.AvailabilityZone{},
	}
	for i, subnet := range in.Subnets {
		zone := b.cfg.Scope.Region + string(rune('a'+i%6))
		lb.AvailabilityZones = append(lb.AvailabilityZones, types.AvailabilityZone{SubnetId: &subnet, ZoneName: &zone})
	}
	first, err := b.open(lb)
	if err != nil {
		return nil, err
	}
	lb.DNSName = new(first.socket.Addr().String())
	wire.AddResources(ctx, arn)
	b.setTags(arn, in.Tags)
	b.balancers = append(b.balancers, lb)
	return &elbv2.CreateLoadBalancerOutput{LoadBalancers: []types.LoadBalancer{lb.LoadBalancer}}, nil
}

func (b *Balancer) describeLoadBalancers(ctx context.Context, in *elbv2.DescribeLoadBalancersInput) (*elbv2.DescribeLoadBalancersOutput, error) {
	all, missing := find(ctx, b.balancers, in.LoadBalancerArns, in.Names, func(lb *loadBalancer) (arn, name *string) {
		return lb.LoadBalancerArn, lb.LoadBalancerName
	})
	if len(missing) > 0 {
		return nil, wire.Errorf("LoadBalancerNotFound", "Load balancers '[%s]' not found", missing[0])
	}
	described := []types.LoadBalancer{}
	for _, lb := range all {
		described = append(described, lb.LoadBalancer)
	}
	page, next, err := wire.Paginate(described, in.Marker, in.PageSize, 400)
	return &elbv2.DescribeLoadBalancersOutput{LoadBalancers: page, NextMarker: next}, err
}

func (b *Balancer) deleteLoadBalancer(ctx context.Context, in *elbv2.DeleteLoadBalancerInput) (*elbv2.DeleteLoadBalancerOutput, error) {
	wire.AddResources(ctx, aws.ToString(in.LoadBalancerArn))
	for i, lb := range b.balancers {
		if aws.ToString(lb.LoadBalancerArn) == aws.ToString(in.LoadBalancerArn) {
			lb.close()
			b.balancers = slices.Delete(b.balancers, i, i+1)
			break
		}
	}
	return &elbv2.DeleteLoadBalancerOutput{}, nil
}

func (b *Balancer) describeLoadBalancerAttributes(ctx context.Context, in *elbv2.DescribeLoadBalancerAttributesInput) (*elbv2.DescribeLoadBalancerAttributesOutput, error) {
	lb, err := b.balancer(aws.ToString(in.LoadBalancerArn))
	if err != nil {
		return nil, err
	}
	wire.AddResources(ctx, aws.ToString(in.LoadBalancerArn))
	return &elbv2.DescribeLoadBalancerAttributesOutput{Attributes: sortedPairs[types.LoadBalancerAttribute](lb.attributes)}, nil
}

func (b *Balancer) modifyLoadBalancerAttributes(ctx context.Context, in *elbv2.ModifyLoadBalancerAttributesInput) (*elbv2.ModifyLoadBalancerAttributesOutput, error) {
	lb, err := b.balancer(aws.ToString(in.LoadBalancerArn))
	if err != nil {
		return nil, err
	}
	wire.AddResources(ctx, aws.ToString(in.LoadBalancerArn))
	for _, a := range in.Attributes {
		lb.attributes[aws.ToString(a.Key)] = aws.ToString(a.Value)
	}
	return &elbv2.ModifyLoadBalancerAttributesOutput{Attributes: sortedPairs[types.LoadBalancerAttribute](lb.attributes)}, nil
}
