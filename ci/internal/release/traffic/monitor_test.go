package traffic_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/traffic"
)

// fakeMetrics has the figures of target groups by minutes since start.
type fakeMetrics struct {
	traffic.ELB // only DescribeTargetGroups is called
	start       time.Time
	minutes     map[string][]traffic.Figures // by the name of the target group
	err         error
	status      types.StatusCode
	unattached  bool

	calls, groupCalls, queries int
	hang                       bool
}

func (f *fakeMetrics) DescribeTargetGroups(_ context.Context, in *elb.DescribeTargetGroupsInput, _ ...func(*elb.Options)) (*elb.DescribeTargetGroupsOutput, error) {
	f.groupCalls++
	out := &elb.DescribeTargetGroupsOutput{}
	for _, arn := range in.TargetGroupArns {
		group := elbtypes.TargetGroup{TargetGroupArn: &arn}
		if !f.unattached {
			group.LoadBalancerArns = []string{"arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/lb/0"}
		}
		out.TargetGroups = append(out.TargetGroups, group)
	}
	return out, nil
}

// GetMetricData returns a page for each query.
func (f *fakeMetrics) GetMetricData(ctx context.Context, in *cloudwatch.GetMetricDataInput, _ ...func(*cloudwatch.Options)) (*cloudwatch.GetMetricDataOutput, error) {
	f.calls++
	if f.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if f.err != nil {
		return nil, f.err
	}
	n := 0
	if in.NextToken != nil {
		_, _ = fmt.Sscan(*in.NextToken, &n)
	}
	f.queries = len(in.MetricDataQueries)
	query := in.MetricDataQueries[n]
	dimensions := query.MetricStat.Metric.Dimensions
	if *dimensions[1].Value != "app/lb/0" {
		return nil, fmt.Errorf("no metrics of load balancer %s", *dimensions[1].Value)
	}
	result := types.MetricDataResult{Id: query.Id, StatusCode: f.status}
	for minute, figures := range f.minutes[strings.Split(*dimensions[0].Value, "/")[1]] {
		value := map[string]float64{
			"RequestCount": float64(figures.Requests), "HTTPCode_Target_5XX_Count": float64(figures.Errors), "TargetResponseTime": figures.P90.Seconds(),
		}[*query.MetricStat.Metric.MetricName]
		at := f.start.Add(time.Duration(minute) * time.Minute)
		if value > 0 && !at.Before(in.StartTime.Truncate(time.Minute)) && at.Before(*in.EndTime) { // a minute without any is not reported
			result.Timestamps, result.Values = append(result.Timestamps, at), append(result.Values, value)
		}
	}
	out := &cloudwatch.GetMetricDataOutput{MetricDataResults: []types.MetricDataResult{result}}
	if n+1 < len(in.MetricDataQueries) {
		out.NextToken = aws.String(fmt.Sprint(n + 1))
	}
	return out, nil
}

func groupARN(name string) string {
	return "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/" + name + "/0123456789abcdef"
}

func shifted(since time.Time, services ...string) (list []rollout.ShiftedTraffic) {
	for _, name := range services {
		list = append(list, rollout.ShiftedTraffic{Service: name, Previous: groupARN(name + "-tg"), New: groupARN(name + "-t2"), Percent: 5, Since: since})
	}
	return list
}

func repeated(figures traffic.Figures, minutes ...int) []traffic.Figures {
	list := make([]traffic.Figures, 10)
	for _, n := range minutes {
		list[n] = figures
	}
	return list
}

