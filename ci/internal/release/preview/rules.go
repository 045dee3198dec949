package preview

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Fields of conditions.
const (
	hostHeader  = "host-header"
	pathPattern = "path-pattern"
)

// defaultRulePriority is above the highest priority of a rule: the default action comes last.
const defaultRulePriority = 50_001

// clientListener is the listener of a load balancer for HTTP clients.
type clientListener struct {
	listener string // ARN
	base     string // URL
	internal bool
}

// clientListener returns the listener of a load balancer that clients use: that for HTTPS, if it
// has one, because the one for HTTP then redirects.
func (c Client) clientListener(ctx context.Context, balancer string) (clientListener, error) {
	found, err := c.ELB.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{LoadBalancerArns: []string{balancer}})
	if err != nil {
		return clientListener{}, fmt.Errorf("describing load balancer %s: %w", groupOf(balancer), err)
	}
	listeners, err := c.ELB.DescribeListeners(ctx, &elb.DescribeListenersInput{LoadBalancerArn: &balancer})
	if err != nil {
		return clientListener{}, fmt.Errorf("describing the listeners of load balancer %s: %w", groupOf(balancer), err)
	}
	for _, scheme := range []struct {
		protocol elbtypes.ProtocolEnum
		name     string
		port     int32
	}{{elbtypes.ProtocolEnumHttps, "https", 443}, {elbtypes.ProtocolEnumHttp, "http", 80}} {
		// The listener for test traffic has the same protocol, and another port.
		standard := func(l elbtypes.Listener) bool { return aws.ToInt32(l.Port) == scheme.port }
		usual := slices.ContainsFunc(listeners.Listeners, standard)
		for _, listener := range listeners.Listeners {
			if listener.Protocol != scheme.protocol || usual && !standard(listener) {
				continue
			}
			host := aws.ToString(found.LoadBalancers[0].DNSName)
			if _, _, err := net.SplitHostPort(host); err != nil && aws.ToInt32(listener.Port) != scheme.port { // those of the embedded AWS have a port
				host = net.JoinHostPort(host, strconv.Itoa(int(aws.ToInt32(listener.Port))))
			}
			return clientListener{
				listener: aws.ToString(listener.ListenerArn), base: scheme.name + "://" + host,
				internal: found.LoadBalancers[0].Scheme == elbtypes.LoadBalancerSchemeEnumInternal,
			}, nil
		}
	}
	return clientListener{}, outcome.Usagef("load balancer %s has no HTTP or HTTPS listener, so no preview can be behind it", groupOf(balancer))
}

// pathPrefix returns the path below which a preview without a host answers.
func pathPrefix(number int) string { return fmt.Sprintf("/pr%d", number) }

// conditions returns the conditions of the listener rule for a route of a preview.
func conditions(number int, host, route string) []elbtypes.RuleCondition {
	if host != "" {
		all := []elbtypes.RuleCondition{{Field: aws.String(hostHeader), HostHeaderConfig: &elbtypes.HostHeaderConditionConfig{Values: []string{host}}}}
		if route == platform.CatchAll {
			return all
		}
		return append(all, elbtypes.RuleCondition{Field: aws.String(pathPattern), PathPatternConfig: &elbtypes.PathPatternConditionConfig{Values: []string{route}}})
	}
	values := []string{pathPrefix(number) + route}
	if route == platform.CatchAll {
		values = []string{pathPrefix(number), pathPrefix(number) + route}
	}
	return []elbtypes.RuleCondition{{Field: aws.String(pathPattern), PathPatternConfig: &elbtypes.PathPatternConditionConfig{Values: values}}}
}

// transforms returns the rewrite that removes a preview's path prefix.
func transforms(number int, host string) []elbtypes.RuleTransform {
	if host != "" {
		return nil
	}
	return []elbtypes.RuleTransform{{Type: elbtypes.TransformTypeEnumUrlRewrite, UrlRewriteConfig: &elbtypes.UrlRewriteConfig{
		Rewrites: []elbtypes.RewriteConfig{{Regex: aws.String("^" + pathPrefix(number) + "/?(.*)$"), Replace: aws.String("/$1")}},
	}}}
}

