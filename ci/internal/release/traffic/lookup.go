package traffic

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
)

// ELB is the part of the Elastic Load Balancing API that describes what ECS shifts traffic
// with.
type ELB interface {
	DescribeTargetGroups(context.Context, *elb.DescribeTargetGroupsInput, ...func(*elb.Options)) (*elb.DescribeTargetGroupsOutput, error)
	DescribeListeners(context.Context, *elb.DescribeListenersInput, ...func(*elb.Options)) (*elb.DescribeListenersOutput, error)
	Rules
}

// Rules describes listener rules.
type Rules interface {
	DescribeRules(context.Context, *elb.DescribeRulesInput, ...func(*elb.Options)) (*elb.DescribeRulesOutput, error)
}

// Lookup finds what ECS shifts the traffic of services with.
type Lookup struct {
	ELB ELB
	// TestPort is the port of the listener for test traffic.
	TestPort int
	// Current has the load balancers that each service has in ECS, by the entry's name.
	Current map[string][]ecstypes.LoadBalancer
}

// Shifts returns what ECS shifts the traffic of each service with, by the entry's name.
// configured has those that ECS knows of already; the others are found by the names that
// Terraform gives them. The error has a line for everything that is missing.
func (l Lookup) Shifts(ctx context.Context, services []platform.Service) (found, configured map[string]rollout.Shift, err error) {
	configured, err = l.configured(ctx, services)
	if err != nil {
		return nil, nil, err
	}
	services = slices.DeleteFunc(slices.Clone(services), func(s platform.Service) bool { _, ok := configured[s.Name]; return ok })
	if len(services) == 0 {
		return nil, configured, nil
	}
	var names []string
	for _, s := range services {
		names = append(names, l.targetGroup(s), s.AlternateTargetGroup())
	}
	described, err := targetGroups(ctx, l.ELB, names, func(batch []string) *elb.DescribeTargetGroupsInput {
		return &elb.DescribeTargetGroupsInput{Names: batch}
	})
	if err != nil {
		return nil, nil, err
	}
	groups := map[string]types.TargetGroup{}
	var balancers []string
	for _, group := range described {
		groups[aws.ToString(group.TargetGroupName)] = group
		balancers = append(balancers, group.LoadBalancerArns...)
	}
	production, test, hasTest, err := l.rules(ctx, slices.Compact(slices.Sorted(slices.Values(balancers))))
	if err != nil {
		return nil, nil, err
	}
	found = map[string]rollout.Shift{}
	missing := problems{}
	for _, s := range services {
		group, alternate := groups[l.targetGroup(s)], groups[s.AlternateTargetGroup()]
		shift := rollout.Shift{TargetGroup: aws.ToString(group.TargetGroupArn), AlternateTargetGroup: aws.ToString(alternate.TargetGroupArn)}
		for name, arn := range map[string]string{l.targetGroup(s): shift.TargetGroup, s.AlternateTargetGroup(): shift.AlternateTargetGroup} {
			if arn == "" {
				missing.add(s, "target group "+name+" does not exist")
			}
		}
		if shift.TargetGroup == "" {
			continue // without it, no rule is known
		}
		if !hasTest { // then its rules may look like those of production
			missing.add(s, fmt.Sprintf("the load balancer has no listener on port %d for test traffic", l.TestPort))
			continue
		}
		own := []string{shift.TargetGroup, shift.AlternateTargetGroup}
		shift.ProductionRule = missing.only(s, forwarding(production, own), "the load balancer")
		shift.TestRule = missing.only(s, forwarding(test, own), fmt.Sprintf("the listener on port %d for test traffic", l.TestPort))
		if parsed, err := arn.Parse(shift.TargetGroup); err == nil {
			shift.Role = fmt.Sprintf("arn:%s:iam::%s:role/%s", parsed.Partition, parsed.AccountID, s.InfrastructureRole())
		}
		found[s.Name] = shift
	}
	return found, configured, missing.err()
}

// targetGroup returns the name of the service's target group: that of ECS, because an
// adopted service's has another name than Terraform would give it.
func (l Lookup) targetGroup(s platform.Service) string {
	for _, balancer := range l.Current[s.Name] {
		if balancer.TargetGroupArn != nil {
			return GroupName(*balancer.TargetGroupArn)
		}
	}
	return s.TargetGroup()
}

// GroupName returns the name in a target group's ARN.
func GroupName(arn string) string {
	parts := strings.Split(arn, "/")
	if len(parts) < 2 {
		return arn
	}
	return parts[1]
}

