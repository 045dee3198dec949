package elb

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"dagger/slipway/internal/localaws/ident"
	"dagger/slipway/internal/localaws/wire"
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
	arn := b.cfg.Scope.ARN("elasticloadbalancing", "listener/"+path(*lb.LoadBalancerArn)+"/"+ident.Hex(16))
	l := &listener{lb: lb, port: at}
	l.Listener = types.Listener{
		ListenerArn: &arn, LoadBalancerArn: lb.LoadBalancerArn, Port: in.Port,
		Protocol: cmp.Or(in.Protocol, types.ProtocolEnumHttp), Certificates: in.Certificates, SslPolicy: in.SslPolicy,
	}
	l.setDefault(b, in.DefaultActions)
	wire.Touch(ctx, *lb.LoadBalancerArn)
	b.setTags(arn, in.Tags)
	lb.listeners = append(lb.listeners, l)
	at.listener = l
	b.wakeAll()
	return &elbv2.CreateListenerOutput{Listeners: []types.Listener{l.Listener}}, nil
}

// setDefault makes actions the default rule's.
func (l *listener) setDefault(b *Balancer, actions []types.Action) {
	actions = spellOut(actions)
	l.DefaultActions = actions
	arn := l.standby.RuleArn
	if arn == nil {
		arn = new(b.cfg.Scope.ARN("elasticloadbalancing", "listener-rule/"+path(*l.ListenerArn)+"/"+ident.Hex(16)))
	}
	l.standby = types.Rule{RuleArn: arn, Priority: new("default"), IsDefault: new(true), Actions: actions, Conditions: []types.RuleCondition{}}
}

// spellOut gives a forward action both of its forms, as ELB answers them.
func spellOut(actions []types.Action) []types.Action {
	actions = slices.Clone(actions)
	for i, a := range actions {
		tuples := forwards(a)
		if a.Type != types.ActionTypeEnumForward || len(tuples) == 0 {
			continue
		}
		config := types.ForwardActionConfig{TargetGroupStickinessConfig: &types.TargetGroupStickinessConfig{Enabled: new(false)}}
		for _, t := range tuples {
			config.TargetGroups = append(config.TargetGroups, types.TargetGroupTuple{TargetGroupArn: t.TargetGroupArn, Weight: orElse(t.Weight, 1)})
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
		for _, t := range forwards(a) {
			if _, err := b.group(aws.ToString(t.TargetGroupArn)); err != nil {
				return err
			}
		}
	}
	return nil
}

// wakeAll lets every checker see that target groups may have come into use.
func (b *Balancer) wakeAll() {
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
		wire.Touch(ctx, *in.LoadBalancerArn)
		for _, l := range lb.listeners {
			out = append(out, l.Listener)
		}
	}
	for _, arn := range in.ListenerArns {
		l, err := b.listener(arn)
		if err != nil {
			return nil, err
		}
		wire.Touch(ctx, arn)
		out = append(out, l.Listener)
	}
	page, next, err := wire.Page(out, in.Marker, in.PageSize, 400)
	return &elbv2.DescribeListenersOutput{Listeners: page, NextMarker: next}, err
}

func (b *Balancer) modifyListener(ctx context.Context, in *elbv2.ModifyListenerInput) (*elbv2.ModifyListenerOutput, error) {
	l, err := b.listener(aws.ToString(in.ListenerArn))
	if err != nil {
		return nil, err
	}
	wire.Touch(ctx, *in.ListenerArn)
	if in.DefaultActions != nil {
		if err := b.validateActions(in.DefaultActions); err != nil {
			return nil, err
		}
		l.setDefault(b, in.DefaultActions)
	}
	l.Port, l.Protocol = cmp.Or(in.Port, l.Port), cmp.Or(in.Protocol, l.Protocol)
	b.wakeAll()
	return &elbv2.ModifyListenerOutput{Listeners: []types.Listener{l.Listener}}, nil
}

func (b *Balancer) deleteListener(ctx context.Context, in *elbv2.DeleteListenerInput) (*elbv2.DeleteListenerOutput, error) {
	l, err := b.listener(aws.ToString(in.ListenerArn))
	if err != nil {
		return nil, err
	}
	wire.Touch(ctx, *in.ListenerArn)
	l.port.listener = nil
	if l.port != l.lb.ports[0] {
		_ = l.port.server.Close()
		l.lb.ports = slices.DeleteFunc(l.lb.ports, func(p *port) bool { return p == l.port })
	}
	l.lb.listeners = slices.DeleteFunc(l.lb.listeners, func(other *listener) bool { return other == l })
	return &elbv2.DeleteListenerOutput{}, nil
}

