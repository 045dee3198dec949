package ecs_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/task"
)

// run runs a task of a task definition and waits until it has a status.
func run(p *localawstest.Platform, in *ecs.RunTaskInput, state string) ecstypes.Task {
	p.Helper()
	in.Cluster, in.NetworkConfiguration, in.LaunchType = aws.String("test"), localawstest.NetworkConfiguration, ecstypes.LaunchTypeFargate
	out, err := p.ECS.RunTask(p.Context(), in)
	p.RequireNoError(err)
	return waitForStatus(p, *out.Tasks[0].TaskArn, state)
}

// waitForStatus waits until a task has a status.
func waitForStatus(p *localawstest.Platform, arn, state string) ecstypes.Task {
	p.Helper()
	var last ecstypes.Task
	require.Eventually(p, func() bool {
		out, err := p.ECS.DescribeTasks(p.Context(), &ecs.DescribeTasksInput{Cluster: aws.String("test"), Tasks: []string{arn}})
		if err != nil || len(out.Tasks) == 0 {
			return false
		}
		last = out.Tasks[0]
		return *last.LastStatus == state
	}, time.Minute, 10*time.Millisecond)
	return last
}

// output returns the output of a task's container.
func output(p *localawstest.Platform, t ecstypes.Task, container string) []string {
	p.Helper()
	out, err := p.Logs.GetLogEvents(p.Context(), &cloudwatchlogs.GetLogEventsInput{
		LogGroupName: aws.String(localawstest.LogGroup), LogStreamName: aws.String("ecs/" + container + "/" + localawstest.TaskID(t)),
		StartFromHead: aws.Bool(true),
	})
	p.RequireNoError(err)
	var lines []string
	for _, e := range out.Events {
		lines = append(lines, *e.Message)
	}
	return lines
}

func TestRunTask(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	definition := p.RegisterTaskDefinition(p.PushImage("job", "exit", "0"))
	done := run(p, &ecs.RunTaskInput{
		TaskDefinition: &definition, StartedBy: aws.String("cron"), Tags: []ecstypes.Tag{{Key: aws.String("a"), Value: aws.String("b")}},
		Overrides: &ecstypes.TaskOverride{ContainerOverrides: []ecstypes.ContainerOverride{{
			Name: aws.String("app"), Command: []string{"exit", "9"},
			Environment: []ecstypes.KeyValuePair{{Name: aws.String("VERSION"), Value: aws.String("overridden")}},
		}}},
	}, "STOPPED")
	require.Equal(t, int32(9), *done.Containers[0].ExitCode)
	require.Equal(t, "family:app", *done.Group)
	require.Equal(t, "cron", *done.StartedBy)
	require.Equal(t, []string{"starting overridden", "panic: the database is on fire"}, output(p, done, "app"))
	require.Equal(t, "10.0.10.4", detail(done, "privateIPv4Address"))
	require.Equal(t, "10.0.10.4", *done.Containers[0].NetworkInterfaces[0].PrivateIpv4Address)

	byStarter, err := p.ECS.ListTasks(t.Context(), &ecs.ListTasksInput{Cluster: aws.String("test"), StartedBy: aws.String("cron"), DesiredStatus: ecstypes.DesiredStatusStopped})
	require.NoError(t, err)
	require.Equal(t, []string{*done.TaskArn}, byStarter.TaskArns)
	tagged, err := p.ECS.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{
		Cluster: aws.String("test"), Tasks: []string{*done.TaskArn, "nowhere"}, Include: []ecstypes.TaskField{ecstypes.TaskFieldTags},
	})
	require.NoError(t, err)
	require.Equal(t, "b", *tagged.Tasks[0].Tags[0].Value)
	require.Equal(t, "MISSING", *tagged.Failures[0].Reason)
}

func detail(t ecstypes.Task, name string) string {
	for _, kv := range t.Attachments[0].Details {
		if *kv.Name == name {
			return *kv.Value
		}
	}
	return ""
}