func TestMonitor(t *testing.T) {
	good, bad := traffic.Figures{Requests: 100, P90: 50 * time.Millisecond}, traffic.Figures{Requests: 100, Errors: 50, P90: 50 * time.Millisecond}
	slow := traffic.Figures{Requests: 100, P90: time.Second}
	denied := &smithy.GenericAPIError{Code: "AccessDenied", Message: "User: x is not authorized to perform: cloudwatch:GetMetricData"}
	for name, tt := range map[string]struct {
		current, previous []traffic.Figures
		change            func(*fakeMetrics)
		err               string
		event             string
		report            string
		calls             int // of three checks
	}{
		"as good":                          {current: repeated(good, 1, 2, 3), previous: repeated(good, 1, 2, 3), report: "load balancer's figures of the new version: 0 of 300 requests (0.0 %) with 5xx, 90 % within 50ms; of the previous one: 0 of 300 requests (0.0 %) with 5xx, 90 % within 50ms"},
		"errors":                           {current: repeated(bad, 1, 2, 3), previous: repeated(good, 1, 2, 3), err: "web: by the load balancer's figures, the new version answered 150 of 300 requests (50.0 %) with 5xx"},
		"slow":                             {current: repeated(slow, 1, 2, 3), previous: repeated(good, 1, 2, 3), err: "web: by the load balancer's figures, the new version answers 90 % of requests within 1s"},
		"before the first share":           {current: repeated(bad, 0), previous: repeated(good, 0, 1, 2), report: "load balancer's figures of the new version: no requests; of the previous one: 0 of 200 requests (0.0 %) with 5xx, 90 % within 50ms; fewer than 50 requests, so it was not judged by them"},
		"the last minute":                  {current: repeated(bad, 5), previous: repeated(good, 5), report: "fewer than 50 requests"},
		"the last one with traffic is old": {current: repeated(bad, 1), previous: repeated(good, 1), err: "100 requests (50.0 %)"},
		"mean of the minutes":              {current: []traffic.Figures{1: {Requests: 100, P90: 50 * time.Millisecond}, 2: {Requests: 300, P90: 450 * time.Millisecond}, 3: {}, 4: {}}, report: "0 of 400 requests (0.0 %) with 5xx, 90 % within 350ms"},
		"denied":                           {change: func(f *fakeMetrics) { f.err = denied }, event: "not checked: the load balancer's figures of both versions: ", calls: 1},
		"unreachable":                      {change: func(f *fakeMetrics) { f.err = errors.New("dial tcp: no such host") }, event: "not checked: the load balancer's figures of both versions: dial tcp: no such host", calls: 3},
		"too slow":                         {change: func(f *fakeMetrics) { f.hang = true }, event: "not checked: the load balancer's figures of both versions: CloudWatch and Elastic Load Balancing did not answer in time", calls: 3},
		"incomplete":                       {change: func(f *fakeMetrics) { f.status = types.StatusCodeInternalError }, event: "cloudwatch:GetMetricData has the status InternalError for a metric", calls: 3},
		"no load balancer":                 {change: func(f *fakeMetrics) { f.unattached = true }, event: "no load balancer forwards to target group " + groupARN("web-tg")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now() // whole minute
				f := &fakeMetrics{start: start, minutes: map[string][]traffic.Figures{"web-t2": tt.current, "web-tg": tt.previous}}
				if tt.change != nil {
					tt.change(f)
				}
				var events []string
				m := &traffic.Monitor{CloudWatch: f, ELB: f, Clock: clock.Real{}, Event: func(service, text string) { events = append(events, strings.TrimSpace(service+" "+text)) }}
				traffic := shifted(start.Add(20*time.Second), "web") // minutes 1 to 4 are whole ones
				time.Sleep(5*time.Minute + 30*time.Second)
				for range 3 {
					err := m.Check(t.Context(), traffic)
					if tt.err == "" {
						require.NoError(t, err)
					} else {
						require.ErrorContains(t, err, tt.err)
					}
				}
				if tt.event != "" {
					require.Len(t, events, 1, "it is reported once")
					require.Contains(t, events[0], tt.event)
				} else {
					require.Empty(t, events)
					require.Equal(t, 1, f.groupCalls)
				}
				if tt.calls != 0 {
					require.Equal(t, tt.calls, f.calls)
				}
				m.Report([]string{"web", "other"})
				if tt.report != "" {
					require.Len(t, events, 1)
					require.Contains(t, events[0], tt.report)
				}
			})
		})
	}
}

// TestMonitorOfManyServices: 500 metrics a call, and each service that is worse is named.
// fakeRules has the weights of the target groups a-tg and a-t2 in a rule.
type fakeRules struct {
	*fakeMetrics
	weights []int32
	err     error
}

func (f fakeRules) DescribeRules(context.Context, *elb.DescribeRulesInput, ...func(*elb.Options)) (*elb.DescribeRulesOutput, error) {
	var groups []elbtypes.TargetGroupTuple
	for n, weight := range f.weights {
		groups = append(groups, elbtypes.TargetGroupTuple{TargetGroupArn: aws.String(groupARN([]string{"a-tg", "a-t2"}[n])), Weight: &weight})
	}
	return &elb.DescribeRulesOutput{Rules: []elbtypes.Rule{{RuleArn: aws.String("rule"), Actions: []elbtypes.Action{{ForwardConfig: &elbtypes.ForwardActionConfig{TargetGroups: groups}}}}}}, f.err
}