// configured returns what ECS knows, of services whose rules exist: Terraform may have
// replaced one.
func (l Lookup) configured(ctx context.Context, services []platform.Service) (map[string]rollout.Shift, error) {
	known := map[string]rollout.Shift{}
	var arns []string
	for _, s := range services {
		if shift := rollout.ShiftOf(l.Current[s.Name]); shift != nil {
			known[s.Name] = *shift
			arns = append(arns, shift.ProductionRule, shift.TestRule)
		}
	}
	rules, err := DescribeRules(ctx, l.ELB, arns)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(known, func(_ string, shift rollout.Shift) bool {
		_, production := rules[shift.ProductionRule]
		_, test := rules[shift.TestRule]
		return !production || !test && shift.TestRule != ""
	})
	return known, nil
}

// rules returns the rules of all listeners of load balancers: those of the listener for test
// traffic, and whether there is one, and those of the others. Default rules are left out: their traffic
// is an action of the listener, which ECS does not shift.
func (l Lookup) rules(ctx context.Context, balancers []string) (production, test []types.Rule, hasTest bool, err error) {
	for _, balancer := range balancers {
		listeners := elb.NewDescribeListenersPaginator(l.ELB, &elb.DescribeListenersInput{LoadBalancerArn: &balancer})
		for listeners.HasMorePages() {
			page, err := listeners.NextPage(ctx)
			if err != nil {
				return nil, nil, false, fmt.Errorf("describing the listeners of load balancer %s: %w", balancer, err)
			}
			for _, listener := range page.Listeners {
				of := &production
				if int(aws.ToInt32(listener.Port)) == l.TestPort {
					of, hasTest = &test, true
				}
				rules := elb.NewDescribeRulesPaginator(l.ELB, &elb.DescribeRulesInput{ListenerArn: listener.ListenerArn})
				for rules.HasMorePages() {
					page, err := rules.NextPage(ctx)
					if err != nil {
						return nil, nil, false, fmt.Errorf("describing the rules of listener %s: %w", aws.ToString(listener.ListenerArn), err)
					}
					*of = append(*of, slices.DeleteFunc(page.Rules, func(r types.Rule) bool { return aws.ToBool(r.IsDefault) })...)
				}
			}
		}
	}
	return production, test, hasTest, nil
}

// forwarding returns the rules that forward to one of the target groups.
func forwarding(rules []types.Rule, groups []string) (arns []string) {
	for _, rule := range rules {
		if weights := Weights(rule); slices.ContainsFunc(groups, func(group string) bool { _, ok := weights[group]; return ok }) {
			arns = append(arns, aws.ToString(rule.RuleArn))
		}
	}
	return arns
}

// Weights returns the weights of the target groups that a rule forwards to, by ARN.
func Weights(rule types.Rule) map[string]int32 {
	weights := map[string]int32{}
	for _, action := range rule.Actions {
		if action.ForwardConfig != nil && len(action.ForwardConfig.TargetGroups) > 0 {
			for _, group := range action.ForwardConfig.TargetGroups {
				weight := int32(1)
				if group.Weight != nil {
					weight = *group.Weight
				}
				weights[aws.ToString(group.TargetGroupArn)] = weight
			}
		} else if action.TargetGroupArn != nil {
			weights[*action.TargetGroupArn] = 1
		}
	}
	return weights
}

// Serving returns the target groups that get any traffic by their weights, sorted.
func Serving(weights map[string]int32) (groups []string) {
	for _, group := range slices.Sorted(maps.Keys(weights)) {
		if weights[group] > 0 {
			groups = append(groups, group)
		}
	}
	return groups
}

// problems are what is missing, with the services that need it.
type problems map[string][]string

func (p problems) add(s platform.Service, text string) { p[text] = append(p[text], s.Name) }

// only returns the rule of a service, or "" after a problem if it has none or several.
func (p problems) only(s platform.Service, rules []string, of string) string {
	switch len(rules) {
	case 0:
		p.add(s, of+" has no rule that forwards to it")
	case 1:
		return rules[0]
	default:
		p.add(s, fmt.Sprintf("%s has %d rules that forward to it, and ECS shifts the traffic of one", of, len(rules)))
	}
	return ""
}

func (p problems) err() error {
	var list []error
	for _, text := range slices.Sorted(maps.Keys(p)) {
		names := "service " + p[text][0]
		if len(p[text]) > 1 {
			names = "services " + strings.Join(p[text], ", ")
		}
		list = append(list, fmt.Errorf("%s: %s, so ECS cannot shift traffic: apply the services file with Terraform (slipway plan, slipway apply)", names, text))
	}
	return errors.Join(list...)
}
