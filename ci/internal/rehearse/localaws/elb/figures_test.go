package elb_test

import (
	"context"
	"net/http"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/stretchr/testify/require"
)

// TestCanaryShare checks that a target group with 5 % gets its share of 2,000 concurrent
// requests, that each listener's requests are counted on their own, and the figures of
// both target groups.
func TestCanaryShare(t *testing.T) {
	f := start(t)
	blue, green := newBackend(t, "blue"), newBackend(t, "green")
	groups := []string{f.NewTargetGroup("blue", "/health"), f.NewTargetGroup("green", "/health")}
	f.register(groups[0], blue)
	f.register(groups[1], green)
	f.listen(80, []types.Action{{Type: types.ActionTypeEnumForward, ForwardConfig: &types.ForwardActionConfig{TargetGroups: []types.TargetGroupTuple{
		{TargetGroupArn: &groups[0], Weight: aws.Int32(95)}, {TargetGroupArn: &groups[1], Weight: aws.Int32(5)},
	}}}})
	f.listen(10080, forward(groups[1]))
	f.waitForState(groups[0], blue, types.TargetHealthStateEnumHealthy)
	f.waitForState(groups[1], green, types.TargetHealthStateEnumHealthy)

	transport := &http.Transport{MaxIdleConnsPerHost: 8}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	send := func(url string, count int) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range count / 8 {
					req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
					resp, err := client.Do(req)
					if err == nil {
						_ = resp.Body.Close()
					}
				}
			})
		}
		wg.Wait()
	}
	send(f.URL+"/", 2000)
	require.Equal(t, int32(100), green.requests.Load(), "5 %% of 2,000")
	require.Equal(t, int32(1900), blue.requests.Load())
	send("http://"+f.Server.ListenerAddress("lb", 10080)+"/", 16)
	require.Equal(t, map[string]int64{groups[0]: 1900, groups[1]: 100}, f.Server.ListenerRequests("lb", 80))
	require.Equal(t, map[string]int64{groups[1]: 16}, f.Server.ListenerRequests("lb", 10080))

	send("http://"+f.Server.ListenerAddress("lb", 10080)+"/cut", 8)
	requests, failed, cut, latencies := 0, 0, 0, 0
	for _, m := range f.Server.TargetGroupFigures(groups[1]) {
		requests, failed, cut, latencies = requests+m.Requests, failed+m.Errors5xx, cut+m.ConnectionErrors, latencies+len(m.Latencies)
	}
	require.Equal(t, []int{124, 0, 8, 116}, []int{requests, failed, cut, latencies})
	require.Empty(t, f.Server.TargetGroupFigures("arn:nowhere"))
}

// TestFiguresOfErrors checks that a target's own errors are counted, and the load
// balancer's are not; and that a target group without targets keeps its share.
func TestFiguresOfErrors(t *testing.T) {
	f := start(t)
	bad := newBackend(t, "bad")
	group, empty := f.NewTargetGroup("bad", "/health"), f.NewTargetGroup("empty", "/health")
	f.register(group, bad)
	listener := f.listen(80, forward(group, empty))
	f.waitForState(group, bad, types.TargetHealthStateEnumHealthy)
	unavailable := 0
	for range 10 {
		if status, _ := f.Get("/broken"); status == http.StatusServiceUnavailable {
			unavailable++
		}
	}
	require.Equal(t, 5, unavailable, "an ALB does not fail over to another target group")
	figures := f.Server.TargetGroupFigures(group)
	require.NotEmpty(t, figures)
	requests, failed := 0, 0
	for _, m := range figures {
		requests, failed = requests+m.Requests, failed+m.Errors5xx
	}
	require.Equal(t, []int{5, 5}, []int{requests, failed})
	require.Empty(t, f.Server.TargetGroupFigures(empty))

	// New weights hold from the next request: no credit of the old ones is left.
	for range 3 {
		f.Get("/")
	}
	_, err := f.ELB.ModifyListener(t.Context(), &elbv2.ModifyListenerInput{ListenerArn: &listener, DefaultActions: forward(group)})
	require.NoError(t, err)
	status, _ := f.Get("/")
	require.Equal(t, http.StatusOK, status)
}