func TestStopTask(t *testing.T) {
	tests := map[string]struct {
		args []string
		code int32
	}{
		"exits on SIGTERM": {nil, 0},
		"ignores SIGTERM":  {[]string{"stubborn"}, 137},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := localawstest.New(t, binary, fastOptions)
			definition := p.RegisterTaskDefinition(p.PushImage("one", test.args...), func(d *ecstypes.ContainerDefinition) { d.StopTimeout = aws.Int32(5) })
			running := run(p, &ecs.RunTaskInput{TaskDefinition: &definition}, "RUNNING")
			require.Eventually(t, func() bool { return len(output(p, running, "app")) > 0 }, time.Minute, 10*time.Millisecond)
			_, err := p.ECS.StopTask(t.Context(), &ecs.StopTaskInput{Cluster: aws.String("test"), Task: aws.String(localawstest.TaskID(running))})
			require.NoError(t, err)
			done := waitForStatus(p, *running.TaskArn, "STOPPED")
			require.Equal(t, test.code, *done.Containers[0].ExitCode)
			require.Equal(t, "Task stopped by user", *done.StoppedReason)
			require.Equal(t, ecstypes.TaskStopCodeUserInitiated, done.StopCode)
		})
	}
}

func check(seconds int32) *ecstypes.HealthCheck {
	return &ecstypes.HealthCheck{Command: []string{"CMD", "/app", "check"}, Interval: &seconds, Timeout: aws.Int32(5), Retries: aws.Int32(1), StartPeriod: aws.Int32(0)}
}

func TestContainerHealthCheck(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	p.CreateService(p.RegisterTaskDefinition(p.PushImage("one"), func(d *ecstypes.ContainerDefinition) { d.HealthCheck = check(5) }))
	s := p.WaitStable()
	for _, running := range p.DescribeTasks(ecstypes.DesiredStatusRunning) {
		require.Equal(t, ecstypes.HealthStatusHealthy, running.HealthStatus)
		require.Equal(t, ecstypes.HealthStatusHealthy, running.Containers[0].HealthStatus)
	}
	// Without a load balancer, this is a service's only health check.
	_, err := p.ECS.UpdateService(t.Context(), &ecs.UpdateServiceInput{
		Cluster: aws.String("test"), Service: aws.String("app"), LoadBalancers: []ecstypes.LoadBalancer{},
	})
	require.NoError(t, err)
	p.Eventually(func(now ecstypes.Service) bool { return *now.Deployments[0].Id != *s.Deployments[0].Id })
	p.WaitStable()
	id := p.UpdateService(p.RegisterTaskDefinition(p.PushImage("two"), env("HEALTH_STATUS", "500"), func(d *ecstypes.ContainerDefinition) { d.HealthCheck = check(5) }))
	p.Eventually(func(now ecstypes.Service) bool { return *now.Deployments[0].Id != id })
	s = p.WaitStable()
	failed := 0
	for _, stopped := range p.DescribeTasks(ecstypes.DesiredStatusStopped) {
		if *stopped.StartedBy == id && *stopped.StoppedReason == "Task failed container health checks" {
			failed++
			require.Contains(t, localawstest.EventMessages(s), "(service app) (task "+localawstest.TaskID(stopped)+") failed container health checks.")
		}
	}
	require.GreaterOrEqual(t, failed, 3)
}

