package smoke_test

import (
	"context"
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/release/smoke"
)

// fakeELB has one load balancer.
type fakeELB struct {
	host      string
	scheme    types.LoadBalancerSchemeEnum
	listeners []types.Listener
	errors    [2]error // of the two calls
}

func (f fakeELB) DescribeLoadBalancers(context.Context, *elb.DescribeLoadBalancersInput, ...func(*elb.Options)) (*elb.DescribeLoadBalancersOutput, error) {
	return &elb.DescribeLoadBalancersOutput{LoadBalancers: []types.LoadBalancer{{DNSName: &f.host, Scheme: f.scheme}}}, f.errors[0]
}

func (f fakeELB) DescribeListeners(context.Context, *elb.DescribeListenersInput, ...func(*elb.Options)) (*elb.DescribeListenersOutput, error) {
	return &elb.DescribeListenersOutput{Listeners: f.listeners}, f.errors[1]
}

// DescribeTargetGroups returns groups of which each is forwarded to by the load balancer in
// its name; "" by none.
func (f fakeELB) DescribeTargetGroups(_ context.Context, in *elb.DescribeTargetGroupsInput, _ ...func(*elb.Options)) (*elb.DescribeTargetGroupsOutput, error) {
	out := &elb.DescribeTargetGroupsOutput{}
	for _, arn := range in.TargetGroupArns {
		group := types.TargetGroup{TargetGroupArn: &arn}
		if arn != "" {
			group.LoadBalancerArns = []string{"arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/app/" + arn + "/1"}
		}
		out.TargetGroups = append(out.TargetGroups, group)
	}
	return out, f.errors[0]
}

func listener(protocol types.ProtocolEnum, port int32) types.Listener {
	return types.Listener{Protocol: protocol, Port: &port}
}

func TestBaseURL(t *testing.T) {
	plain, secure := listener(types.ProtocolEnumHttp, 80), listener(types.ProtocolEnumHttps, 443)
	denied := &smithy.OperationError{ServiceID: "Elastic Load Balancing v2", OperationName: "DescribeListeners", Err: &smithy.GenericAPIError{
		Code: "AccessDenied", Message: "User: me is not authorized to perform: elasticloadbalancing:DescribeListeners on resource: *",
	}}
	throttled := &smithy.GenericAPIError{Code: "Throttling", Message: "Rate exceeded"}
	tests := map[string]struct {
		api        fakeELB
		want       string
		err        string
		noEndpoint bool
	}{
		"http":            {api: fakeELB{host: "a.elb", listeners: []types.Listener{plain}}, want: "http://a.elb"},
		"https preferred": {api: fakeELB{host: "a.elb", listeners: []types.Listener{plain, secure}}, want: "https://a.elb"},
		"a test listener": {api: fakeELB{host: "a.elb", listeners: []types.Listener{listener(types.ProtocolEnumHttp, 10080), plain}}, want: "http://a.elb"},
		"other ports":     {api: fakeELB{host: "a.elb", listeners: []types.Listener{listener(types.ProtocolEnumHttps, 8443)}}, want: "https://a.elb:8443"},
		"port in the DNS name": {
			api: fakeELB{host: "127.0.0.1:4567", listeners: []types.Listener{listener(types.ProtocolEnumHttp, 8080)}}, want: "http://127.0.0.1:4567",
		},
		"no listener":     {api: fakeELB{host: "a.elb"}, err: "load balancer ecs-alb: it has no HTTP or HTTPS listener", noEndpoint: true},
		"internal":        {api: fakeELB{host: "a.elb", scheme: types.LoadBalancerSchemeEnumInternal}, err: "load balancer ecs-alb: it is internal", noEndpoint: true},
		"no host":         {api: fakeELB{}, err: "load balancer ecs-alb: it does not exist, or has no DNS name", noEndpoint: true},
		"denied":          {api: fakeELB{host: "a.elb", errors: [2]error{1: denied}}, err: "load balancer ecs-alb: AWS denies elasticloadbalancing:DescribeListeners on * to me: allow it in the policy", noEndpoint: true},
		"denied first":    {api: fakeELB{errors: [2]error{denied}}, err: "AWS denies", noEndpoint: true},
		"throttled":       {api: fakeELB{errors: [2]error{throttled}}, err: "describing load balancer ecs-alb: api error Throttling"},
		"throttled later": {api: fakeELB{host: "a.elb", errors: [2]error{1: throttled}}, err: "describing the listeners of load balancer ecs-alb: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := smoke.BaseURL(t.Context(), tt.api, "ecs-alb")
			require.Equal(t, tt.want, got)
			if tt.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.err)
			require.Equal(t, tt.noEndpoint, errors.As(err, new(*smoke.NoEndpointError)))
		})
	}
}

func TestBaseURLOfEmbeddedAWS(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	_, err := smoke.BaseURL(t.Context(), p.ELB, "ecs-alb")
	var none *smoke.NoEndpointError
	require.ErrorAs(t, err, &none)
	require.Equal(t, "ecs-alb", none.Name)

	made, err := p.ELB.CreateLoadBalancer(t.Context(), &elb.CreateLoadBalancerInput{Name: aws.String("ecs-alb"), Subnets: []string{"subnet-1", "subnet-2"}})
	require.NoError(t, err)
	_, err = p.ELB.CreateListener(t.Context(), &elb.CreateListenerInput{
		LoadBalancerArn: made.LoadBalancers[0].LoadBalancerArn, Port: aws.Int32(80), Protocol: types.ProtocolEnumHttp,
		DefaultActions: []types.Action{{Type: types.ActionTypeEnumFixedResponse, FixedResponseConfig: &types.FixedResponseActionConfig{StatusCode: aws.String("200")}}},
	})
	require.NoError(t, err)
	url, err := smoke.BaseURL(t.Context(), p.ELB, "ecs-alb")
	require.NoError(t, err)
	require.NoError(t, smoke.Tester{Clock: clock.Real{}, Timeout: smoke.DefaultTimeout}.Run(t.Context(), url, []smoke.Check{{Path: "/"}}))
}

