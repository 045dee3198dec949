package localaws_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/task"
)

func TestBusyPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, err = localaws.Start(t.Context(), localaws.Options{Listen: l.Addr().String()})
	require.EqualError(t, err, "embedded AWS: listening on "+l.Addr().String()+": bind: address already in use: choose another address with --listen, or port 0 for a free port")
	_, err = localaws.Start(t.Context(), localaws.Options{Listen: "nonsense"})
	require.ErrorContains(t, err, "embedded AWS: listening on nonsense:")
}

func TestInvalidDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := localaws.Start(t.Context(), localaws.Options{Dir: filepath.Join(file, "sub")})
	require.ErrorContains(t, err, "embedded AWS: creating its directory: mkdir "+file)
}

func TestCloseRemovesEverything(t *testing.T) {
	dir := t.TempDir()
	p := localawstest.New(t, binary, localaws.Options{Dir: dir})
	p.CreateService(p.RegisterTaskDefinition(p.PushImage("one", "stubborn")))
	p.WaitStable()
	began := time.Now()
	require.NoError(t, p.Server.Close())
	require.Less(t, time.Since(began), 20*time.Second, "tasks that ignore SIGTERM are killed, before their stop timeout of 30 s")
	require.NoError(t, p.Server.Close(), "a second time changes nothing")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
	for _, url := range []string{p.Server.Endpoint(), p.URL} {
		_, err := http.Get(url)
		require.Error(t, err)
	}
}

func TestContextStopsServer(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	s, err := localaws.Start(ctx, localaws.Options{Dir: dir})
	require.NoError(t, err)
	cancel()
	require.Eventually(t, func() bool {
		left, err := os.ReadDir(dir)
		return err == nil && len(left) == 0
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, s.Close())
}

// One port that leads to the embedded AWS is enough: the load balancers answer there for
// their own addresses.
func TestBalancersAnswerAtTheEndpoint(t *testing.T) {
	p := localawstest.New(t, binary, localaws.Options{})
	ask := func(host string) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.Server.Endpoint()+"/v2/", nil)
		require.NoError(t, err)
		request.Host = host
		answer, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		return answer.StatusCode
	}
	require.Equal(t, http.StatusServiceUnavailable, ask(strings.TrimPrefix(p.URL, "http://")), "a target group without targets")
	balancers, err := p.ELB.DescribeLoadBalancers(t.Context(), &elbv2.DescribeLoadBalancersInput{})
	require.NoError(t, err)
	_, err = p.ELB.CreateListener(t.Context(), &elbv2.CreateListenerInput{
		LoadBalancerArn: balancers.LoadBalancers[0].LoadBalancerArn, Port: aws.Int32(10080), Protocol: elbtypes.ProtocolEnumHttp,
		DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumFixedResponse, FixedResponseConfig: &elbtypes.FixedResponseActionConfig{StatusCode: aws.String("410")}}},
	})
	require.NoError(t, err)
	require.Equal(t, http.StatusGone, ask("127.0.0.1:10080"), "another listener, whose port only the header has")
	require.Equal(t, http.StatusUnauthorized, ask(p.Server.Registry()))
	require.Equal(t, http.StatusUnauthorized, ask("aws:4566"), "as containers call it")
}

func TestNamespacesNeedPrivilege(t *testing.T) {
	s, err := localaws.Start(t.Context(), localaws.Options{Tasks: task.ModeNamespace})
	if err != nil {
		require.ErrorIs(t, err, task.ErrNamespacesUnavailable)
		return
	}
	require.Equal(t, task.ModeNamespace, s.TaskMode())
	require.NoError(t, s.Close())
}

func TestCallsAreRecorded(t *testing.T) {
	p := localawstest.New(t, binary, localaws.Options{Region: "eu-west-1", Account: "123456789012"})
	_, err := p.ECS.UpdateService(t.Context(), &ecs.UpdateServiceInput{Cluster: aws.String("test"), Service: aws.String("none")})
	require.Error(t, err)
	calls := p.Server.Calls()
	require.Equal(t, "CreateCluster", calls[0].Action)
	last := calls[len(calls)-1]
	require.Equal(t, "ecs", last.Service)
	require.Equal(t, "UpdateService", last.Action)
	require.Equal(t, []string{"arn:aws:ecs:eu-west-1:123456789012:service/test/none"}, last.Resources)
	require.Equal(t, "ServiceNotFoundException", last.Err)
	require.Equal(t, "AKIATEST", last.AccessKey)
	require.WithinDuration(t, time.Now(), last.At, time.Minute)
	for _, c := range calls {
		if c.Action != "GetAuthorizationToken" {
			require.NotEmpty(t, c.Resources, "%s.%s names no resource", c.Service, c.Action)
		}
	}
}