func TestContainerDependencies(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	image := p.PushImage("one")
	logs := &ecstypes.LogConfiguration{LogDriver: ecstypes.LogDriverAwslogs, Options: map[string]string{"awslogs-group": localawstest.LogGroup, "awslogs-stream-prefix": "ecs"}}
	dependOn := func(name string, c ecstypes.ContainerCondition) []ecstypes.ContainerDependency {
		return []ecstypes.ContainerDependency{{ContainerName: &name, Condition: c}}
	}
	register := func(migration string) string {
		out, err := p.ECS.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{
			Family: aws.String("pod"), NetworkMode: ecstypes.NetworkModeAwsvpc, Cpu: aws.String("256"), Memory: aws.String("512"),
			ContainerDefinitions: []ecstypes.ContainerDefinition{
				{
					Name: aws.String("main"), Image: &image, Command: []string{"exit", "4"}, LogConfiguration: logs,
					DependsOn: dependOn("server", ecstypes.ContainerConditionHealthy),
				},
				{
					Name: aws.String("server"), Image: &image, Essential: aws.Bool(false), HealthCheck: check(5), LogConfiguration: logs,
					PortMappings: []ecstypes.PortMapping{{ContainerPort: aws.Int32(8000)}}, DependsOn: dependOn("migration", ecstypes.ContainerConditionSuccess),
				},
				{Name: aws.String("migration"), Image: &image, Essential: aws.Bool(false), Command: []string{"exit", migration}, LogConfiguration: logs},
			},
		})
		require.NoError(t, err)
		return *out.TaskDefinition.TaskDefinitionArn
	}
	good := register("0")
	done := run(p, &ecs.RunTaskInput{TaskDefinition: &good}, "STOPPED")
	require.Equal(t, "Essential container in task exited", *done.StoppedReason)
	codes := map[string]int32{}
	for _, c := range done.Containers {
		codes[*c.Name] = *c.ExitCode
	}
	require.Equal(t, map[string]int32{"main": 4, "server": 0, "migration": 0}, codes)
	require.Contains(t, strings.Join(output(p, done, "server"), "\n"), "bye")

	bad := register("1")
	failed := run(p, &ecs.RunTaskInput{TaskDefinition: &bad}, "STOPPED")
	require.Equal(t, ecstypes.TaskStopCodeTaskFailedToStart, failed.StopCode)
	require.Equal(t, dependencyGraph+"[server] for target [main] because dependency will never start", *failed.StoppedReason)
	require.Equal(t, dependencyGraph+"[migration] for target [server] as dependency did not exit successfully.", *failed.Containers[1].Reason)
	require.Equal(t, []int32{143, 143, 1}, exitCodes(failed))
}

func TestTaskMetadata(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, localaws.Options{Tasks: task.ModePort})
	p.CreateService(p.RegisterTaskDefinition(p.PushImage("one")))
	p.WaitStable()
	_, body := p.Get("/")
	require.Contains(t, body, "ECS_CONTAINER_METADATA_URI_V4="+p.Server.Endpoint()+"/v4/")
	require.Contains(t, body, "AWS_REGION=us-east-1")
	running := p.DescribeTasks(ecstypes.DesiredStatusRunning)[0]
	for path, want := range map[string]string{
		"/v4/" + localawstest.TaskID(running):           `"Name":"app"`,
		"/v4/" + localawstest.TaskID(running) + "/task": `"TaskARN":"` + *running.TaskArn + `"`,
		"/v4/nowhere": "no such task",
	} {
		resp, err := http.Get(p.Server.Endpoint() + path)
		require.NoError(t, err)
		raw, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Contains(t, string(raw), want)
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestStopDrainsUncheckedTask stops a task that the load balancer sends requests to, although
// its container is not healthy yet.
func TestStopDrainsUncheckedTask(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	p.CreateService(p.RegisterTaskDefinition(p.PushImage("one"), func(d *ecstypes.ContainerDefinition) {
		d.HealthCheck = &ecstypes.HealthCheck{Command: []string{"CMD", "/absent"}, StartPeriod: aws.Int32(300)}
	}))
	requireTarget := func(state elbtypes.TargetHealthStateEnum) {
		require.Eventually(t, func() bool {
			out, err := p.ELB.DescribeTargetHealth(t.Context(), &elbv2.DescribeTargetHealthInput{TargetGroupArn: &p.Group})
			return err == nil && slices.ContainsFunc(out.TargetHealthDescriptions, func(d elbtypes.TargetHealthDescription) bool { return d.TargetHealth.State == state })
		}, time.Minute, time.Millisecond, state)
	}
	requireTarget(elbtypes.TargetHealthStateEnumHealthy)
	for _, running := range p.DescribeTasks(ecstypes.DesiredStatusRunning) {
		require.Equal(t, ecstypes.HealthStatusUnknown, running.HealthStatus)
		_, err := p.ECS.StopTask(t.Context(), &ecs.StopTaskInput{Cluster: aws.String("test"), Task: running.TaskArn})
		require.NoError(t, err)
	}
	requireTarget(elbtypes.TargetHealthStateEnumDraining)
}
