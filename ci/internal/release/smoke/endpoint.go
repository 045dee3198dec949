package smoke

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
)

// ELB is the part of the Elastic Load Balancing API that finds the base URL.
type ELB interface {
	DescribeLoadBalancers(context.Context, *elb.DescribeLoadBalancersInput, ...func(*elb.Options)) (*elb.DescribeLoadBalancersOutput, error)
	DescribeListeners(context.Context, *elb.DescribeListenersInput, ...func(*elb.Options)) (*elb.DescribeListenersOutput, error)
	DescribeTargetGroups(context.Context, *elb.DescribeTargetGroupsInput, ...func(*elb.Options)) (*elb.DescribeTargetGroupsOutput, error)
}

// NoEndpointError means that no endpoint to test was found. The release itself
// may be fine.
type NoEndpointError struct {
	// Name is the load balancer's.
	Name string
	// Err is the reason.
	Err error
}

func (e *NoEndpointError) Error() string { return fmt.Sprintf("load balancer %s: %v", e.Name, e.Err) }

// Unwrap returns AWS's error.
func (e *NoEndpointError) Unwrap() error { return e.Err }

// BaseURL returns the URL of the load balancer with the given name, without a
// trailing slash: https if it has such a listener, else http. The error is a
// [*NoEndpointError] if the load balancer does not exist, has no listener, or
// may not be described.
func BaseURL(ctx context.Context, api ELB, name string) (string, error) {
	return baseURL(ctx, api, name, &elb.DescribeLoadBalancersInput{Names: []string{name}})
}

// groupsLimit is how many target groups a call describes.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTargetGroups.html
const groupsLimit = 20

// BaseURLs returns the URLs of the load balancers that forward to target groups, by the ARN
// of the target group. The error joins those of all load balancers; those of [*NoEndpointError]
// are about load balancers without an HTTP listener, or that are not public.
func BaseURLs(ctx context.Context, api ELB, groups []string) (map[string]string, error) {
	balancers := map[string][]string{} // target groups by the ARN of a load balancer
	for batch := range slices.Chunk(groups, groupsLimit) {
		out, err := api.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{TargetGroupArns: batch})
		if err != nil {
			return nil, endpointError("of "+strings.Join(batch, ", "), "describing the target groups of", err)
		}
		for _, group := range out.TargetGroups {
			if len(group.LoadBalancerArns) > 0 {
				balancers[group.LoadBalancerArns[0]] = append(balancers[group.LoadBalancerArns[0]], aws.ToString(group.TargetGroupArn))
			}
		}
	}
	urls := map[string]string{}
	var problems []error
	for _, arn := range slices.Sorted(maps.Keys(balancers)) {
		found, err := baseURL(ctx, api, nameOf(arn), &elb.DescribeLoadBalancersInput{LoadBalancerArns: []string{arn}})
		if err != nil {
			problems = append(problems, err)
			continue
		}
		for _, group := range balancers[arn] {
			urls[group] = found
		}
	}
	return urls, errors.Join(problems...)
}

// nameOf returns the name in the ARN of a load balancer, …:loadbalancer/app/NAME/ID.
func nameOf(arn string) string {
	parts := strings.Split(arn, "/")
	return parts[max(0, len(parts)-2)]
}

