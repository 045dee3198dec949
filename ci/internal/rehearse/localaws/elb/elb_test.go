package elb_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend is a target: an HTTP server with a configurable health.
type backend struct {
	name     string
	host     string
	port     int32
	status   atomic.Int32
	delay    atomic.Int64 // of health checks
	requests atomic.Int32 // requests other than health checks
	last     atomic.Pointer[http.Request]
}

func newBackend(t *testing.T, name string) *backend {
	t.Helper()
	b := &backend{name: name}
	b.status.Store(http.StatusOK)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" {
			time.Sleep(time.Duration(b.delay.Load()))
			w.WriteHeader(int(b.status.Load()))
			return
		}
		b.requests.Add(1)
		b.last.Store(r.Clone(context.Background()))
		if d, err := time.ParseDuration(r.URL.Query().Get("for")); err == nil {
			select {
			case <-time.After(d):
			case <-r.Context().Done():
			}
		}
		if r.URL.Path == "/broken" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		if r.URL.Path == "/cut" {
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, name)
	}))
	t.Cleanup(server.Close)
	host, port, err := net.SplitHostPort(server.Listener.Addr().String())
	require.NoError(t, err)
	n, err := strconv.Atoi(port)
	require.NoError(t, err)
	b.host, b.port = host, int32(n)
	return b
}

func (b *backend) target() []types.TargetDescription {
	return []types.TargetDescription{{Id: &b.host, Port: &b.port}}
}

// fixture is an embedded AWS with a load balancer and clients of both.
type fixture struct {
	*localawstest.Platform
	lb string
}

func start(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{Platform: localawstest.Start(t, localaws.Options{TimeScale: 10})}
	out, err := f.ELB.CreateLoadBalancer(t.Context(), &elbv2.CreateLoadBalancerInput{Name: aws.String("lb"), Subnets: []string{"a", "b"}, Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}})
	require.NoError(t, err)
	f.lb, f.URL = *out.LoadBalancers[0].LoadBalancerArn, "http://"+*out.LoadBalancers[0].DNSName
	return f
}

func forward(groups ...string) []types.Action {
	action := types.Action{Type: types.ActionTypeEnumForward, ForwardConfig: &types.ForwardActionConfig{}}
	for i := range groups {
		action.ForwardConfig.TargetGroups = append(action.ForwardConfig.TargetGroups, types.TargetGroupTuple{TargetGroupArn: &groups[i]})
	}
	return []types.Action{action}
}

func (f *fixture) listen(port int32, actions []types.Action) string {
	f.Helper()
	out, err := f.ELB.CreateListener(f.Context(), &elbv2.CreateListenerInput{LoadBalancerArn: &f.lb, Port: &port, Protocol: types.ProtocolEnumHttp, DefaultActions: actions})
	f.RequireNoError(err)
	return *out.Listeners[0].ListenerArn
}

func (f *fixture) register(group string, b *backend) {
	f.Helper()
	_, err := f.ELB.RegisterTargets(f.Context(), &elbv2.RegisterTargetsInput{TargetGroupArn: &group, Targets: b.target()})
	f.RequireNoError(err)
}

func (f *fixture) deregister(group string, b *backend) {
	f.Helper()
	_, err := f.ELB.DeregisterTargets(f.Context(), &elbv2.DeregisterTargetsInput{TargetGroupArn: &group, Targets: b.target()})
	f.RequireNoError(err)
}

func (f *fixture) health(group string, b *backend) *types.TargetHealth {
	f.Helper()
	out, err := f.ELB.DescribeTargetHealth(f.Context(), &elbv2.DescribeTargetHealthInput{TargetGroupArn: &group, Targets: b.target()})
	f.RequireNoError(err)
	require.Len(f, out.TargetHealthDescriptions, 1)
	return out.TargetHealthDescriptions[0].TargetHealth
}

// waitForState waits until a target has a state.
func (f *fixture) waitForState(group string, b *backend, state types.TargetHealthStateEnum) *types.TargetHealth {
	f.Helper()
	var last *types.TargetHealth
	require.Eventually(f, func() bool {
		last = f.health(group, b)
		return last.State == state
	}, 15*time.Second, 5*time.Millisecond)
	return last
}

