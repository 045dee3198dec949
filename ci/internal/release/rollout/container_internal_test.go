package rollout

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// TestFailedContainer names the container that ended a task of three: the essential "app"
// and "proxy", and "init", which "app" waits for.
func TestFailedContainer(t *testing.T) {
	container := func(name string, code int32, reason string) types.Container {
		c := types.Container{Name: &name}
		if code >= 0 {
			c.ExitCode = &code
		}
		if reason != "" {
			c.Reason = &reason
		}
		return c
	}
	unhealthy := func(c types.Container) types.Container {
		c.HealthStatus = types.HealthStatusUnhealthy
		return c
	}
	const (
		never     = -1 // not started, or still running
		exited    = types.TaskStopCodeEssentialContainerExited
		noStart   = types.TaskStopCodeTaskFailedToStart
		byService = types.TaskStopCodeServiceSchedulerInitiated
	)
	done := container("init", 0, "")
	tests := map[string]struct {
		code       types.TaskStopCode
		stopped    string
		containers []types.Container
		want       string
		reason     string // of the cause
	}{
		"the service's own crashes": {
			exited, "Essential container in task exited",
			[]types.Container{done, container("proxy", 143, ""), container("app", 1, "")},
			"app", "Essential container in task exited",
		},
		"both crash": {exited, "Essential container in task exited", []types.Container{done, container("proxy", 2, ""), container("app", 1, "")}, "app", ""},
		"a sidecar crashes": {
			exited, "Essential container in task exited",
			[]types.Container{done, container("proxy", 2, ""), container("app", 143, "")},
			"proxy", "Essential container in task exited (container proxy)",
		},
		"a sidecar crashes, and the own one ends well": {exited, "Essential container in task exited", []types.Container{done, container("proxy", 2, ""), container("app", 0, "")}, "proxy", ""},
		"a sidecar is killed for memory": {
			exited, "Essential container in task exited",
			[]types.Container{done, container("proxy", 137, "OutOfMemoryError: Container killed due to memory usage"), container("app", 143, "")},
			"proxy",
			"Essential container in task exited: OutOfMemoryError: Container killed due to memory usage (container proxy)",
		},
		"a sidecar ends by itself": {exited, "Essential container in task exited", []types.Container{done, container("proxy", 0, ""), container("app", 137, "")}, "proxy", ""},
		"one that is not needed crashes, and the own one ends": {
			exited, "Essential container in task exited",
			[]types.Container{container("init", 1, ""), container("proxy", 143, ""), container("app", 0, "")},
			"app", "Essential container in task exited",
		},
		"a dependency fails": {
			noStart, "Task failed to start",
			[]types.Container{container("init", 3, ""), container("proxy", 143, ""), container("app", never, "dependency graph: failed to resolve container ordering dependency")},
			"init",
			"Task failed to start (container init, on which another one depends)",
		},
		"the image of a sidecar": {
			noStart, "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref proxy:1: not found",
			[]types.Container{container("init", never, ""), container("proxy", never, ""), container("app", never, "")},
			"proxy",
			"CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref proxy:1: not found (container proxy)",
		},
		"the image of a sidecar, by reason": {noStart, "Task failed to start", []types.Container{container("proxy", never, "CannotPullContainerError: x"), container("app", never, "")}, "proxy", ""},
		"an unhealthy sidecar": {
			byService, "Task failed container health checks",
			[]types.Container{done, unhealthy(container("proxy", 137, "")), container("app", 0, "")},
			"proxy", "Task failed container health checks (container proxy)",
		},
		"an unhealthy one of its own": {byService, "Task failed container health checks", []types.Container{done, container("proxy", 1, ""), unhealthy(container("app", 143, ""))}, "app", ""},
		"an unhealthy target":         {byService, "Task failed ELB health checks in tg", []types.Container{done, container("proxy", 1, ""), container("app", 143, "")}, "app", "Task failed ELB health checks in tg"},
		"a dependency is never healthy": {
			noStart, "Task failed to start",
			[]types.Container{unhealthy(container("init", never, "")), container("proxy", 0, ""), container("app", never, "")},
			"init", "",
		},
		"nothing is known": {"", "Unknown", []types.Container{container("proxy", never, ""), container("app", never, "")}, "app", "Unknown"},
	}
	log := &types.LogConfiguration{LogDriver: types.LogDriverAwslogs}
	d := diagnosis{
		service: &serviceRollout{servicePlan: &servicePlan{target: Target{Service: platform.Service{Name: "app"}}}},
		definition: types.TaskDefinition{ContainerDefinitions: []types.ContainerDefinition{
			{Name: aws.String("init"), Image: aws.String("init:1"), Essential: aws.Bool(false), LogConfiguration: log},
			{Name: aws.String("proxy"), Image: aws.String("proxy:1"), LogConfiguration: log},
			{Name: aws.String("app"), Image: aws.String("app:1"), DependsOn: []types.ContainerDependency{{ContainerName: aws.String("init"), Condition: types.ContainerConditionSuccess}}},
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			task := types.Task{StopCode: tt.code, StoppedReason: &tt.stopped, Containers: tt.containers}
			require.Equal(t, tt.want, *d.containers().failed(task).Name)
			cause, ok := d.stoppedCause(task)
			require.True(t, ok)
			if tt.reason != "" {
				require.Equal(t, tt.reason, cause.Reason)
			}
		})
	}
	require.Nil(t, d.containers().failed(types.Task{}))
	oneOff := d.containers()
	oneOff.OneOff = true
	for code, want := range map[int32]string{137: "app", 143: "proxy"} {
		for _, sidecar := range []int32{0, 2} { // after SIGTERM
			task := types.Task{StopCode: exited, Containers: []types.Container{container("proxy", sidecar, ""), container("app", code, "")}}
			require.Equal(t, want, *oneOff.failed(task).Name, "%d %d", code, sidecar)
			require.Equal(t, "proxy", *d.containers().failed(task).Name, "%d %d", code, sidecar)
		}
	}
	running, ok := d.runningCause(types.Task{
		LastStatus: aws.String("RUNNING"), HealthStatus: types.HealthStatusUnhealthy, Containers: []types.Container{container("app", never, ""), unhealthy(container("proxy", never, ""))},
	}, nil)
	require.True(t, ok)
	require.Equal(t, "the task runs, but its container health check fails (container proxy)", running.Reason)
}