func TestFaults(t *testing.T) {
	tests := map[string]struct {
		fault localaws.Fault
		code  string // "" for a broken connection
	}{
		"throttle":      {localaws.Fault{Kind: localaws.Throttle}, "ThrottlingException"},
		"5xx":           {localaws.Fault{Kind: localaws.ServerError, Service: "ecs"}, "InternalFailure"},
		"reset":         {localaws.Fault{Kind: localaws.Reset, Action: "ListClusters"}, ""},
		"lost":          {localaws.Fault{Kind: localaws.LostResponse, Service: "ecs", Action: "ListClusters"}, ""},
		"expired token": {localaws.Fault{Kind: localaws.ExpiredToken}, "ExpiredTokenException"},
	}
	p := localawstest.Start(t, localaws.Options{})
	once := func(o *ecs.Options) { o.RetryMaxAttempts = 1 }
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			remove := p.Server.Inject(test.fault)
			_, err := p.ECS.ListClusters(t.Context(), &ecs.ListClustersInput{}, once)
			require.Error(t, err)
			var answered smithy.APIError
			require.Equal(t, test.code != "", errors.As(err, &answered))
			if answered != nil {
				require.Equal(t, test.code, answered.ErrorCode())
			}
			remove()
			_, err = p.ECS.ListClusters(t.Context(), &ecs.ListClustersInput{}, once)
			require.NoError(t, err)
		})
	}

	p.Server.Inject(localaws.Fault{Kind: localaws.LostResponse, Service: "ecs", Action: "CreateCluster", Times: 1})
	_, err := p.ECS.CreateCluster(t.Context(), &ecs.CreateClusterInput{ClusterName: aws.String("c")}, once)
	require.Error(t, err, "the answer is lost")
	list, err := p.ECS.ListClusters(t.Context(), &ecs.ListClustersInput{})
	require.NoError(t, err)
	require.Len(t, list.ClusterArns, 1, "but not the effect")
	_, err = p.ECS.CreateCluster(t.Context(), &ecs.CreateClusterInput{ClusterName: aws.String("d")}, once)
	require.NoError(t, err, "once only")

	defer p.Server.Inject(localaws.Fault{Kind: localaws.Slow, Service: "sts", Delay: 50 * time.Millisecond})()
	began := time.Now()
	_, err = p.STS.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(began), 50*time.Millisecond)

	defer p.Server.Inject(localaws.Fault{Kind: localaws.Throttle, Service: "ecs", Rate: 0.3})()
	failed := 0
	for range 300 {
		if _, err := p.ECS.ListClusters(t.Context(), &ecs.ListClustersInput{}, once); err != nil {
			failed++
		}
	}
	require.InDelta(t, 90, failed, 60)
}

func TestStaleReads(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	list := func() int {
		out, err := p.ECS.ListClusters(t.Context(), &ecs.ListClustersInput{})
		require.NoError(t, err)
		return len(out.ClusterArns)
	}
	create := func(name string) {
		_, err := p.ECS.CreateCluster(t.Context(), &ecs.CreateClusterInput{ClusterName: &name})
		require.NoError(t, err)
	}
	create("a")
	remove := p.Server.Inject(localaws.Fault{Kind: localaws.StaleRead, Service: "ecs", Delay: 300 * time.Millisecond})
	require.Equal(t, 1, list())
	create("b")
	require.Equal(t, 1, list(), "the new cluster is not seen yet")
	require.Eventually(t, func() bool { return list() == 2 }, time.Minute, 10*time.Millisecond, "but some time later")
	remove()
	create("c")
	require.Equal(t, 3, list())

	defer p.Server.Inject(localaws.Fault{Kind: localaws.StaleRead, Service: "ecs", Action: "ListClusters", Rate: 0.5, Delay: time.Hour})()
	seen := map[int]int{}
	for range 100 {
		seen[list()]++
	}
	require.Len(t, seen, 2, "old and new answers take turns: %v", seen)
	require.Positive(t, seen[1], "the oldest that is remembered")
	require.Positive(t, seen[3], "the truth")
}

func TestThrottling(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{Throttle: true})
	once := func(o *ecs.Options) { o.RetryMaxAttempts = 1 }
	describe := func() error {
		_, err := p.ECS.DescribeServices(t.Context(), &ecs.DescribeServicesInput{Services: []string{"x"}}, once)
		return err
	}
	var err error
	n := 0
	for began := time.Now(); n < 1000 && time.Since(began) < 20*time.Second; n++ {
		if err = describe(); err != nil && smithyCode(err) == "ThrottlingException" {
			break
		}
	}
	require.Equal(t, "ThrottlingException", smithyCode(err))
	require.GreaterOrEqual(t, n, 100, "the burst")
	require.Eventually(t, func() bool { return smithyCode(describe()) != "ThrottlingException" }, time.Minute, 20*time.Millisecond, "the bucket fills again")
	_, err = p.ECS.ListClusters(t.Context(), &ecs.ListClustersInput{}, once)
	require.NoError(t, err, "other actions have their own")
}

func smithyCode(err error) string {
	if answered, ok := errors.AsType[smithy.APIError](err); ok {
		return answered.ErrorCode()
	}
	return fmt.Sprint(err)
}