func TestTargetHealth(t *testing.T) {
	f := start(t)
	group := f.NewTargetGroup("g", "/health")
	b := newBackend(t, "one")
	require.Equal(t, types.TargetHealthReasonEnumNotRegistered, f.health(group, b).Reason)
	f.register(group, b)
	unused := f.waitForState(group, b, types.TargetHealthStateEnumUnused)
	require.Equal(t, types.TargetHealthReasonEnumNotInUse, unused.Reason)
	f.listen(80, forward(group))
	require.Empty(t, f.waitForState(group, b, types.TargetHealthStateEnumHealthy).Reason)

	b.status.Store(http.StatusInternalServerError)
	sick := f.waitForState(group, b, types.TargetHealthStateEnumUnhealthy)
	require.Equal(t, types.TargetHealthReasonEnumResponseCodeMismatch, sick.Reason)
	require.Equal(t, "Health checks failed with these codes: [500]", *sick.Description)
	b.status.Store(http.StatusOK)
	f.waitForState(group, b, types.TargetHealthStateEnumHealthy)

	b.delay.Store(int64(1500 * time.Millisecond))
	slow := f.waitForState(group, b, types.TargetHealthStateEnumUnhealthy)
	require.Equal(t, types.TargetHealthReasonEnumTimeout, slow.Reason)
	require.Equal(t, "Request timed out", *slow.Description)
	b.delay.Store(0)
	f.waitForState(group, b, types.TargetHealthStateEnumHealthy)

	f.deregister(group, b)
	leaving := f.health(group, b)
	require.Equal(t, types.TargetHealthStateEnumDraining, leaving.State)
	require.Equal(t, types.TargetHealthReasonEnumDeregistrationInProgress, leaving.Reason)
	require.Equal(t, "Target deregistration is in progress", *leaving.Description)
	f.register(group, b) // it may come back while it drains
	f.waitForState(group, b, types.TargetHealthStateEnumHealthy)
	f.deregister(group, b)
	f.waitForState(group, b, types.TargetHealthStateEnumUnused)

	closed := &backend{host: "127.0.0.1", port: 1}
	f.register(group, closed)
	require.Contains(t, []types.TargetHealthStateEnum{"initial", "unhealthy"}, f.health(group, closed).State)
	dead := f.waitForState(group, closed, types.TargetHealthStateEnumUnhealthy)
	require.Equal(t, types.TargetHealthReasonEnumFailedHealthChecks, dead.Reason)
	require.Equal(t, "Health checks failed", *dead.Description)
}

func TestHealthCheckSettings(t *testing.T) {
	f := start(t)
	group := f.NewTargetGroup("g", "/nowhere")
	b := newBackend(t, "one")
	f.listen(80, forward(group))
	modify := func(in elbv2.ModifyTargetGroupInput) {
		in.TargetGroupArn = &group
		_, err := f.ELB.ModifyTargetGroup(t.Context(), &in)
		require.NoError(t, err)
	}
	b.status.Store(http.StatusNoContent)
	modify(elbv2.ModifyTargetGroupInput{HealthCheckPath: aws.String("/health"), Matcher: &types.Matcher{HttpCode: aws.String("200-203,301")}})
	f.register(group, b)
	f.waitForState(group, b, types.TargetHealthStateEnumUnhealthy)
	modify(elbv2.ModifyTargetGroupInput{Matcher: &types.Matcher{HttpCode: aws.String("200-204")}})
	f.waitForState(group, b, types.TargetHealthStateEnumHealthy)
	modify(elbv2.ModifyTargetGroupInput{HealthCheckPort: aws.String("1")})
	f.waitForState(group, b, types.TargetHealthStateEnumUnhealthy)
	modify(elbv2.ModifyTargetGroupInput{HealthCheckPort: aws.String("traffic-port"), HealthCheckProtocol: types.ProtocolEnumTcp})
	f.waitForState(group, b, types.TargetHealthStateEnumHealthy)
	_, err := f.ELB.ModifyTargetGroup(t.Context(), &elbv2.ModifyTargetGroupInput{TargetGroupArn: &group, HealthCheckTimeoutSeconds: aws.Int32(30)})
	require.ErrorContains(t, err, "Health check interval must be greater than the timeout.")
}

