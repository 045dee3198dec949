package delivery

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/smoke"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// response is an action that needs no target.
func response(status, contentType, body string) []types.Action {
	return []types.Action{{Type: types.ActionTypeEnumFixedResponse, FixedResponseConfig: &types.FixedResponseActionConfig{StatusCode: &status, ContentType: &contentType, MessageBody: &body}}}
}

// shiftFixture is a load balancer with the rules of the services web and api. ECS has no
// service.
type shiftFixture struct {
	*localawstest.Platform
	delivery   Delivery
	events     []string
	production string // listener
	test       string // listener
	rules      map[string]string
}

func newShiftFixture(t *testing.T) *shiftFixture {
	f := &shiftFixture{Platform: localawstest.Start(t, localaws.Options{TimeScale: 100}), rules: map[string]string{}}
	_, err := f.ECS.CreateCluster(t.Context(), &ecs.CreateClusterInput{ClusterName: aws.String(platform.Cluster)})
	require.NoError(t, err)
	made, err := f.ELB.CreateLoadBalancer(t.Context(), &elb.CreateLoadBalancerInput{Name: aws.String("ecs-alb"), Subnets: []string{"subnet-1", "subnet-2"}})
	require.NoError(t, err)
	for port, listener := range map[int32]*string{80: &f.production, 10080: &f.test} {
		l, err := f.ELB.CreateListener(t.Context(), &elb.CreateListenerInput{LoadBalancerArn: made.LoadBalancers[0].LoadBalancerArn, Port: &port, Protocol: types.ProtocolEnumHttp, DefaultActions: response("404", "text/plain", "")})
		require.NoError(t, err)
		*listener = *l.Listeners[0].ListenerArn
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	f.delivery = Delivery{
		Account: NewAccount(aws.Config{
			Region: "us-east-1", BaseEndpoint: aws.String(f.Server.Endpoint()), HTTPClient: &http.Client{Transport: transport},
			Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""),
		}),
		Clock: clock.NewScaled(100), SmokeTimeout: time.Second,
		Recorder: report.NewRecorder(time.Now, lines{&f.events}),
		All: []platform.Service{
			{Name: "api", Build: platform.Build{Kind: platform.Go}, Port: 8000, HealthPath: "/api/health", Routes: []string{"/api/*"}, Strategy: &platform.Strategy{Type: platform.Canary}},
			{Name: "web", Build: platform.Build{Kind: platform.Nginx}, Port: 8080, HealthPath: "/healthz", Routes: []string{"/*"}, Strategy: &platform.Strategy{Type: platform.BlueGreen}},
			{Name: "old", Build: platform.Build{Kind: platform.Go}, Port: 9000, HealthPath: "/old/health", Routes: []string{"/old/*"}},
			{Name: "worker", Build: platform.Build{Kind: platform.Go}, Strategy: &platform.Strategy{Type: platform.BlueGreen}},
		},
	}
	f.delivery.Services = f.delivery.All
	for n, s := range f.delivery.All[:2] {
		group, alternate := f.NewTargetGroup(s.TargetGroup(), s.HealthPath), f.NewTargetGroup(s.AlternateTargetGroup(), s.HealthPath)
		for listener, of := range map[string]string{f.production: s.Name + " production", f.test: s.Name + " test"} {
			rule, err := f.ELB.CreateRule(t.Context(), &elb.CreateRuleInput{
				ListenerArn: &listener, Priority: aws.Int32(int32(1 + n)), Conditions: []types.RuleCondition{{Field: aws.String("path-pattern"), Values: s.Routes}},
				Actions: []types.Action{{Type: types.ActionTypeEnumForward, ForwardConfig: &types.ForwardActionConfig{TargetGroups: []types.TargetGroupTuple{
					{TargetGroupArn: &group, Weight: aws.Int32(100)}, {TargetGroupArn: &alternate, Weight: aws.Int32(0)},
				}}}},
			})
			require.NoError(t, err)
			f.rules[of] = *rule.Rules[0].RuleArn
		}
	}
	return f
}

// lines records the lines of a log, except those about stages.
type lines struct{ events *[]string }

func (l lines) Line(text string) {
	if !strings.Contains(text, "smoke-new") {
		*l.events = append(*l.events, text)
	}
}
func (lines) Status([]string) {}
func (lines) Close()          {}

// request returns a release of all services.
func (f *shiftFixture) request() rollout.Request {
	request := rollout.Request{}
	for _, s := range f.delivery.Services {
		request.Targets = append(request.Targets, rollout.Target{Service: s})
	}
	return request
}

// respond makes the test rule of a service respond in place of its new version.
func (f *shiftFixture) respond(service string, actions []types.Action) {
	_, err := f.ELB.ModifyRule(f.Context(), &elb.ModifyRuleInput{RuleArn: aws.String(f.rules[service+" test"]), Actions: actions})
	f.RequireNoError(err)
}