// conditionText returns a text that is equal for equal conditions of previews.
func conditionText(all []elbtypes.RuleCondition) string {
	var parts []string
	for _, condition := range all {
		values := condition.Values
		switch {
		case condition.HostHeaderConfig != nil:
			values = condition.HostHeaderConfig.Values
		case condition.PathPatternConfig != nil:
			values = condition.PathPatternConfig.Values
		}
		parts = append(parts, aws.ToString(condition.Field)+" "+strings.Join(values, " "))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// ensureRules creates the rules of an entry that are missing in a preview, and deletes
// those that it no longer has.
func (c Client) ensureRules(ctx context.Context, s platform.Service, own, original string, at clientListener, host string, existing []rule, t tags) error {
	wanted := map[string]string{} // routes by their conditions
	for _, route := range s.Routes {
		wanted[conditionText(conditions(t.number, host, route))] = route
	}
	for _, r := range existing {
		if !slices.Contains(forwardsTo(r.Rule), groupOf(own)) {
			continue
		}
		text := conditionText(r.Conditions)
		if _, keep := wanted[text]; keep && r.listener == at.listener {
			delete(wanted, text)
			continue
		}
		if err := c.deleteRule(ctx, r); err != nil {
			return err
		}
		c.Event(s.Name, "removed the listener rule for "+text)
	}
	for _, route := range s.Routes { // in order
		if wanted[conditionText(conditions(t.number, host, route))] != route {
			continue
		}
		priority, err := c.createRule(ctx, route, own, original, at, host, t)
		if err != nil {
			return err
		}
		c.Event(s.Name, fmt.Sprintf("created listener rule %d for %s", priority, conditionText(conditions(t.number, host, route))))
	}
	return nil
}

// ruleTries is how often a priority is chosen while other previews take it.
const ruleTries = 10

// createRule creates the rule of a route just before that of the environment: it comes
// after the more specific routes of services that are not in the preview, so that the
// environment still serves those.
func (c Client) createRule(ctx context.Context, route, own, original string, at clientListener, host string, t tags) (int, error) {
	for try := 1; ; try++ {
		all, err := c.rulesOf(ctx, at.listener)
		if err != nil {
			return 0, err
		}
		priority := freePriority(all, priorityBefore(all, route, original))
		if priority == 0 {
			return 0, outcome.Refusedf("no listener rule is free before that of %s: remove another preview (slipway preview down --pr NUMBER)", route)
		}
		_, err = c.ELB.CreateRule(ctx, &elb.CreateRuleInput{
			ListenerArn: &at.listener, Priority: aws.Int32(int32(priority)), Conditions: conditions(t.number, host, route), Transforms: transforms(t.number, host),
			Actions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: &own}}, Tags: t.elb(),
		})
		if errors.As(err, new(*elbtypes.PriorityInUseException)) && try < ruleTries {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("creating the listener rule for %s: %w", route, err)
		}
		return priority, nil
	}
}

// priorityBefore returns the priority that the rule for a route has to come before: that of the
// environment's rule, or else the one that the platform gives it.
func priorityBefore(rules []elbtypes.Rule, route, original string) int {
	for _, r := range rules {
		priority, err := strconv.Atoi(aws.ToString(r.Priority))
		if err != nil || !slices.Contains(forwardsTo(r), groupOf(original)) {
			continue
		}
		for _, condition := range r.Conditions {
			if condition.PathPatternConfig != nil && slices.Contains(condition.PathPatternConfig.Values, route) {
				return priority
			}
		}
	}
	if route == platform.CatchAll {
		return defaultRulePriority
	}
	return platform.RoutePriority(route)
}

// freePriority returns the highest free priority below a limit, 0 if none is free.
func freePriority(rules []elbtypes.Rule, limit int) int {
	taken := map[int]bool{}
	for _, r := range rules {
		priority, _ := strconv.Atoi(aws.ToString(r.Priority)) // 0 for the default rule
		taken[priority] = true
	}
	for priority := limit - 1; priority > 0; priority-- {
		if !taken[priority] {
			return priority
		}
	}
	return 0
}