func TestRouting(t *testing.T) {
	f := start(t)
	api, page := f.NewTargetGroup("api", "/health"), f.NewTargetGroup("page", "/health")
	one, two, web := newBackend(t, "one"), newBackend(t, "two"), newBackend(t, "web")
	listener := f.listen(80, forward(page))
	status, _ := f.Get("/")
	require.Equal(t, http.StatusServiceUnavailable, status, "a target group without targets")
	rule := func(priority int32, actions []types.Action, conditions ...types.RuleCondition) string {
		out, err := f.ELB.CreateRule(t.Context(), &elbv2.CreateRuleInput{ListenerArn: &listener, Priority: &priority, Actions: actions, Conditions: conditions})
		require.NoError(t, err)
		return *out.Rules[0].RuleArn
	}
	field := func(name string, values ...string) types.RuleCondition {
		return types.RuleCondition{Field: &name, Values: values}
	}
	rule(20, forward(api), types.RuleCondition{Field: aws.String("path-pattern"), PathPatternConfig: &types.PathPatternConditionConfig{Values: []string{"/api", "/api/*"}}})
	gone := rule(10, []types.Action{{Type: types.ActionTypeEnumFixedResponse, FixedResponseConfig: &types.FixedResponseActionConfig{
		StatusCode: aws.String("410"), ContentType: aws.String("text/plain"), MessageBody: aws.String("gone"),
	}}}, field("path-pattern", "/api/v?/old"))
	rule(30, []types.Action{{Type: types.ActionTypeEnumRedirect, RedirectConfig: &types.RedirectActionConfig{
		StatusCode: types.RedirectActionStatusCodeEnumHttp301, Path: aws.String("/new/#{path}"), Query: aws.String("from=old"),
	}}}, field("path-pattern", "/moved*"))
	rule(40, forward(api), field("host-header", "API.example.*"))
	rule(50, forward(api), types.RuleCondition{Field: aws.String("http-header"), HttpHeaderConfig: &types.HttpHeaderConditionConfig{HttpHeaderName: aws.String("X-Kind"), Values: []string{"api*"}}})
	rule(60, forward(api), types.RuleCondition{Field: aws.String("http-request-method"), HttpRequestMethodConfig: &types.HttpRequestMethodConditionConfig{Values: []string{"PATCH"}}})
	f.register(api, one)
	f.register(api, two)
	f.register(page, web)
	f.waitForState(api, one, types.TargetHealthStateEnumHealthy)
	f.waitForState(api, two, types.TargetHealthStateEnumHealthy)
	f.waitForState(page, web, types.TargetHealthStateEnumHealthy)

	answers := map[string]int{}
	for range 10 {
		_, body := f.Get("/api/x")
		answers[body]++
	}
	require.Equal(t, map[string]int{"one": 5, "two": 5}, answers, "they take turns")
	_, body := f.Get("/apix")
	require.Equal(t, "web", body)
	status, body = f.Get("/api/v1/old")
	require.Equal(t, http.StatusGone, status)
	require.Equal(t, "gone", body)

	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	send := func(method, path, host, header string) (*http.Response, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, f.URL+path, nil)
		require.NoError(t, err)
		req.Host, req.Header["X-Kind"] = host, []string{header}
		req.Header.Set("X-Forwarded-For", "198.51.100.1")
		resp, err := client.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp, string(raw)
	}
	resp, _ := send("GET", "/moved/here?a=b", "example.org:80", "")
	require.Equal(t, http.StatusMovedPermanently, resp.StatusCode)
	require.Equal(t, "http://example.org:80/new/moved/here?from=old", resp.Header.Get("Location"))
	for _, api := range []struct{ method, host, header string }{{"GET", "api.example.org", ""}, {"GET", "", "APIs"}, {"PATCH", "", ""}} {
		_, body := send(api.method, "/", api.host, api.header)
		require.Contains(t, []string{"one", "two"}, body, "%v", api)
	}
	_, body = send("GET", "/", "shop.example.org", "")
	require.Equal(t, "web", body)
	seen := web.last.Load()
	require.Equal(t, "shop.example.org", seen.Host)
	require.Equal(t, "198.51.100.1, 127.0.0.1", seen.Header.Get("X-Forwarded-For"))
	require.Equal(t, "http", seen.Header.Get("X-Forwarded-Proto"))
	require.Equal(t, "80", seen.Header.Get("X-Forwarded-Port"))
	require.Regexp(t, "^Root=1-", seen.Header.Get("X-Amzn-Trace-Id"))

	_, err := f.ELB.ModifyRule(t.Context(), &elbv2.ModifyRuleInput{RuleArn: &gone, Actions: forward(page), Conditions: []types.RuleCondition{field("path-pattern", "/api/v2/*")}})
	require.NoError(t, err)
	_, body = f.Get("/api/v2/x")
	require.Equal(t, "web", body)
	_, err = f.ELB.DeleteRule(t.Context(), &elbv2.DeleteRuleInput{RuleArn: &gone})
	require.NoError(t, err)
	rules, err := f.ELB.DescribeRules(t.Context(), &elbv2.DescribeRulesInput{ListenerArn: &listener})
	require.NoError(t, err)
	require.Len(t, rules.Rules, 6)
	require.Equal(t, "20", *rules.Rules[0].Priority)
	require.Equal(t, "default", *rules.Rules[5].Priority)
}

