package ecs_test

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/task"
)

// load sends requests until it is stopped and counts the responses.
func load(p *localawstest.Platform) (stop func() (good, bad int64)) {
	var good, bad atomic.Int64
	ctx, cancel := context.WithCancel(p.Context())
	var wg sync.WaitGroup
	transport := &http.Transport{}
	client := &http.Client{Transport: transport}
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/", nil)
				resp, err := client.Do(req)
				switch {
				case ctx.Err() != nil:
				case err != nil:
					bad.Add(1)
				default:
					_, _ = io.Copy(io.Discard, resp.Body)
					if resp.StatusCode == http.StatusOK {
						good.Add(1)
					} else {
						bad.Add(1)
					}
				}
				if err == nil {
					_ = resp.Body.Close()
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	return func() (int64, int64) {
		cancel()
		wg.Wait()
		transport.CloseIdleConnections()
		return good.Load(), bad.Load()
	}
}

// taskModes returns the task modes that this machine supports.
func taskModes(t *testing.T) []task.Mode {
	t.Helper()
	p := localawstest.Start(t, localaws.Options{})
	if p.Server.TaskMode() == task.ModeNamespace {
		return []task.Mode{task.ModePort, task.ModeNamespace}
	}
	t.Log("only ModePort is tested: namespaces need root with CAP_SYS_ADMIN on Linux")
	return []task.Mode{task.ModePort}
}

func TestRollingUpdateLosesNoRequest(t *testing.T) {
	for _, mode := range taskModes(t) {
		t.Run(string(mode), func(t *testing.T) { rollingUpdate(t, mode) })
	}
}

func rollingUpdate(t *testing.T, mode task.Mode) {
	p := localawstest.New(t, binary, localaws.Options{Tasks: mode})
	p.CreateService(p.RegisterTaskDefinition(p.PushImage("one")))
	s := p.WaitStable()
	require.Equal(t, "one", p.Version())
	require.Equal(t, int32(2), s.RunningCount)

	stop := load(p)
	began := time.Now()
	id := p.UpdateService(p.RegisterTaskDefinition(p.PushImage("two")))
	two := p.Eventually(func(s ecstypes.Service) bool { return len(s.Deployments) == 2 })
	require.Equal(t, "PRIMARY", *two.Deployments[0].Status)
	require.Equal(t, id, *two.Deployments[0].Id)
	require.Equal(t, "ACTIVE", *two.Deployments[1].Status)
	s = p.WaitStable()
	took := time.Since(began)
	good, bad := stop()
	t.Logf("rolled in %s, %d requests served, %d failed", took, good, bad)
	require.Zero(t, bad)
	require.Positive(t, good)
	require.Equal(t, "two", p.Version())
	require.Equal(t, id, *s.Deployments[0].Id)
	require.Equal(t, int32(0), s.Deployments[0].FailedTasks)
	served, failed := p.Server.Traffic("alb")
	require.Zero(t, failed)
	require.GreaterOrEqual(t, served, good)
	for _, m := range localawstest.EventMessages(s) {
		t.Log(m)
	}
}

func TestCircuitBreakerRollsBack(t *testing.T) {
	p := localawstest.New(t, binary, localaws.Options{Tasks: task.ModePort})
	good := p.RegisterTaskDefinition(p.PushImage("one"))
	p.CreateService(good)
	before := p.WaitStable()
	began := time.Now()
	id := p.UpdateService(p.RegisterTaskDefinition(p.PushImage("bad", "exit", "7")))
	p.Eventually(func(s ecstypes.Service) bool { return *s.Deployments[0].Id != id })
	t.Logf("circuit breaker tripped after %s", time.Since(began))
	s := p.WaitStable()
	require.Equal(t, good, *s.TaskDefinition)
	require.NotEqual(t, *before.Deployments[0].Id, *s.Deployments[0].Id)
	require.Equal(t, "one", p.Version())
	require.Contains(t, localawstest.EventMessages(s), "(service app) (deployment "+id+") deployment failed: tasks failed to start.")

	stopped := p.DescribeTasks(ecstypes.DesiredStatusStopped)
	require.NotEmpty(t, stopped)
	failed := 0
	for _, task := range stopped {
		if task.StopCode != ecstypes.TaskStopCodeEssentialContainerExited {
			continue
		}
		failed++
		require.Equal(t, "Essential container in task exited", *task.StoppedReason)
		require.Equal(t, id, *task.StartedBy)
		require.Equal(t, int32(7), *task.Containers[0].ExitCode)
		out, err := p.Logs.GetLogEvents(t.Context(), &cloudwatchlogs.GetLogEventsInput{
			LogGroupName: aws.String(localawstest.LogGroup), LogStreamName: aws.String("ecs/app/" + localawstest.TaskID(task)),
		})
		require.NoError(t, err)
		require.Len(t, out.Events, 2)
		require.Equal(t, "panic: the database is on fire", *out.Events[1].Message)
	}
	require.GreaterOrEqual(t, failed, 3)

	list, err := p.ECS.ListServiceDeployments(t.Context(), &ecs.ListServiceDeploymentsInput{Cluster: aws.String("test"), Service: aws.String("app")})
	require.NoError(t, err)
	require.Len(t, list.ServiceDeployments, 2)
	require.Equal(t, ecstypes.ServiceDeploymentStatusRollbackSuccessful, list.ServiceDeployments[0].Status)
	require.Equal(t, "Service deployment rolled back because the circuit breaker threshold was exceeded.", *list.ServiceDeployments[0].StatusReason)
	for _, m := range localawstest.EventMessages(s) {
		t.Log(m)
	}
}