func (b *Balancer) createRule(ctx context.Context, in *elbv2.CreateRuleInput) (*elbv2.CreateRuleOutput, error) {
	l, err := b.listener(aws.ToString(in.ListenerArn))
	if err != nil {
		return nil, err
	}
	wire.Touch(ctx, *in.ListenerArn)
	priority := strconv.Itoa(int(aws.ToInt32(in.Priority)))
	if slices.ContainsFunc(l.rules, func(r *types.Rule) bool { return *r.Priority == priority }) {
		return nil, wire.Errorf("PriorityInUse", "Priority '%s' is currently in use", priority)
	}
	if err := b.validateActions(in.Actions); err != nil {
		return nil, err
	}
	for _, c := range in.Conditions {
		if !slices.Contains([]string{"path-pattern", "host-header", "http-request-method", "http-header"}, aws.ToString(c.Field)) {
			return nil, wire.Errorf("UnsupportedFeature", "The embedded AWS does not route by '%s'", aws.ToString(c.Field))
		}
	}
	arn := b.cfg.Scope.ARN("elasticloadbalancing", "listener-rule/"+path(*l.ListenerArn)+"/"+ident.Hex(16))
	r := &types.Rule{RuleArn: &arn, Priority: &priority, IsDefault: new(false), Conditions: conditions(in.Conditions), Actions: spellOut(in.Actions)}
	b.setTags(arn, in.Tags)
	l.rules = append(l.rules, r)
	slices.SortFunc(l.rules, func(x, y *types.Rule) int { return number(x) - number(y) })
	b.wakeAll()
	return &elbv2.CreateRuleOutput{Rules: []types.Rule{*r}}, nil
}

func number(r *types.Rule) int {
	n, _ := strconv.Atoi(*r.Priority)
	return n
}

// conditions gives path and host conditions both of their forms, as ELB answers them.
func conditions(list []types.RuleCondition) []types.RuleCondition {
	list = slices.Clone(list)
	for i, c := range list {
		switch aws.ToString(c.Field) {
		case "path-pattern":
			list[i].Values, list[i].PathPatternConfig = values(c), &types.PathPatternConditionConfig{Values: values(c)}
		case "host-header":
			list[i].Values, list[i].HostHeaderConfig = values(c), &types.HostHeaderConditionConfig{Values: values(c)}
		}
	}
	return list
}

// rule finds a rule and its listener. The default rule counts.
func (b *Balancer) rule(arn string) (*listener, *types.Rule, error) {
	for _, lb := range b.balancers {
		for _, l := range lb.listeners {
			for _, r := range append(slices.Clone(l.rules), &l.standby) {
				if aws.ToString(r.RuleArn) == arn {
					return l, r, nil
				}
			}
		}
	}
	return nil, nil, wire.Errorf("RuleNotFound", "One or more rules not found")
}

func (b *Balancer) describeRules(ctx context.Context, in *elbv2.DescribeRulesInput) (*elbv2.DescribeRulesOutput, error) {
	out := []types.Rule{}
	if in.ListenerArn != nil {
		l, err := b.listener(*in.ListenerArn)
		if err != nil {
			return nil, err
		}
		wire.Touch(ctx, *in.ListenerArn)
		for _, r := range append(slices.Clone(l.rules), &l.standby) {
			out = append(out, *r)
		}
	}
	for _, arn := range in.RuleArns {
		_, r, err := b.rule(arn)
		if err != nil {
			return nil, err
		}
		wire.Touch(ctx, arn)
		out = append(out, *r)
	}
	page, next, err := wire.Page(out, in.Marker, in.PageSize, 400)
	return &elbv2.DescribeRulesOutput{Rules: page, NextMarker: next}, err
}

func (b *Balancer) modifyRule(ctx context.Context, in *elbv2.ModifyRuleInput) (*elbv2.ModifyRuleOutput, error) {
	_, r, err := b.rule(aws.ToString(in.RuleArn))
	if err != nil {
		return nil, err
	}
	wire.Touch(ctx, *in.RuleArn)
	if in.Actions != nil {
		if err := b.validateActions(in.Actions); err != nil {
			return nil, err
		}
		r.Actions = spellOut(in.Actions)
	}
	if in.Conditions != nil {
		r.Conditions = conditions(in.Conditions)
	}
	b.wakeAll()
	return &elbv2.ModifyRuleOutput{Rules: []types.Rule{*r}}, nil
}

func (b *Balancer) deleteRule(ctx context.Context, in *elbv2.DeleteRuleInput) (*elbv2.DeleteRuleOutput, error) {
	l, r, err := b.rule(aws.ToString(in.RuleArn))
	if err != nil {
		return nil, err
	}
	wire.Touch(ctx, *in.RuleArn)
	if aws.ToBool(r.IsDefault) {
		return nil, wire.Errorf("OperationNotPermitted", "Default rule '%s' cannot be deleted", *in.RuleArn)
	}
	l.rules = slices.DeleteFunc(l.rules, func(other *types.Rule) bool { return other == r })
	return &elbv2.DeleteRuleOutput{}, nil
}