func TestShiftTraffic(t *testing.T) {
	f := newShiftFixture(t)
	request := f.request()
	_, err := f.delivery.shiftTraffic(t.Context(), &request, smoke.Succeeded{"api/api/": true}, Options{})
	require.NoError(t, err)
	require.True(t, request.Targets[0].Shift != nil && request.Targets[1].Shift != nil)
	require.Equal(t, f.rules["api production"], request.Targets[0].Shift.ProductionRule)
	require.Equal(t, f.rules["web test"], request.Targets[1].Shift.TestRule)
	require.Nil(t, request.Targets[2].Shift, "rolling")
	require.Nil(t, request.Targets[3].Shift, "a worker")
	require.NotNil(t, request.CheckTraffic)

	const version = "0123456789012345678901234567890123456789"
	versions := map[string]string{"api": version, "web": "", "old": version, "worker": ""}
	f.respond("api", response("200", "application/json", `{"version": "`+version+`"}`))
	f.respond("web", response("200", "text/html", "new"))
	require.NoError(t, request.TestNew(t.Context(), versions))
	require.NoError(t, request.TestNew(t.Context(), map[string]string{"old": version}), "nothing of it has test traffic")
	f.respond("web", response("500", "text/html", "new"))
	require.NoError(t, request.TestNew(t.Context(), map[string]string{"api": version}), "web is unchanged")
	require.ErrorContains(t, request.TestNew(t.Context(), versions), "/healthz returned 500 Internal Server Error, want 200 OK")
	f.respond("api", response("200", "application/json", `{"version": "`+commitID+`"}`))
	err = request.TestNew(t.Context(), versions)
	require.ErrorContains(t, err, `/api/ returned version "`+commitID+`", want "`+version+`"`)
	require.ErrorContains(t, err, "/healthz returned 500", "every one that fails is named")
	f.respond("api", response("404", "text/plain", "no"))
	require.ErrorContains(t, request.TestNew(t.Context(), map[string]string{"api": version}), "/api/ returned 404 Not Found, want a status below 400 as before the release")
	require.Empty(t, f.events)
}

const commitID = "9876543210987654321098765432109876543210"

// TestShiftTrafficWithoutLoadBalancer: ECS shifts nothing of such a service, whatever its
// entry has.
func TestShiftTrafficWithoutLoadBalancer(t *testing.T) {
	f := newShiftFixture(t)
	_, err := f.ECS.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{
		Family: aws.String("api"), Cpu: aws.String("256"), Memory: aws.String("512"), NetworkMode: ecstypes.NetworkModeAwsvpc, ExecutionRoleArn: aws.String("arn:aws:iam::000000000000:role/exec"),
		RequiresCompatibilities: []ecstypes.Compatibility{ecstypes.CompatibilityFargate}, ContainerDefinitions: []ecstypes.ContainerDefinition{{Name: aws.String("api"), Image: aws.String("x")}},
	})
	require.NoError(t, err)
	_, err = f.ECS.CreateService(t.Context(), &ecs.CreateServiceInput{
		Cluster: aws.String(platform.Cluster), ServiceName: aws.String(f.delivery.All[0].ServiceName()), TaskDefinition: aws.String("api"), DesiredCount: aws.Int32(0),
		LaunchType: ecstypes.LaunchTypeFargate, NetworkConfiguration: localawstest.NetworkConfiguration,
	})
	require.NoError(t, err)
	f.delivery.Services = f.delivery.All[:1]
	request := f.request()
	shift, err := f.delivery.shiftTraffic(t.Context(), &request, nil, Options{})
	require.NoError(t, err)
	require.Empty(t, shift.services)
	require.True(t, request.CheckTraffic == nil && request.Targets[0].Shift == nil)
}

func TestShiftTrafficOfOthers(t *testing.T) {
	f := newShiftFixture(t)
	before := len(f.Server.Calls())
	f.delivery.Services = f.delivery.All[2:]
	request := f.request()
	shift, err := f.delivery.shiftTraffic(t.Context(), &request, nil, Options{})
	require.NoError(t, err)
	require.Empty(t, shift.services)
	require.Len(t, f.Server.Calls(), before, "rolling services and workers need no lookup")
	require.True(t, request.CheckTraffic == nil && request.TestNew == nil)
	shift.report()

	f.delivery.Services = f.delivery.All[:1]
	request = f.request()
	request.Targets[0].Strategy = &platform.Strategy{Type: platform.Rolling}
	shift, err = f.delivery.shiftTraffic(t.Context(), &request, nil, Options{})
	require.NoError(t, err)
	require.Empty(t, shift.services, "this release rolls")

	request = f.request()
	_, err = f.delivery.shiftTraffic(t.Context(), &request, nil, Options{SkipSmoke: true})
	require.NoError(t, err)
	require.Nil(t, request.TestNew)

	f.delivery.Environment.TestListener = 10081
	_, err = f.delivery.shiftTraffic(t.Context(), &request, nil, Options{})
	require.EqualError(t, err, "service api: the load balancer has no listener on port 10081 for test traffic, so ECS cannot shift traffic: apply the services file with Terraform (slipway plan, slipway apply)")

	f.delivery.Environment.TestListener = 0
	f.Server.Inject(localaws.Fault{Kind: localaws.AccessDenied, Action: "DescribeLoadBalancers"})
	shift, err = f.delivery.shiftTraffic(t.Context(), &request, nil, Options{})
	require.NoError(t, err)
	require.Empty(t, shift.tested)
	require.Contains(t, f.events[0], "not checked: new versions before they get traffic: load balancer ecs-alb: ")
	require.NoError(t, request.TestNew(t.Context(), map[string]string{"api": ""}))
	require.Contains(t, f.events[1], "api")
	require.Contains(t, f.events[1], "its new version is not tested before it gets traffic: no request reaches it through the listener for test traffic")

	f.Server.Inject(localaws.Fault{Kind: localaws.AccessDenied, Action: "DescribeRules"})
	_, err = f.delivery.shiftTraffic(t.Context(), &request, nil, Options{})
	require.ErrorContains(t, err, "elasticloadbalancing:DescribeRules")
}
