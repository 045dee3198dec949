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

// Balancers is what is asked of Elastic Load Balancing.
type Balancers interface {
	DescribeLoadBalancers(context.Context, *elb.DescribeLoadBalancersInput, ...func(*elb.Options)) (*elb.DescribeLoadBalancersOutput, error)
	DescribeListeners(context.Context, *elb.DescribeListenersInput, ...func(*elb.Options)) (*elb.DescribeListenersOutput, error)
}

// NoDoorError tells that the system has no front door that could be found, so
// that there is nothing to test it by. The release itself may be well.
type NoDoorError struct {
	// Name is the load balancer's.
	Name string
	// Err says why.
	Err error
}

func (e *NoDoorError) Error() string { return fmt.Sprintf("load balancer %s: %v", e.Name, e.Err) }

// Unwrap gives AWS's answer.
func (e *NoDoorError) Unwrap() error { return e.Err }

// URL is where the load balancer with a name answers, without a slash at the
// end: https if it listens for that, else http. A [*NoDoorError] tells that it
// does not exist, does not listen, or may not be asked about.
func URL(ctx context.Context, api Balancers, name string) (string, error) {
	found, err := api.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{Names: []string{name}})
	if err != nil {
		return "", doorError(name, "finding", err)
	}
	if len(found.LoadBalancers) == 0 || aws.ToString(found.LoadBalancers[0].DNSName) == "" {
		return "", &NoDoorError{Name: name, Err: errors.New("there is none")}
	}
	balancer := found.LoadBalancers[0]
	listeners, err := api.DescribeListeners(ctx, &elb.DescribeListenersInput{LoadBalancerArn: balancer.LoadBalancerArn})
	if err != nil {
		return "", doorError(name, "listing the listeners of", err)
	}
	for _, scheme := range []struct {
		protocol types.ProtocolEnum
		name     string
		port     int32
	}{{types.ProtocolEnumHttps, "https", 443}, {types.ProtocolEnumHttp, "http", 80}} {
		for _, listener := range listeners.Listeners {
			if listener.Protocol == scheme.protocol {
				return scheme.name + "://" + address(aws.ToString(balancer.DNSName), aws.ToInt32(listener.Port), scheme.port), nil
			}
		}
	}
	return "", &NoDoorError{Name: name, Err: errors.New("it listens for neither http nor https")}
}

// address is a host with its port, unless that is the scheme's own. The
// embedded AWS has load balancers on ports of its own, which the host tells.
func address(host string, port, own int32) string {
	if _, _, err := net.SplitHostPort(host); err == nil || port == own {
		return host
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// doorError tells what leaves the smoke test out from what may be over in a moment.
func doorError(name, doing string, err error) error {
	var absent *types.LoadBalancerNotFoundException
	if errors.As(err, &absent) || awsauth.IsAccessDenied(err) {
		return &NoDoorError{Name: name, Err: awsauth.Explain(err)}
	}
	return fmt.Errorf("%s load balancer %s: %w", doing, name, err)
}
