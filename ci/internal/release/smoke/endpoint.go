package smoke

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"dagger/slipway/internal/awsauth"
)

// ELB is the part of the Elastic Load Balancing API that finds the base URL.
type ELB interface {
	DescribeLoadBalancers(context.Context, *elb.DescribeLoadBalancersInput, ...func(*elb.Options)) (*elb.DescribeLoadBalancersOutput, error)
	DescribeListeners(context.Context, *elb.DescribeListenersInput, ...func(*elb.Options)) (*elb.DescribeListenersOutput, error)
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
	found, err := api.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{Names: []string{name}})
	if err != nil {
		return "", endpointError(name, "describing", err)
	}
	if len(found.LoadBalancers) == 0 || aws.ToString(found.LoadBalancers[0].DNSName) == "" {
		return "", &NoEndpointError{Name: name, Err: errors.New("it does not exist, or has no DNS name")}
	}
	balancer := found.LoadBalancers[0]
	listeners, err := api.DescribeListeners(ctx, &elb.DescribeListenersInput{LoadBalancerArn: balancer.LoadBalancerArn})
	if err != nil {
		return "", endpointError(name, "describing the listeners of", err)
	}
	for _, scheme := range []struct {
		protocol types.ProtocolEnum
		name     string
		port     int32
	}{{types.ProtocolEnumHttps, "https", 443}, {types.ProtocolEnumHttp, "http", 80}} {
		for _, listener := range listeners.Listeners {
			if listener.Protocol == scheme.protocol {
				return scheme.name + "://" + hostPort(aws.ToString(balancer.DNSName), aws.ToInt32(listener.Port), scheme.port), nil
			}
		}
	}
	return "", &NoEndpointError{Name: name, Err: errors.New("it has no HTTP or HTTPS listener")}
}

// hostPort appends the port unless it is the scheme's default. The DNS names of
// the embedded AWS include a port.
func hostPort(host string, port, defaultPort int32) string {
	if _, _, err := net.SplitHostPort(host); err == nil || port == defaultPort {
		return host
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// endpointError separates errors that skip the smoke test from transient ones.
func endpointError(name, doing string, err error) error {
	var notFound *types.LoadBalancerNotFoundException
	if errors.As(err, &notFound) || awsauth.IsAccessDenied(err) {
		return &NoEndpointError{Name: name, Err: awsauth.Explain(err)}
	}
	return fmt.Errorf("%s load balancer %s: %w", doing, name, err)
}