func urlRewrite(regex, replace string) []types.RuleTransform {
	return []types.RuleTransform{{Type: types.TransformTypeEnumUrlRewrite, UrlRewriteConfig: &types.UrlRewriteConfig{Rewrites: []types.RewriteConfig{{Regex: &regex, Replace: &replace}}}}}
}

func TestTransforms(t *testing.T) {
	f := start(t)
	group, b := f.NewTargetGroup("one", "/health"), newBackend(t, "one")
	listener := f.listen(80, forward(group))
	_, err := f.ELB.CreateRule(t.Context(), &elbv2.CreateRuleInput{
		ListenerArn: &listener, Priority: aws.Int32(7), Actions: forward(group), Conditions: []types.RuleCondition{{Field: aws.String("path-pattern"), Values: []string{"/pr7", "/pr7/*"}}},
		Transforms: append(urlRewrite("^/pr7/?(.*)$", "/$1"), types.RuleTransform{
			Type:                    types.TransformTypeEnumHostHeaderRewrite,
			HostHeaderRewriteConfig: &types.HostHeaderRewriteConfig{Rewrites: []types.RewriteConfig{{Regex: aws.String("^.*$"), Replace: aws.String("inner.example.org")}}},
		}),
	})
	require.NoError(t, err)
	f.register(group, b)
	f.waitForState(group, b, types.TargetHealthStateEnumHealthy)
	for request, want := range map[string]string{"/pr7": "/", "/pr7/": "/", "/pr7/a%20b?c=/pr7/d": "/a%20b?c=/pr7/d", "/pr7?q=1": "/?q=1", "/pr70/a": "/pr70/a"} {
		_, body := f.Get(request)
		require.Equal(t, "one", body)
		require.Equal(t, want, b.last.Load().RequestURI, request)
	}
	f.Get("/other")
	require.NotEqual(t, "inner.example.org", b.last.Load().Host)
	f.Get("/pr7")
	require.Equal(t, "inner.example.org", b.last.Load().Host)
}

func TestRoutesToHealthyTargets(t *testing.T) {
	f := start(t)
	group := f.NewTargetGroup("g", "/health")
	good, bad := newBackend(t, "good"), newBackend(t, "bad")
	bad.status.Store(http.StatusInternalServerError)
	f.listen(80, forward(group))
	f.register(group, good)
	f.register(group, bad)
	f.waitForState(group, good, types.TargetHealthStateEnumHealthy)
	f.waitForState(group, bad, types.TargetHealthStateEnumUnhealthy)
	for range 6 {
		_, body := f.Get("/")
		require.Equal(t, "good", body)
	}
	good.status.Store(http.StatusInternalServerError)
	f.waitForState(group, good, types.TargetHealthStateEnumUnhealthy)
	status, _ := f.Get("/")
	require.Equal(t, http.StatusOK, status, "it fails open")
}

