package ecs_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
)

func TestForcedDeploymentOfTheSameDefinition(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	p.CreateService(p.RegisterTaskDefinition(p.PushImage("one")))
	before := p.WaitStable()
	noop, err := p.ECS.UpdateService(t.Context(), &ecs.UpdateServiceInput{
		Cluster: aws.String("test"), Service: aws.String("app"), TaskDefinition: before.TaskDefinition,
	})
	require.NoError(t, err)
	require.Len(t, noop.Service.Deployments, 1, "the same definition is no deployment")
	_, err = p.ECS.UpdateService(t.Context(), &ecs.UpdateServiceInput{Cluster: aws.String("test"), Service: aws.String("app"), ForceNewDeployment: true})
	require.NoError(t, err)
	p.Eventually(func(s ecstypes.Service) bool { return *s.Deployments[0].Id != *before.Deployments[0].Id })
	after := p.WaitStable()
	require.Equal(t, *before.TaskDefinition, *after.TaskDefinition)
	require.Len(t, p.DescribeTasks(ecstypes.DesiredStatusStopped), 2)
	for _, task := range p.DescribeTasks(ecstypes.DesiredStatusStopped) {
		require.Equal(t, "Scaling activity initiated by (deployment "+*after.Deployments[0].Id+")", *task.StoppedReason)
		require.Equal(t, ecstypes.TaskStopCodeServiceSchedulerInitiated, task.StopCode)
		require.Equal(t, int32(0), *task.Containers[0].ExitCode, "it exits by itself on SIGTERM")
	}
}

func TestRevisionIDMatchesDeploymentID(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	image := p.PushImage("one")
	p.CreateService(p.RegisterTaskDefinition(image))
	s := p.WaitStable()
	digits := strings.TrimPrefix(*s.Deployments[0].Id, "ecs-svc/")
	require.Len(t, digits, 19)
	d := serviceDeployments(p)[0]
	require.Equal(t, *s.CurrentServiceDeployment, *d.ServiceDeploymentArn)
	require.True(t, strings.HasSuffix(*d.TargetServiceRevision.Arn, "service-revision/test/app/"+digits))
	require.Equal(t, int32(2), d.TargetServiceRevision.RunningTaskCount)
	out, err := p.ECS.DescribeServiceRevisions(t.Context(), &ecs.DescribeServiceRevisionsInput{ServiceRevisionArns: []string{*d.TargetServiceRevision.Arn, "arn:nowhere"}})
	require.NoError(t, err)
	require.Equal(t, "MISSING", *out.Failures[0].Reason)
	require.Equal(t, *s.TaskDefinition, *out.ServiceRevisions[0].TaskDefinition)
	require.Equal(t, image[strings.Index(image, "@")+1:], *out.ServiceRevisions[0].ContainerImages[0].ImageDigest)

	after, err := p.ECS.ListServiceDeployments(t.Context(), &ecs.ListServiceDeploymentsInput{
		Cluster: aws.String("test"), Service: aws.String("app"), CreatedAt: &ecstypes.CreatedAt{After: aws.Time(d.CreatedAt.Add(time.Millisecond))},
	})
	require.NoError(t, err)
	require.Empty(t, after.ServiceDeployments)
	done, err := p.ECS.ListServiceDeployments(t.Context(), &ecs.ListServiceDeploymentsInput{
		Cluster: aws.String("test"), Service: aws.String("app"), Status: []ecstypes.ServiceDeploymentStatus{ecstypes.ServiceDeploymentStatusSuccessful},
	})
	require.NoError(t, err)
	require.Len(t, done.ServiceDeployments, 1)
}

// taskCounts are the minimum and maximum of a service's tasks during a deployment.
type taskCounts struct{ least, most int32 }