// TestHintsForWorkers: a worker has no target, and one that ends is no service.
func TestHintsForWorkers(t *testing.T) {
	worker, zero := platform.Service{Name: "worker"}, aws.Int32(0)
	require.Contains(t, hintFor(report.Cause{StopCode: "EssentialContainerExited", Reason: "Essential container in task exited", ExitCode: zero}, worker, 0), "the program ended by itself")
	require.Contains(t, hintFor(report.Cause{Reason: "the task runs, but its container health check fails"}, worker, 0), "container health check fails")
	require.Empty(t, hintFor(report.Cause{Reason: "Task failed ELB health checks"}, worker, 0))
}

func TestDefaultHealthCheckHint(t *testing.T) {
	own := platform.Service{Port: 8000, Build: platform.Build{Kind: platform.Go}}
	checked, site := own, own
	checked.HealthCheck, site.Kind = &platform.HealthCheck{Command: []string{"CMD", "/server", "check"}}, platform.Nginx
	const general, of = "the container health check fails: run its command in the image", `the container health check "/server healthcheck" fails`
	for _, tt := range []struct {
		reason, want string
		service      platform.Service
	}{
		{"Task failed container health checks", of, own},
		{"the task runs, but its container health check fails", of, own},
		{"Task failed container health checks (container proxy)", general, own},
		{"Task failed container health checks", general, checked},
		{"Task failed container health checks", general, site},
	} {
		require.Contains(t, hintFor(report.Cause{Reason: tt.reason}, tt.service, 1), tt.want)
	}
}