func TestDrainingFinishesRequests(t *testing.T) {
	f := start(t)
	group := f.NewTargetGroup("g", "/health")
	old, young := newBackend(t, "old"), newBackend(t, "new")
	f.listen(80, forward(group))
	f.register(group, old)
	f.waitForState(group, old, types.TargetHealthStateEnumHealthy)
	_, err := f.ELB.ModifyTargetGroupAttributes(t.Context(), &elbv2.ModifyTargetGroupAttributesInput{
		TargetGroupArn: &group, Attributes: []types.TargetGroupAttribute{{Key: aws.String("deregistration_delay.timeout_seconds"), Value: aws.String("2")}},
	})
	require.NoError(t, err)
	var wg sync.WaitGroup
	statuses, bodies := [2]int{}, [2]string{}
	for i, path := range []string{"/?for=1s", "/?for=1m"} { // within the delay of 2 s, which is real time for requests in progress, and beyond
		wg.Go(func() { statuses[i], bodies[i] = f.Get(path) })
	}
	require.Eventually(t, func() bool { return old.requests.Load() == 2 }, time.Minute, time.Millisecond)
	f.register(group, young)
	f.waitForState(group, young, types.TargetHealthStateEnumHealthy)
	f.deregister(group, old)
	for range 5 {
		_, body := f.Get("/")
		require.Equal(t, "new", body, "no new request goes to a target that drains")
	}
	wg.Wait()
	require.Equal(t, [2]int{http.StatusOK, http.StatusBadGateway}, statuses)
	require.Equal(t, "old", bodies[0])
	served, failed := f.Server.Traffic("lb")
	require.Equal(t, int64(6), served)
	require.Equal(t, int64(1), failed)
}

func TestTargetErrors(t *testing.T) {
	f := start(t)
	group := f.NewTargetGroup("g", "/health")
	b := newBackend(t, "one")
	f.listen(80, forward(group))
	f.register(group, b)
	f.waitForState(group, b, types.TargetHealthStateEnumHealthy)
	status, body := f.Get("/cut")
	require.Equal(t, http.StatusBadGateway, status)
	require.Contains(t, body, "<title>502 Bad Gateway</title>")

	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.URL+"/?for=200ms", nil)
	require.NoError(t, err)
	asked := b.requests.Load()
	var wg sync.WaitGroup
	wg.Go(func() {
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
	})
	require.Eventually(t, func() bool { return b.requests.Load() > asked }, time.Minute, time.Millisecond)
	cancel()
	wg.Wait()
	_, failed := f.Server.Traffic("lb")
	require.Equal(t, int64(1), failed, "a client that goes away is no failure")
	served, failed := f.Server.Traffic("none")
	require.Zero(t, served+failed)
}

// TestWeights checks that requests are distributed by weight, exactly over as many as the
// sum of the weights, also with requests for other rules in between.
func TestWeights(t *testing.T) {
	f := start(t)
	groups := map[string]string{}
	for _, name := range []string{"blue", "green", "grey"} {
		b := newBackend(t, name)
		groups[name] = f.NewTargetGroup(name, "/health")
		f.register(groups[name], b)
	}
	weighted := func(weights map[string]int32, sticky bool) []types.Action {
		config := &types.ForwardActionConfig{TargetGroupStickinessConfig: &types.TargetGroupStickinessConfig{Enabled: &sticky, DurationSeconds: aws.Int32(60)}}
		for _, name := range []string{"blue", "green", "grey"} {
			if weight, ok := weights[name]; ok {
				config.TargetGroups = append(config.TargetGroups, types.TargetGroupTuple{TargetGroupArn: aws.String(groups[name]), Weight: &weight})
			}
		}
		return []types.Action{{Type: types.ActionTypeEnumForward, ForwardConfig: config}}
	}
	listener := f.listen(80, weighted(map[string]int32{"blue": 1}, false))
	other, err := f.ELB.CreateRule(t.Context(), &elbv2.CreateRuleInput{
		ListenerArn: &listener, Priority: aws.Int32(1), Actions: weighted(map[string]int32{"blue": 1, "green": 1}, false),
		Conditions: []types.RuleCondition{{Field: aws.String("path-pattern"), Values: []string{"/other"}}},
	})
	require.NoError(t, err)
	tests := map[string]struct {
		weights map[string]int32
		want    map[string]int
	}{
		"equal":             {map[string]int32{"blue": 1, "green": 1}, map[string]int{"blue": 50, "green": 50}},
		"equal and large":   {map[string]int32{"blue": 100, "green": 100}, map[string]int{"blue": 50, "green": 50}},
		"a tenth":           {map[string]int32{"blue": 90, "green": 10}, map[string]int{"blue": 90, "green": 10}},
		"the other's tenth": {map[string]int32{"blue": 10, "green": 90}, map[string]int{"blue": 10, "green": 90}},
		"three":             {map[string]int32{"blue": 5, "green": 3, "grey": 2}, map[string]int{"blue": 50, "green": 30, "grey": 20}},
		"all to the second": {map[string]int32{"blue": 0, "green": 1}, map[string]int{"green": 100}},
		"all to the first":  {map[string]int32{"blue": 999, "green": 0}, map[string]int{"blue": 100}},
		"nothing to any":    {map[string]int32{"blue": 0, "green": 0}, map[string]int{"": 100}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := f.ELB.ModifyListener(t.Context(), &elbv2.ModifyListenerInput{ListenerArn: &listener, DefaultActions: weighted(tt.weights, false)})
			require.NoError(t, err)
			got, between := map[string]int{}, map[string]int{}
			for range 100 {
				if status, body := f.Get("/"); status == http.StatusOK {
					got[body]++
				} else {
					got[""]++
				}
				_, body := f.Get("/other")
				between[body]++
			}
			require.Equal(t, tt.want, got)
			require.Equal(t, map[string]int{"blue": 50, "green": 50}, between)
		})
	}
	t.Run("a client stays", func(t *testing.T) {
		_, err := f.ELB.ModifyRule(t.Context(), &elbv2.ModifyRuleInput{RuleArn: other.Rules[0].RuleArn, Actions: weighted(map[string]int32{"blue": 1, "green": 1}, true)})
		require.NoError(t, err)
		first := map[string]int{}
		for range 4 {
			jar, err := cookiejar.New(nil)
			require.NoError(t, err)
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Jar: jar}
			said := map[string]int{}
			for range 10 {
				resp, err := client.Get(f.URL + "/other")
				require.NoError(t, err)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				resp.Body.Close()
				said[string(body)]++
			}
			require.Len(t, said, 1)
			for name := range said {
				first[name]++
			}
		}
		require.Equal(t, map[string]int{"blue": 2, "green": 2}, first)
		described, err := f.ELB.DescribeRules(t.Context(), &elbv2.DescribeRulesInput{RuleArns: []string{*other.Rules[0].RuleArn}})
		require.NoError(t, err)
		require.True(t, *described.Rules[0].Actions[0].ForwardConfig.TargetGroupStickinessConfig.Enabled)
	})
}

