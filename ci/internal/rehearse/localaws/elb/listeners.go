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

func (b *Balancer) createListener(ctx context.Context, in *elbv2.CreateListenerInput) (*elbv2.CreateListenerOutput, error) {
	lb, err := b.balancer(aws.ToString(in.LoadBalancerArn))
	if err != nil {
		return nil, err
	}
	for _, other := range lb.listeners {
		if aws.ToInt32(other.Port) == aws.ToInt32(in.Port) {
			return nil, wire.Errorf("DuplicateListener", "A listener already exists on this port for this load balancer '%s'", *lb.LoadBalancerArn)
		}
	}
	if err := b.validateActions(in.DefaultActions); err != nil {
		return nil, err
	}
	at := lb.ports[0]
	if at.listener != nil {
		if at, err = b.open(lb); err != nil {
			return nil, err
		}
	}
	arn := b.cfg.Scope.ARN("elasticloadbalancing", "listener/"+arnPath(*lb.LoadBalancerArn)+"/"+wire.RandomHex(16))
	l := &listener{lb: lb, port: at, requests: map[string]int64{}}
	l.Listener = types.Listener{
		ListenerArn: &arn, LoadBalancerArn: lb.LoadBalancerArn, Port: in.Port,
		Protocol: cmp.Or(in.Protocol, types.ProtocolEnumHttp), Certificates: in.Certificates, SslPolicy: in.SslPolicy,
	}
	l.setDefault(b, in.DefaultActions)
	wire.AddResources(ctx, *lb.LoadBalancerArn)
	b.setTags(arn, in.Tags)
	lb.listeners = append(lb.listeners, l)
	at.listener = l
	b.wakeHealthChecks()
	return &elbv2.CreateListenerOutput{Listeners: []types.Listener{l.Listener}}, nil
}

// setDefault sets the actions of the default rule.
func (l *listener) setDefault(b *Balancer, actions []types.Action) {
	actions = normalizeActions(actions)
	l.DefaultActions = actions
	delete(b.currentWeights, aws.ToString(l.defaultRule.RuleArn))
	arn := l.defaultRule.RuleArn
	if arn == nil {
		arn = new(b.cfg.Scope.ARN("elasticloadbalancing", "listener-rule/"+arnPath(*l.ListenerArn)+"/"+wire.RandomHex(16)))
	}
	l.defaultRule = types.Rule{RuleArn: arn, Priority: new("default"), IsDefault: new(true), Actions: actions, Conditions: []types.RuleCondition{}}
}

// normalizeActions gives forward actions both of their forms, as ELB returns them.
func normalizeActions(actions []types.Action) []types.Action {
	actions = slices.Clone(actions)
	for i, a := range actions {
		tuples := forwardTargetGroups(a)
		if a.Type != types.ActionTypeEnumForward || len(tuples) == 0 {
			continue
		}
		config := types.ForwardActionConfig{TargetGroupStickinessConfig: &types.TargetGroupStickinessConfig{Enabled: new(false)}}
		if a.ForwardConfig != nil && a.ForwardConfig.TargetGroupStickinessConfig != nil {
			config.TargetGroupStickinessConfig = a.ForwardConfig.TargetGroupStickinessConfig
		}
		for _, t := range tuples {
			config.TargetGroups = append(config.TargetGroups, types.TargetGroupTuple{TargetGroupArn: t.TargetGroupArn, Weight: cmp.Or(t.Weight, new(int32(1)))})
		}
		actions[i].ForwardConfig = &config
		if len(tuples) == 1 {
			actions[i].TargetGroupArn = tuples[0].TargetGroupArn
		}
	}
	return actions
}

func (b *Balancer) validateActions(actions []types.Action) error {
	if len(actions) == 0 {
		return wire.Errorf("ValidationError", "At least one action must be specified")
	}
	for _, a := range actions {
		for _, t := range forwardTargetGroups(a) {
			if _, err := b.group(aws.ToString(t.TargetGroupArn)); err != nil {
				return err
			}
		}
	}
	return nil
}

// wakeHealthChecks checks all targets: a load balancer may now forward to their groups.
func (b *Balancer) wakeHealthChecks() {
	for _, g := range b.groups {
		for _, t := range g.targets {
			t.wake()
		}
	}
}

func (b *Balancer) describeListeners(ctx context.Context, in *elbv2.DescribeListenersInput) (*elbv2.DescribeListenersOutput, error) {
	out := []types.Listener{}
	if in.LoadBalancerArn != nil {
		lb, err := b.balancer(*in.LoadBalancerArn)
		if err != nil {
			return nil, err
		}
		wire.AddResources(ctx, *in.LoadBalancerArn)
		for _, l := range lb.listeners {
			out = append(out, l.Listener)
		}
	}
	for _, arn := range in.ListenerArns {
		l, err := b.listener(arn)
		if err != nil {
			return nil, err
		}
		wire.AddResources(ctx, arn)
		out = append(out, l.Listener)
	}
	page, next, err := wire.Paginate(out, in.Marker, in.PageSize, 400)
	return &elbv2.DescribeListenersOutput{Listeners: page, NextMarker: next}, err
}

func (b *Balancer) modifyListener(ctx context.Context, in *elbv2.ModifyListenerInput) (*elbv2.ModifyListenerOutput, error) {
	l, err := b.listener(aws.ToString(in.ListenerArn))
	if err != nil {
		return nil, err
	}
	wire.AddResources(ctx, *in.ListenerArn)
	if in.DefaultActions != nil {
		if err := b.validateActions(in.DefaultActions); err != nil {
			return nil, err
		}
		l.setDefault(b, in.DefaultActions)
	}
	l.Port, l.Protocol = cmp.Or(in.Port, l.Port), cmp.Or(in.Protocol, l.Protocol)
	b.wakeHealthChecks()
	return &elbv2.ModifyListenerOutput{Listeners: []types.Listener{l.Listener}}, nil
}

func (b *Balancer) deleteListener(ctx context.Context, in *elbv2.DeleteListenerInput) (*elbv2.DeleteListenerOutput, error) {
	l, err := b.listener(aws.ToString(in.ListenerArn))
	if err != nil {
		return nil, err
	}
	wire.AddResources(ctx, *in.ListenerArn)
	l.port.listener = nil
	if l.port != l.lb.ports[0] {
		_ = l.port.server.Close()
		l.lb.ports = slices.DeleteFunc(l.lb.ports, func(p *port) bool { return p == l.port })
	}
	l.lb.listeners = slices.DeleteFunc(l.lb.listeners, func(other *listener) bool { return other == l })
	return &elbv2.DeleteListenerOutput{}, nil
}