func TestPercentagesBoundADeployment(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		least, most int32 // percent
		want        taskCounts
	}{
		"all at once, down in between": {0, 100, taskCounts{0, 2}},
		"one by one, down to half":     {50, 100, taskCounts{1, 2}},
		"one more at a time":           {100, 150, taskCounts{2, 3}},
		"double":                       {100, 200, taskCounts{2, 4}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := localawstest.New(t, binary, fastOptions)
			p.CreateService(p.RegisterTaskDefinition(p.PushImage("one")), func(in *ecs.CreateServiceInput) {
				in.DeploymentConfiguration.MinimumHealthyPercent, in.DeploymentConfiguration.MaximumPercent = &test.least, &test.most
			})
			p.WaitStable()
			p.UpdateService(p.RegisterTaskDefinition(p.PushImage("two")))
			seen := taskCounts{2, 2}
			p.Eventually(func(s ecstypes.Service) bool {
				seen.least, seen.most = min(seen.least, s.RunningCount), max(seen.most, s.RunningCount+s.PendingCount)
				return len(s.Deployments) == 1 && s.Deployments[0].RolloutState == ecstypes.DeploymentRolloutStateCompleted
			})
			require.GreaterOrEqual(t, seen.least, test.want.least)
			require.LessOrEqual(t, seen.most, test.want.most)
			require.Equal(t, "two", p.Version())
		})
	}
}

func TestBlockedDeploymentIsReported(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	p.CreateService(p.RegisterTaskDefinition(p.PushImage("one")), func(in *ecs.CreateServiceInput) { in.DeploymentConfiguration.MaximumPercent = aws.Int32(100) })
	p.WaitStable()
	p.UpdateService(p.RegisterTaskDefinition(p.PushImage("two")))
	p.Eventually(func(s ecstypes.Service) bool {
		return strings.Contains(*s.Events[0].Message, "was unable to stop or start tasks during a deployment because of the service deployment configuration")
	})
	_, err := p.ECS.UpdateService(t.Context(), &ecs.UpdateServiceInput{
		Cluster: aws.String("test"), Service: aws.String("app"),
		DeploymentConfiguration: &ecstypes.DeploymentConfiguration{MaximumPercent: aws.Int32(150)},
	})
	require.NoError(t, err)
	s := p.WaitStable()
	require.Equal(t, "two", p.Version())
	require.True(t, s.DeploymentConfiguration.DeploymentCircuitBreaker.Enable, "missing fields keep their values")
}

func TestScaling(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	p.CreateService(p.RegisterTaskDefinition(p.PushImage("one")), func(in *ecs.CreateServiceInput) { in.DesiredCount = aws.Int32(1) })
	id := *p.WaitStable().Deployments[0].Id
	scale := func(n int32) {
		_, err := p.ECS.UpdateService(t.Context(), &ecs.UpdateServiceInput{Cluster: aws.String("test"), Service: aws.String("app"), DesiredCount: &n})
		require.NoError(t, err)
		s := p.Eventually(func(s ecstypes.Service) bool {
			return s.RunningCount == n && strings.HasSuffix(*s.Events[0].Message, "steady state.")
		})
		require.Equal(t, id, *s.Deployments[0].Id, "scaling is no deployment")
	}
	scale(3)
	scale(0)
	status, _ := p.Get("/")
	require.Equal(t, 503, status)
	id = p.UpdateService(p.RegisterTaskDefinition(p.PushImage("two")))
	p.WaitStable()
	scale(1)
	require.Equal(t, "two", p.Version())
}

func TestStopServiceTask(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	p.CreateService(p.RegisterTaskDefinition(p.PushImage("one")))
	p.WaitStable()
	stopped := p.DescribeTasks(ecstypes.DesiredStatusRunning)[0]
	out, err := p.ECS.StopTask(t.Context(), &ecs.StopTaskInput{Cluster: aws.String("test"), Task: stopped.TaskArn, Reason: aws.String("chaos")})
	require.NoError(t, err)
	require.Equal(t, "STOPPED", *out.Task.DesiredStatus)
	p.Eventually(func(s ecstypes.Service) bool {
		stopped := p.DescribeTasks(ecstypes.DesiredStatusStopped)
		return s.RunningCount == 2 && len(stopped) == 1 && *stopped[0].LastStatus == "STOPPED"
	})
	gone := p.DescribeTasks(ecstypes.DesiredStatusStopped)[0]
	require.Equal(t, ecstypes.TaskStopCodeUserInitiated, gone.StopCode)
	require.Equal(t, "chaos", *gone.StoppedReason)
	require.Zero(t, p.DescribeService().Deployments[0].FailedTasks)
	for _, at := range []any{gone.CreatedAt, gone.PullStartedAt, gone.PullStoppedAt, gone.StartedAt, gone.StoppingAt, gone.ExecutionStoppedAt, gone.StoppedAt} {
		require.NotNil(t, at)
	}
}