// TestListenerEndpoints reaches the listener for test traffic, besides the one at the load
// balancer's DNS name.
func TestListenerEndpoints(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	var rules []string
	for _, name := range []string{"a", "b"} {
		made, err := p.ELB.CreateLoadBalancer(t.Context(), &elb.CreateLoadBalancerInput{Name: &name, Subnets: []string{"subnet-1", "subnet-2"}})
		require.NoError(t, err)
		for _, port := range []int32{80, 10080} {
			status := func(code string) []types.Action {
				return []types.Action{{Type: types.ActionTypeEnumFixedResponse, FixedResponseConfig: &types.FixedResponseActionConfig{StatusCode: &code}}}
			}
			l, err := p.ELB.CreateListener(t.Context(), &elb.CreateListenerInput{LoadBalancerArn: made.LoadBalancers[0].LoadBalancerArn, Port: &port, Protocol: types.ProtocolEnumHttp, DefaultActions: status("404")})
			require.NoError(t, err)
			if port == 80 {
				continue
			}
			r, err := p.ELB.CreateRule(t.Context(), &elb.CreateRuleInput{
				ListenerArn: l.Listeners[0].ListenerArn, Priority: aws.Int32(1), Actions: status("200"),
				Conditions: []types.RuleCondition{{Field: aws.String("path-pattern"), Values: []string{"/" + name}}},
			})
			require.NoError(t, err)
			rules = append(rules, *r.Rules[0].RuleArn)
		}
	}
	found, err := smoke.ListenerEndpoints(t.Context(), p.ELB, rules, "")
	require.NoError(t, err)
	for n, name := range []string{"a", "b"} {
		at := found[rules[n]]
		require.Equal(t, "127.0.0.1:10080", at.Host)
		require.NoError(t, smoke.Tester{Clock: clock.Real{}, Host: at.Host}.Run(t.Context(), at.URL, []smoke.Check{{Path: "/" + name}}))
		require.ErrorContains(t, smoke.Tester{Clock: clock.Real{}}.Run(t.Context(), at.URL, []smoke.Check{{Path: "/" + name}}), "404 Not Found")
	}
	found, err = smoke.ListenerEndpoints(t.Context(), p.ELB, rules[:1], "shop.example")
	require.NoError(t, err)
	require.Equal(t, "shop.example:10080", found[rules[0]].Host)

	secure := fakeELB{host: "ecs-alb-1.us-east-1.elb.amazonaws.com", listeners: []types.Listener{listener(types.ProtocolEnumHttps, 10080)}}
	secure.listeners[0].ListenerArn = aws.String("arn:aws:elasticloadbalancing:us-east-1:1:listener/app/lb/1/2")
	found, err = smoke.ListenerEndpoints(t.Context(), secure, []string{"arn:aws:elasticloadbalancing:us-east-1:1:listener-rule/app/lb/1/2/3"}, "")
	require.NoError(t, err)
	require.Equal(t, map[string]smoke.Endpoint{"arn:aws:elasticloadbalancing:us-east-1:1:listener-rule/app/lb/1/2/3": {
		URL: "https://ecs-alb-1.us-east-1.elb.amazonaws.com:10080", Host: "ecs-alb-1.us-east-1.elb.amazonaws.com:10080",
	}}, found)
	secure.scheme = types.LoadBalancerSchemeEnumInternal
	_, err = smoke.ListenerEndpoints(t.Context(), secure, []string{"arn:aws:elasticloadbalancing:us-east-1:1:listener-rule/app/lb/1/2/3"}, "")
	require.ErrorAs(t, err, new(*smoke.NoEndpointError))
	_, err = smoke.ListenerEndpoints(t.Context(), fakeELB{errors: [2]error{1: &smithy.GenericAPIError{Code: "Throttling"}}}, []string{"rule"}, "")
	require.ErrorContains(t, err, "describing the listeners of")
}

func TestBaseURLs(t *testing.T) {
	plain := []types.Listener{listener(types.ProtocolEnumHttp, 80)}
	throttled := &smithy.GenericAPIError{Code: "Throttling", Message: "Rate exceeded"}
	tests := map[string]struct {
		api  fakeELB
		want map[string]string
		err  string
	}{
		"one for each":    {api: fakeELB{host: "a.elb", listeners: plain}, want: map[string]string{"blue": "http://a.elb", "green": "http://a.elb"}},
		"a network one":   {api: fakeELB{host: "a.elb", listeners: []types.Listener{listener(types.ProtocolEnumTls, 443)}}, want: map[string]string{}, err: "load balancer blue: it has no HTTP or HTTPS listener\nload balancer green: it has no HTTP"},
		"throttled":       {api: fakeELB{errors: [2]error{throttled}}, err: "describing the target groups of load balancer of blue, green, : api error Throttling"},
		"a group is gone": {api: fakeELB{errors: [2]error{&types.TargetGroupNotFoundException{}}}, err: "load balancer of blue, green, : TargetGroupNotFound"},
		"throttled later": {api: fakeELB{host: "a.elb", errors: [2]error{1: throttled}}, want: map[string]string{}, err: "describing the listeners of load balancer blue: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := smoke.BaseURLs(t.Context(), tt.api, []string{"blue", "green", ""})
			require.Equal(t, tt.want, got)
			if tt.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tt.err)
			}
		})
	}
}