func TestListeners(t *testing.T) {
	f := start(t)
	status, _ := f.Get("/")
	require.Equal(t, http.StatusServiceUnavailable, status, "without a listener")
	text := func(s string) []types.Action {
		return []types.Action{{Type: types.ActionTypeEnumFixedResponse, FixedResponseConfig: &types.FixedResponseActionConfig{StatusCode: aws.String("200"), MessageBody: &s}}}
	}
	first := f.listen(80, text("first"))
	f.listen(8080, text("second"))
	_, body := f.Get("/")
	require.Equal(t, "first", body)
	address := f.Server.ListenerAddress("lb", 8080)
	resp, err := http.Get("http://" + address)
	require.NoError(t, err)
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, "second", string(raw))
	require.Empty(t, f.Server.ListenerAddress("lb", 9))

	_, err = f.ELB.ModifyListener(t.Context(), &elbv2.ModifyListenerInput{ListenerArn: &first, DefaultActions: text("changed")})
	require.NoError(t, err)
	_, body = f.Get("/")
	require.Equal(t, "changed", body)
	_, err = f.ELB.DeleteListener(t.Context(), &elbv2.DeleteListenerInput{ListenerArn: &first})
	require.NoError(t, err)
	status, _ = f.Get("/")
	require.Equal(t, http.StatusServiceUnavailable, status)
	f.listen(80, text("again"))
	_, body = f.Get("/")
	require.Equal(t, "again", body, "DNSName stays the same")
	list, err := f.ELB.DescribeListeners(t.Context(), &elbv2.DescribeListenersInput{LoadBalancerArn: &f.lb})
	require.NoError(t, err)
	require.Len(t, list.Listeners, 2)
	one, err := f.ELB.DescribeListeners(t.Context(), &elbv2.DescribeListenersInput{ListenerArns: []string{*list.Listeners[0].ListenerArn}})
	require.NoError(t, err)
	require.Len(t, one.Listeners, 1)
	_, err = f.ELB.DeleteLoadBalancer(t.Context(), &elbv2.DeleteLoadBalancerInput{LoadBalancerArn: &f.lb})
	require.NoError(t, err)
	_, err = http.Get("http://" + address)
	require.Error(t, err)
	http.DefaultClient.CloseIdleConnections()
}
