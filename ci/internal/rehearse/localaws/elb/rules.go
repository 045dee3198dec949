package elb

import (
	"context"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

func (b *Balancer) createRule(ctx context.Context, in *elbv2.CreateRuleInput) (*elbv2.CreateRuleOutput, error) {
	l, err := b.listener(aws.ToString(in.ListenerArn))
	if err != nil {
		return nil, err
	}
	wire.AddResources(ctx, *in.ListenerArn)
	requireAddTags(ctx, "CreateRule", b.cfg.Scope.ARN("elasticloadbalancing", "listener-rule/"+arnPath(*l.ListenerArn)+"/*"), in.Tags)
	if n := aws.ToInt32(in.Priority); n < 1 || n > maxPriority {
		return nil, wire.Errorf("ValidationError", "Rule priority '%d' must be between 1 and %d", n, maxPriority)
	}
	priority := strconv.Itoa(int(aws.ToInt32(in.Priority)))
	if slices.ContainsFunc(l.rules, func(r *types.Rule) bool { return *r.Priority == priority }) {
		return nil, wire.Errorf("PriorityInUse", "Priority '%s' is currently in use", priority)
	}
	if err := b.validateActions(in.Actions); err != nil {
		return nil, err
	}
	for _, c := range in.Conditions {
		if !slices.Contains([]string{"path-pattern", "host-header", "http-request-method", "http-header"}, aws.ToString(c.Field)) {
			return nil, wire.Errorf("UnsupportedFeature", "The embedded AWS does not support conditions on '%s'", aws.ToString(c.Field))
		}
	}
	if err := validateConditions(in.Conditions); err != nil {
		return nil, err
	}
	if err := validateTransforms(in.Transforms); err != nil {
		return nil, err
	}
	arn := b.cfg.Scope.ARN("elasticloadbalancing", "listener-rule/"+arnPath(*l.ListenerArn)+"/"+wire.RandomHex(16))
	r := &types.Rule{RuleArn: &arn, Priority: &priority, IsDefault: new(false), Conditions: normalizeConditions(in.Conditions), Actions: normalizeActions(in.Actions), Transforms: in.Transforms}
	b.setTags(arn, in.Tags)
	l.rules = append(l.rules, r)
	slices.SortFunc(l.rules, func(x, y *types.Rule) int { return rulePriority(x) - rulePriority(y) })
	b.wakeHealthChecks()
	return &elbv2.CreateRuleOutput{Rules: []types.Rule{*r}}, nil
}

// Limits of rules.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html
const (
	maxPriority        = 50000
	maxConditionValues = 5 // of a rule
	maxConditionLength = 128
)

func validateConditions(conditions []types.RuleCondition) error {
	count := 0
	for _, c := range conditions {
		values := conditionValues(c)
		if len(values) == 0 {
			return wire.Errorf("ValidationError", "A condition value must be specified")
		}
		count += len(values)
		for _, value := range values {
			if value == "" || len(value) > maxConditionLength {
				return wire.Errorf("ValidationError", "Condition value '%s' must have 1 to %d characters", value, maxConditionLength)
			}
		}
	}
	if count > maxConditionValues {
		return wire.Errorf("ValidationError", "Rules can have at most %d condition values", maxConditionValues)
	}
	return nil
}

func rulePriority(r *types.Rule) int {
	n, _ := strconv.Atoi(*r.Priority)
	return n
}

// normalizeConditions gives path and host conditions both of their forms, as ELB
// returns them.
func normalizeConditions(list []types.RuleCondition) []types.RuleCondition {
	list = slices.Clone(list)
	for i, c := range list {
		switch aws.ToString(c.Field) {
		case "path-pattern":
			list[i].Values, list[i].PathPatternConfig = conditionValues(c), &types.PathPatternConditionConfig{Values: conditionValues(c)}
		case "host-header":
			list[i].Values, list[i].HostHeaderConfig = conditionValues(c), &types.HostHeaderConditionConfig{Values: conditionValues(c)}
		}
	}
	return list
}

// rule finds a rule, which may be a default rule, and its listener.
func (b *Balancer) rule(arn string) (*listener, *types.Rule, error) {
	for _, lb := range b.balancers {
		for _, l := range lb.listeners {
			for _, r := range append(slices.Clone(l.rules), &l.defaultRule) {
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
		wire.AddResources(ctx, *in.ListenerArn)
		for _, r := range append(slices.Clone(l.rules), &l.defaultRule) {
			out = append(out, *r)
		}
	}
	for _, arn := range in.RuleArns {
		_, r, err := b.rule(arn)
		if err != nil {
			return nil, err
		}
		wire.AddResources(ctx, arn)
		out = append(out, *r)
	}
	page, next, err := wire.Paginate(out, in.Marker, in.PageSize, 400)
	return &elbv2.DescribeRulesOutput{Rules: page, NextMarker: next}, err
}

func (b *Balancer) modifyRule(ctx context.Context, in *elbv2.ModifyRuleInput) (*elbv2.ModifyRuleOutput, error) {
	_, r, err := b.rule(aws.ToString(in.RuleArn))
	if err != nil {
		return nil, err
	}
	wire.AddResources(ctx, *in.RuleArn)
	if in.Actions != nil {
		if err := b.validateActions(in.Actions); err != nil {
			return nil, err
		}
		r.Actions = normalizeActions(in.Actions)
		delete(b.currentWeights, *r.RuleArn)
	}
	if in.Conditions != nil {
		r.Conditions = normalizeConditions(in.Conditions)
	}
	if in.Transforms != nil {
		if err := validateTransforms(in.Transforms); err != nil {
			return nil, err
		}
		r.Transforms = in.Transforms
	}
	b.wakeHealthChecks()
	return &elbv2.ModifyRuleOutput{Rules: []types.Rule{*r}}, nil
}

func (b *Balancer) deleteRule(ctx context.Context, in *elbv2.DeleteRuleInput) (*elbv2.DeleteRuleOutput, error) {
	l, r, err := b.rule(aws.ToString(in.RuleArn))
	if err != nil {
		return nil, err
	}
	wire.AddResources(ctx, *in.RuleArn)
	wire.AddResourceTags(ctx, b.tags[*in.RuleArn])
	if aws.ToBool(r.IsDefault) {
		return nil, wire.Errorf("OperationNotPermitted", "Default rule '%s' cannot be deleted", *in.RuleArn)
	}
	delete(b.currentWeights, *in.RuleArn)
	delete(b.tags, *in.RuleArn)
	l.rules = slices.DeleteFunc(l.rules, func(other *types.Rule) bool { return other == r })
	return &elbv2.DeleteRuleOutput{}, nil
}