func baseURL(ctx context.Context, api ELB, name string, input *elb.DescribeLoadBalancersInput) (string, error) {
	balancer, err := findBalancer(ctx, api, name, input)
	if err != nil {
		return "", err
	}
	listeners, err := api.DescribeListeners(ctx, &elb.DescribeListenersInput{LoadBalancerArn: balancer.LoadBalancerArn})
	if err != nil {
		return "", endpointError(name, "describing the listeners of", err)
	}
	// The listener for test traffic has the same protocol, and another port.
	unusual := func(l types.Listener) int {
		if port := aws.ToInt32(l.Port); port == 80 || port == 443 {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(listeners.Listeners, func(a, b types.Listener) int { return unusual(a) - unusual(b) })
	for _, protocol := range []types.ProtocolEnum{types.ProtocolEnumHttps, types.ProtocolEnumHttp} {
		for _, listener := range listeners.Listeners {
			if listener.Protocol == protocol {
				return listenerURL(balancer, listener), nil
			}
		}
	}
	return "", &NoEndpointError{Name: name, Err: errors.New("it has no HTTP or HTTPS listener")}
}

func findBalancer(ctx context.Context, api ELB, name string, input *elb.DescribeLoadBalancersInput) (types.LoadBalancer, error) {
	found, err := api.DescribeLoadBalancers(ctx, input)
	switch {
	case err != nil:
		return types.LoadBalancer{}, endpointError(name, "describing", err)
	case len(found.LoadBalancers) == 0 || aws.ToString(found.LoadBalancers[0].DNSName) == "":
		return types.LoadBalancer{}, &NoEndpointError{Name: name, Err: errors.New("it does not exist, or has no DNS name")}
	case found.LoadBalancers[0].Scheme == types.LoadBalancerSchemeEnumInternal:
		return types.LoadBalancer{}, &NoEndpointError{Name: name, Err: errors.New("it is internal, so this machine may not reach it")}
	}
	return found.LoadBalancers[0], nil
}

// listenerURL returns the URL of an HTTP or HTTPS listener.
func listenerURL(balancer types.LoadBalancer, listener types.Listener) string {
	scheme, port := "http", int32(80)
	if listener.Protocol == types.ProtocolEnumHttps {
		scheme, port = "https", 443
	}
	return scheme + "://" + hostPort(aws.ToString(balancer.DNSName), aws.ToInt32(listener.Port), port)
}

// Endpoint is where a listener is reached.
type Endpoint struct {
	URL string // without a trailing slash
	// Host is the header Host of requests.
	Host string
}

// ListenerEndpoints returns where the listeners of rules are reached, by the rule's ARN.
// host, if set, is the host in the header Host; otherwise it is the load balancer's.
func ListenerEndpoints(ctx context.Context, api ELB, rules []string, host string) (map[string]Endpoint, error) {
	byListener := map[string][]string{}
	for _, rule := range rules {
		listener := strings.Replace(rule[:max(0, strings.LastIndexByte(rule, '/'))], ":listener-rule/", ":listener/", 1)
		byListener[listener] = append(byListener[listener], rule)
	}
	found := map[string]Endpoint{}
	balancers := map[string]types.LoadBalancer{}
	for batch := range slices.Chunk(slices.Sorted(maps.Keys(byListener)), groupsLimit) {
		out, err := api.DescribeListeners(ctx, &elb.DescribeListenersInput{ListenerArns: batch})
		if err != nil {
			return nil, endpointError("of "+strings.Join(batch, ", "), "describing the listeners of", err)
		}
		for _, listener := range out.Listeners {
			arn := aws.ToString(listener.LoadBalancerArn)
			balancer, ok := balancers[arn]
			if !ok {
				if balancer, err = findBalancer(ctx, api, nameOf(arn), &elb.DescribeLoadBalancersInput{LoadBalancerArns: []string{arn}}); err != nil {
					return nil, err
				}
				balancers[arn] = balancer
			}
			name := cmp.Or(host, aws.ToString(balancer.DNSName))
			if withoutPort, _, err := net.SplitHostPort(name); err == nil {
				name = withoutPort
			}
			for _, rule := range byListener[aws.ToString(listener.ListenerArn)] {
				found[rule] = Endpoint{URL: listenerURL(balancer, listener), Host: net.JoinHostPort(name, strconv.Itoa(int(aws.ToInt32(listener.Port))))}
			}
		}
	}
	return found, nil
}

// hostPort appends the port unless it is the scheme's default. The DNS names of
// the embedded AWS include a port, and the header Host chooses among its listeners.
func hostPort(host string, port, defaultPort int32) string {
	if _, _, err := net.SplitHostPort(host); err == nil || port == defaultPort {
		return host
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// endpointError separates errors that skip the smoke test from transient ones.
func endpointError(name, doing string, err error) error {
	if errors.As(err, new(*types.LoadBalancerNotFoundException)) || errors.As(err, new(*types.TargetGroupNotFoundException)) || awsauth.IsAccessDenied(err) {
		return &NoEndpointError{Name: name, Err: awsauth.Explain(err)}
	}
	return fmt.Errorf("%s load balancer %s: %w", doing, name, err)
}