// TestWeightsWhileBaking checks that the new version keeps all traffic: ECS does not.
func TestWeightsWhileBaking(t *testing.T) {
	for name, tt := range map[string]struct {
		weights []int32
		baking  bool
		err     error
		want    string
	}{
		"all to the new version":  {weights: []int32{0, 100}, baking: true},
		"changed by hand":         {weights: []int32{100, 0}, baking: true, want: "a: somebody changed the weights of production rule rule: not all of its traffic goes to target group a-t2, where the new version runs"},
		"divided":                 {weights: []int32{1, 99}, baking: true, want: "somebody changed the weights"},
		"while they are shifted":  {weights: []int32{95, 5}},
		"they cannot be read":     {weights: []int32{100, 0}, baking: true, err: &smithy.GenericAPIError{Code: "AccessDenied"}},
		"the rule has no targets": {baking: true, want: "somebody changed the weights"},
	} {
		t.Run(name, func(t *testing.T) {
			m := traffic.Monitor{CloudWatch: &fakeMetrics{}, ELB: fakeRules{&fakeMetrics{}, tt.weights, tt.err}, Clock: clock.Real{}, Event: func(string, string) {}}
			shifted := []rollout.ShiftedTraffic{{Service: "a", Previous: groupARN("a-tg"), New: groupARN("a-t2"), Rule: "rule", Percent: 100, Baking: tt.baking, Since: time.Now().Add(time.Hour)}}
			err := m.Check(t.Context(), shifted)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestMonitorOfManyServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeMetrics{start: time.Now(), minutes: map[string][]traffic.Figures{}}
		var services []string
		for n := range 100 {
			name := fmt.Sprintf("s%03d", n)
			services = append(services, name)
			f.minutes[name+"-tg"], f.minutes[name+"-t2"] = repeated(traffic.Figures{Requests: 100}, 1, 2), repeated(traffic.Figures{Requests: 100, Errors: n / 98 * 10}, 1, 2)
		}
		m := &traffic.Monitor{CloudWatch: f, ELB: f, Clock: clock.Real{}, Event: func(_, text string) { t.Error(text) }}
		list := shifted(f.start, services...)
		require.NoError(t, m.Check(t.Context(), list), "the first share is just now")
		require.Zero(t, f.calls)
		time.Sleep(5 * time.Minute)
		err := m.Check(t.Context(), list)
		require.Len(t, strings.Split(err.Error(), "\n"), 2)
		require.ErrorContains(t, err, "s098: by the load balancer's figures, the new version answered 20 of 200 requests (10.0 %)")
		require.ErrorContains(t, err, "s099: ")
		require.Equal(t, 17*6, f.queries, "of the second call")

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		f.err = ctx.Err()
		require.NoError(t, m.Check(ctx, list), "the release ends, and reports why")
	})
}

// TestMonitorOfLoadBalancer compares two programs behind the embedded load balancer, as a
// release does, with minutes of 200 ms.
func TestMonitorOfLoadBalancer(t *testing.T) {
	const scale = 300
	f := newFixtureOf(t, localaws.Options{TimeScale: scale})
	s, shift := f.service("web")
	var failing atomic.Bool
	for group, bad := range map[string]bool{shift.TargetGroup: false, shift.AlternateTargetGroup: true} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if bad && failing.Load() && r.URL.Path != "/" {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}))
		t.Cleanup(server.Close)
		host, port, err := net.SplitHostPort(server.Listener.Addr().String())
		require.NoError(t, err)
		number, err := strconv.ParseInt(port, 10, 32)
		require.NoError(t, err)
		target := []elbtypes.TargetDescription{{Id: &host, Port: aws.Int32(int32(number))}}
		_, err = f.ELB.RegisterTargets(t.Context(), &elb.RegisterTargetsInput{TargetGroupArn: &group, Targets: target})
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			out, err := f.ELB.DescribeTargetHealth(t.Context(), &elb.DescribeTargetHealthInput{TargetGroupArn: &group, Targets: target})
			return err == nil && out.TargetHealthDescriptions[0].TargetHealth.State == elbtypes.TargetHealthStateEnumHealthy
		}, 15*time.Second, 5*time.Millisecond)
	}
	action := forward(shift.TargetGroup, shift.AlternateTargetGroup)
	for n := range action.ForwardConfig.TargetGroups {
		action.ForwardConfig.TargetGroups[n].Weight = aws.Int32(1)
	}
	_, err := f.ELB.ModifyRule(t.Context(), &elb.ModifyRuleInput{RuleArn: &shift.ProductionRule, Actions: []elbtypes.Action{action}})
	require.NoError(t, err)

	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	m := &traffic.Monitor{
		CloudWatch: cloudwatch.New(cloudwatch.Options{
			Region: "us-east-1", BaseEndpoint: aws.String(f.Server.Endpoint()), HTTPClient: &http.Client{Transport: transport},
			Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""),
		}),
		ELB: f.ELB, Clock: clock.NewScaled(scale), Event: func(_, text string) { t.Log(text) },
	}
	shifting := []rollout.ShiftedTraffic{{Service: s.Name, Previous: shift.TargetGroup, New: shift.AlternateTargetGroup, Percent: 50, Since: m.Clock.Now()}}
	url := "http://" + f.Server.ListenerAddress("ecs-alb", 80) + "/1/"
	check := func(minutes int) error {
		for until := time.Now().Add(m.Clock.(*clock.Scaled).Scale(time.Duration(minutes) * time.Minute)); time.Now().Before(until); {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
			require.NoError(t, err)
			resp, err := transport.RoundTrip(req)
			require.NoError(t, err)
			_ = resp.Body.Close()
		}
		return m.Check(t.Context(), shifting)
	}
	require.NoError(t, check(4))
	failing.Store(true)
	require.ErrorContains(t, check(3), "web: by the load balancer's figures, the new version answered ")
	f.Server.Inject(localaws.Fault{Kind: localaws.AccessDenied, Action: "GetMetricData"})
	require.NoError(t, m.Check(t.Context(), shifting))
}
