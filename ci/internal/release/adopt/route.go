package adopt

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
)

// route is what a load balancer forwards to a target group.
type route struct {
	group    elbtypes.TargetGroup
	rule     string // the only one that ECS shifts production traffic with, or ""
	patterns []string
	notes    []string
}

// groupsLimit is how many target groups a call describes.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTargetGroups.html
const groupsLimit = 20

// routes returns the routes of the services' first target groups, by ARN.
func (r Reader) routes(ctx context.Context, services []types.Service) (map[string]route, error) {
	var arns []string
	rules := map[string]string{}
	for _, s := range services {
		if arn := targetGroupOf(s); arn != "" {
			arns = append(arns, arn)
			if shift := rollout.ShiftOf(s.LoadBalancers); shift != nil {
				rules[arn] = shift.ProductionRule
			}
		}
	}
	slices.Sort(arns)
	routes := map[string]route{}
	var balancers []string
	for batch := range slices.Chunk(slices.Compact(arns), groupsLimit) {
		out, err := r.ELB.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{TargetGroupArns: batch})
		if err != nil {
			return nil, fmt.Errorf("describing target groups %s: %w", strings.Join(batch, ", "), err)
		}
		for _, group := range out.TargetGroups {
			arn := aws.ToString(group.TargetGroupArn)
			routes[arn] = route{group: group, rule: rules[arn]}
			balancers = append(balancers, group.LoadBalancerArns...)
		}
	}
	slices.Sort(balancers)
	for _, balancer := range slices.Compact(balancers) {
		if err := r.addRules(ctx, balancer, routes); err != nil {
			return nil, err
		}
	}
	return routes, nil
}

// targetGroupOf returns the ARN of a service's first target group, or "".
func targetGroupOf(s types.Service) string {
	for _, balancer := range s.LoadBalancers {
		if balancer.TargetGroupArn != nil {
			return *balancer.TargetGroupArn
		}
	}
	return ""
}

// addRules adds the patterns of the rules of a load balancer.
func (r Reader) addRules(ctx context.Context, balancer string, routes map[string]route) error {
	pages := elb.NewDescribeListenersPaginator(r.ELB, &elb.DescribeListenersInput{LoadBalancerArn: &balancer})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("describing listeners of %s: %w", balancer, err)
		}
		for _, listener := range page.Listeners {
			if listener.Protocol != elbtypes.ProtocolEnumHttp && listener.Protocol != elbtypes.ProtocolEnumHttps {
				continue // a network load balancer has no rules
			}
			if err := r.addRulesOf(ctx, aws.ToString(listener.ListenerArn), routes); err != nil {
				return err
			}
		}
	}
	return nil
}

// addRulesOf adds the patterns of the rules of a listener.
func (r Reader) addRulesOf(ctx context.Context, listener string, routes map[string]route) error {
	pages := elb.NewDescribeRulesPaginator(r.ELB, &elb.DescribeRulesInput{ListenerArn: &listener})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("describing rules of listener %s: %w", listener, err)
		}
		for _, rule := range page.Rules {
			addRule(rule, routes)
		}
	}
	return nil
}

// addRule adds the patterns of a rule to the target groups that it forwards to.
func addRule(rule elbtypes.Rule, routes map[string]route) {
	var patterns, others []string
	for _, condition := range rule.Conditions {
		switch {
		case condition.PathPatternConfig != nil && len(condition.PathPatternConfig.Values) > 0:
			patterns = append(patterns, condition.PathPatternConfig.Values...)
		case aws.ToString(condition.Field) == "path-pattern" && len(condition.Values) > 0:
			patterns = append(patterns, condition.Values...)
		default:
			others = append(others, describeCondition(condition))
		}
	}
	if len(patterns) == 0 {
		patterns = []string{platform.CatchAll}
	}
	for _, arn := range groupsOf(rule) {
		to, ok := routes[arn]
		if !ok || to.rule != "" && to.rule != aws.ToString(rule.RuleArn) {
			continue
		}
		for _, pattern := range patterns {
			switch {
			case pattern == "*":
				pattern = platform.CatchAll
			case !strings.HasPrefix(pattern, "/"):
				to.notes = append(to.notes, fmt.Sprintf("the pattern %s is not in routes, because it does not begin with /", pattern))
				continue
			}
			if !slices.Contains(to.patterns, pattern) {
				to.patterns = append(to.patterns, pattern)
			}
		}
		for _, other := range others {
			to.notes = append(to.notes, fmt.Sprintf("the rule of route %s also requires %s, which routes cannot say: test it with --url", strings.Join(patterns, ", "), other))
		}
		routes[arn] = to
	}
}

// groupsOf returns the target groups that a rule forwards to.
func groupsOf(rule elbtypes.Rule) []string {
	var arns []string
	for _, action := range rule.Actions {
		if action.TargetGroupArn != nil {
			arns = append(arns, *action.TargetGroupArn)
		}
		if action.ForwardConfig != nil {
			for _, group := range action.ForwardConfig.TargetGroups {
				arns = append(arns, aws.ToString(group.TargetGroupArn))
			}
		}
	}
	slices.Sort(arns)
	return slices.Compact(arns)
}

func describeCondition(condition elbtypes.RuleCondition) string {
	if condition.HostHeaderConfig != nil {
		return "the host " + strings.Join(condition.HostHeaderConfig.Values, " or ")
	}
	return "a condition on " + aws.ToString(condition.Field)
}
