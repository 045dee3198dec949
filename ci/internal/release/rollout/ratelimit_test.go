package rollout_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// changedServices is an ECS that describes services with changes.
type changedServices struct {
	*fakeECS
	as func(*types.Service)
}

func (c changedServices) DescribeServices(ctx context.Context, in *ecs.DescribeServicesInput, options ...func(*ecs.Options)) (*ecs.DescribeServicesOutput, error) {
	out, err := c.fakeECS.DescribeServices(ctx, in, options...)
	for i := range out.Services {
		c.as(&out.Services[i])
	}
	return out, err
}

// TestReadsStayWithinQuota counts the reads of releases of many services in every
// second: after the burst, they are at most a quarter of ECS's quota.
func TestReadsStayWithinQuota(t *testing.T) {
	buckets := map[string]struct{ burst, rate float64 }{
		"DescribeServices":           {25, 5},
		"DescribeServiceDeployments": {12.5, 5},
		"ListServiceDeployments":     {12.5, 5},
	}
	for _, count := range []int{1, 10, 50, 200} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			clock := &fakeClock{now: time.Unix(1e9, 0)}
			api := newFakeECS(clock)
			request := rollout.Request{Version: newSHA, Timeout: 3 * time.Minute}
			for n := range count {
				name := fmt.Sprintf("s%d", n)
				api.addService(name, oldImage)
				request.Targets = append(request.Targets, rollout.Target{Service: platform.Service{Name: name}, Image: string(stays) + "@sha256:new"})
			}
			_ = clock.Sleep(t.Context(), time.Hour)
			engine := rollout.Engine{ECS: api, Logs: fakeLogs{}, Clock: clock, Event: func(string, string) {}}
			got := engine.Release(t.Context(), request)
			require.Equal(t, outcome.Restored, got.ExitCode, got.Error)
			// Services are diagnosed concurrently: count them together.
			took := api.times[len(api.times)-1].Sub(api.times[0]).Seconds()
			require.LessOrEqual(t, float64(api.count("ListTasks")+api.count("DescribeTasks")), 25+5*took)
			for operation, b := range buckets {
				tokens, filled := b.burst, api.times[0]
				for n, call := range api.calls {
					if len(call) < len(operation) || call[:len(operation)] != operation {
						continue
					}
					tokens = min(b.burst, tokens+api.times[n].Sub(filled).Seconds()*b.rate) - 1
					filled = api.times[n]
					require.GreaterOrEqual(t, tokens, -4., "%s, call %d: no more than the concurrent ones", operation, n)
				}
			}
		})
	}
}

// TestDeploymentEndIsDetectedQuickly checks that the end of a deployment is detected
// within a poll interval.
func TestDeploymentEndIsDetectedQuickly(t *testing.T) {
	for name, f := range map[string]behavior{"complete": completes, "rolled back": rollsBack} {
		t.Run(name, func(t *testing.T) {
			b := newFixture(f, "")
			began := b.ecs.clock.Now()
			got := b.engine.Release(t.Context(), b.request)
			require.NotEqual(t, outcome.Failed, got.ExitCode)
			require.LessOrEqual(t, time.Duration(got.Services[0].DurationMS)*time.Millisecond, 2*deploymentTime+time.Second)
			require.LessOrEqual(t, b.ecs.clock.Now().Sub(began), 2*deploymentTime+2*time.Second)
		})
	}
}

// TestPollingBacksOff counts the reads during a deployment without changes.
func TestPollingBacksOff(t *testing.T) {
	b := newFixture(stays, "")
	b.request.Timeout = 10 * time.Minute
	b.engine.Release(t.Context(), b.request)
	reads := b.ecs.count("DescribeServices")
	require.Less(t, reads, 180, "from one second to five")
	require.Greater(t, reads, 100)
}

func stoppedWith(reason string, code types.TaskStopCode) types.Task {
	return types.Task{TaskArn: aws.String("arn:aws:ecs:us-east-1:1:task/ecs-cluster/t1"), StoppedReason: &reason, StopCode: code}
}

func TestSignals(t *testing.T) {
	b := newFixture("", rollsBack)
	task := stoppedWith("Essential container in task exited", types.TaskStopCodeEssentialContainerExited)
	task.StartedBy = aws.String("ecs-svc/3")
	task.Containers = []types.Container{{Name: aws.String("b"), ExitCode: aws.Int32(137)}}
	b.ecs.stopped = []types.Task{task}
	got := b.engine.Release(t.Context(), b.request)
	cause := got.Services[1].Causes[0]
	require.Equal(t, "SIGKILL", cause.Signal)
	require.Contains(t, cause.Headline(), "(exit code 137, SIGKILL)")
	require.Contains(t, cause.Hint, "the container was killed")
}

// TestUpdatesStayWithinQuota updates and restores more services than ECS allows at
// once: the others wait, and no update is throttled.
func TestUpdatesStayWithinQuota(t *testing.T) {
	for name, tt := range map[string]struct {
		image behavior
		code  outcome.Code
	}{"update": {completes, outcome.Done}, "restore": {fails, outcome.Restored}} {
		t.Run(name, func(t *testing.T) {
			clock := &fakeClock{now: time.Unix(1e9, 0)}
			api := newFakeECS(clock)
			request := rollout.Request{Version: newSHA}
			for n := range 200 {
				name := fmt.Sprintf("s%d", n)
				api.addService(name, oldImage)
				image := completes
				if n == 199 {
					image = tt.image
				}
				request.Targets = append(request.Targets, rollout.Target{Service: platform.Service{Name: name}, Image: string(image) + "@sha256:new"})
			}
			_ = clock.Sleep(t.Context(), time.Hour)
			tokens, fewest, filled := 50., 50., clock.Now()
			api.failCall = func(operation, _ string) error {
				if operation != "UpdateService" {
					return nil
				}
				tokens, filled = min(50, tokens+clock.Now().Sub(filled).Seconds()*5), clock.Now()
				tokens--
				fewest = min(fewest, tokens)
				return nil
			}
			engine := rollout.Engine{ECS: api, Logs: fakeLogs{}, Clock: clock, Event: func(string, string) {}}
			got := engine.Release(t.Context(), request)
			require.Equal(t, tt.code, got.ExitCode, got.Error)
			require.GreaterOrEqual(t, fewest, 0.)
		})
	}
}
