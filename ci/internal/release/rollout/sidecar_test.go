package rollout_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// withSidecars has two containers beside that of the entry "a": one runs the image of the
// entry "b", and one an image of another registry.
func withSidecars(b *fixture) {
	entry := &b.request.Targets[0].Service
	entry.Sidecars = map[string]platform.Sidecar{"migrate": {ImageOf: "b"}, "agent": {Image: "agent@sha256:1"}}
	for _, d := range b.ecs.definitions {
		if *d.Family == entry.Family() {
			d.ContainerDefinitions = append([]types.ContainerDefinition{
				{Name: aws.String("agent"), Image: aws.String("agent@sha256:1")},
				{Name: aws.String("migrate"), Image: aws.String(oldImage), Essential: aws.Bool(false), Environment: []types.KeyValuePair{{Name: aws.String("VERSION"), Value: aws.String("its own")}}},
			}, d.ContainerDefinitions...)
		}
	}
}

// images returns the images of a revision's containers.
func (b *fixture) images(revision string) []string {
	var images []string
	for _, c := range b.ecs.find(revision).ContainerDefinitions {
		images = append(images, *c.Image)
	}
	return images
}

func TestSidecarsRunTheImageOfAnEntry(t *testing.T) {
	b := newFixture("", "")
	withSidecars(b)
	release := func(version string, images map[string]string) report.Release {
		b.request.Version, b.request.Targets = version, []rollout.Target{rollout.ImageTarget(b.services()[0], images), rollout.ImageTarget(b.services()[1], images)}
		got := b.engine.Release(t.Context(), b.request)
		require.Equal(t, outcome.Done, got.ExitCode, "%s\n%s", got.Error, b.log())
		b.ecs.settleAll()
		return got
	}
	one := release("1111", map[string]string{"a": "good@sha256:a1", "b": "good@sha256:b1"})
	require.Equal(t, []string{"agent@sha256:1", "good@sha256:b1", "good@sha256:a1"}, b.images(one.Services[0].To.TaskDefinition))
	require.Equal(t, "its own", *b.ecs.find(one.Services[0].To.TaskDefinition).ContainerDefinitions[1].Environment[0].Value)

	again := release("1111", map[string]string{"a": "good@sha256:a1", "b": "good@sha256:b1"})
	require.Equal(t, report.Unchanged, again.Result)

	two := release("2222", map[string]string{"a": "good@sha256:a1", "b": "good@sha256:b2"})
	require.Equal(t, report.Succeeded, two.Services[0].Result, "its sidecar changed")
	require.Equal(t, []string{"agent@sha256:1", "good@sha256:b2", "good@sha256:a1"}, b.images(two.Services[0].To.TaskDefinition))
	require.Equal(t, "2222", two.Services[0].To.SHA)

	targets, err := b.engine.ImageTargets(t.Context(), b.services(), map[string]string{"a": "good@sha256:a1", "b": "good@sha256:b1"})
	require.NoError(t, err)
	require.Equal(t, one.Services[0].To.TaskDefinition, targets[0].Revision, "the newest revision with that image runs another sidecar")

	targets, err = b.engine.LastKnownGood(t.Context(), b.services(), "")
	require.NoError(t, err)
	require.Equal(t, one.Services[0].To.TaskDefinition, targets[0].Revision)
}

// TestSidecarMissingInTheDefinition: Terraform has not been applied since it was added.
func TestSidecarMissingInTheDefinition(t *testing.T) {
	b := newFixture(completes, completes)
	b.request.Targets[0].Sidecars = map[string]string{"migrate": "good@sha256:new"}
	require.Equal(t, outcome.Done, b.engine.Release(t.Context(), b.request).ExitCode)
	require.True(t, b.hasEvent("a: container migrate of terraform/services.auto.tfvars.json is not in ecs-a-task:1: add it with Terraform (slipway plan, slipway apply)"), b.log())
}

// TestEntriesWithOneImage: several entries run one image with other commands.
func TestEntriesWithOneImage(t *testing.T) {
	b := newFixture("", "")
	images := map[string]string{"a": "good@sha256:one", "b": "good@sha256:one"}
	b.request.Targets = []rollout.Target{rollout.ImageTarget(b.services()[0], images), rollout.ImageTarget(b.services()[1], images)}
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, outcome.Done, got.ExitCode, got.Error)
	b.ecs.settleAll()
	status, err := b.engine.Status(t.Context(), b.services())
	require.NoError(t, err)
	for n, service := range status.Services {
		require.Equal(t, "good@sha256:one", service.Version.Image)
		require.Equal(t, got.Services[n].To.TaskDefinition, service.Version.TaskDefinition)
	}
	targets, err := b.engine.ImageTargets(t.Context(), b.services(), images)
	require.NoError(t, err)
	for n, target := range targets {
		require.Equal(t, got.Services[n].To.TaskDefinition, target.Revision)
	}
}

// noTargets fails every read of target health.
type noTargets struct{ t *testing.T }

func (n noTargets) DescribeTargetHealth(context.Context, *elb.DescribeTargetHealthInput, ...func(*elb.Options)) (*elb.DescribeTargetHealthOutput, error) {
	n.t.Error("target health of a service without a load balancer was read")
	return nil, apiError("TargetGroupNotFound")
}

// TestWorkerThatCrashes is judged by its own deployment, and by nothing about a target.
func TestWorkerThatCrashes(t *testing.T) {
	b := newFixture(completes, rollsBack)
	b.engine.Health, b.ecs.services["ecs-a-service"].web = noTargets{t}, false
	b.ecs.stopped = []types.Task{{
		TaskArn: aws.String("arn:aws:ecs:us-east-1:1:task/ecs-cluster/1"), StartedBy: aws.String("ecs-svc/4"), LastStatus: aws.String("STOPPED"),
		StopCode: types.TaskStopCodeEssentialContainerExited, StoppedReason: aws.String("Essential container in task exited"),
		Containers: []types.Container{{Name: aws.String("b"), ExitCode: aws.Int32(0)}},
	}}
	b.ecs.stopped = append(b.ecs.stopped, b.ecs.stopped[0])
	b.ecs.stopped[1].StartedBy = aws.String("ecs-svc/3")
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, outcome.Restored, got.ExitCode, got.Error)
	requireAllOrNothing(t, b, got)
	cause := got.Services[1].Causes[0]
	require.Equal(t, "Essential container in task exited", cause.Reason)
	require.Equal(t, "last line", cause.LogTail[1])
	require.Contains(t, cause.Hint, "the program ended by itself")
}

// TestStatusOfWorkers counts the tasks of a service without a load balancer by their
// container health checks.
func TestStatusOfWorkers(t *testing.T) {
	b := newFixture("", "")
	b.engine.Health, b.ecs.services["ecs-a-service"].web = noTargets{t}, false
	b.ecs.definitions[0].ContainerDefinitions[0].HealthCheck = &types.HealthCheck{Command: []string{"CMD", "true"}}
	b.engine.ECS = runningTasks{b.ecs, []types.Task{{HealthStatus: types.HealthStatusHealthy}, {HealthStatus: types.HealthStatusUnhealthy}, {HealthStatus: types.HealthStatusUnknown}}}
	status, err := b.engine.Status(t.Context(), b.services())
	require.NoError(t, err)
	require.Equal(t, int32(1), status.Services[0].Tasks.Healthy)
	require.Equal(t, int32(1), status.Services[0].Tasks.Unhealthy)
	require.Zero(t, status.Services[1].Tasks.Healthy, "it has no health check")
	require.Equal(t, 1, b.ecs.count("ListTasks"))
}

// runningTasks are an ECS in which each service has these tasks.
type runningTasks struct {
	*fakeECS
	tasks []types.Task
}

func (r runningTasks) ListTasks(_ context.Context, in *ecs.ListTasksInput, _ ...func(*ecs.Options)) (*ecs.ListTasksOutput, error) {
	done, err := r.begin("ListTasks", *in.ServiceName)
	if err != nil {
		return nil, err
	}
	defer done()
	return &ecs.ListTasksOutput{TaskArns: []string{"a task"}}, nil
}

func (r runningTasks) DescribeTasks(context.Context, *ecs.DescribeTasksInput, ...func(*ecs.Options)) (*ecs.DescribeTasksOutput, error) {
	return &ecs.DescribeTasksOutput{Tasks: r.tasks}, nil
}

// recordedUpdates records the updates of services.
type recordedUpdates struct {
	*fakeECS
	updates *[]ecs.UpdateServiceInput
}

func (r recordedUpdates) UpdateService(ctx context.Context, in *ecs.UpdateServiceInput, options ...func(*ecs.Options)) (*ecs.UpdateServiceOutput, error) {
	r.mu.Lock()
	*r.updates = append(*r.updates, *in)
	r.mu.Unlock()
	return r.fakeECS.UpdateService(ctx, in, options...)
}

// TestUpdateKeepsTheService: what an update does not set, ECS keeps: capacity providers,
// the grace period, load balancers and the desired count, which autoscaling changes.
func TestUpdateKeepsTheService(t *testing.T) {
	for name, second := range map[string]behavior{"released": completes, "restored": fails} {
		t.Run(name, func(t *testing.T) {
			b := newFixture(completes, second)
			b.ecs.services["ecs-a-service"].desired = 7 // autoscaled
			var updates []ecs.UpdateServiceInput
			b.engine.ECS = recordedUpdates{b.ecs, &updates}
			b.engine.Release(t.Context(), b.request)
			require.NotEmpty(t, updates)
			for n := range updates {
				update := &updates[n]
				require.Equal(t, &ecs.UpdateServiceInput{
					Cluster: update.Cluster, Service: update.Service, TaskDefinition: update.TaskDefinition, ForceNewDeployment: update.ForceNewDeployment,
				}, update)
			}
			require.Equal(t, int32(7), b.ecs.services["ecs-a-service"].desired)
		})
	}
}

// TestTimeLimitsOfWorkers: the tasks of a worker without health check are healthy after
// 40 s at the earliest, so no shorter limit would ever be kept.
func TestTimeLimitsOfWorkers(t *testing.T) {
	const short = 20 * time.Second
	tests := map[string]struct {
		a, b   behavior
		change func(*fixture)
		err    string
	}{
		"a web service":              {stays, "", func(*fixture) {}, "a: not complete within the time limit of 20s"},
		"a worker":                   {"", stays, func(*fixture) {}, "b: not complete within the time limit of 1m30s"},
		"a worker with health check": {"", stays, func(b *fixture) { b.checked() }, "b: not complete within the time limit of 20s"},
		"a health check of a sidecar that is not essential": {"", stays, func(b *fixture) {
			b.addSidecars()
			b.ecs.definitions[1].ContainerDefinitions[0].HealthCheck = &types.HealthCheck{}
		}, "b: not complete within the time limit of 1m30s"},
		"a worker without tasks": {stays, completes, func(b *fixture) {
			b.ecs.services["ecs-b-service"].desired = 0
			b.ecs.tags["arn:aws:ecs:us-east-1:1:task-definition/ecs-b-task:1"] = []types.Tag{{Key: aws.String("slipway:release"), Value: aws.String("x")}}
		}, "a: not complete within the time limit of 20s"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newFixture(tt.a, tt.b)
			tt.change(b)
			b.request.Timeout, b.request.RestoreTimeout = short, short
			got := b.engine.Release(t.Context(), b.request)
			require.Contains(t, got.Error, tt.err)
			require.Equal(t, strings.Contains(tt.err, "1m30s"), b.hasEvent("b: it has no health check, so ECS counts a task as healthy after 40 s: the time limits are at least 1m30s"))
		})
	}
}

// checked gives the worker a health check.
func (b *fixture) checked() {
	b.ecs.definitions[1].ContainerDefinitions[0].HealthCheck = &types.HealthCheck{Command: []string{"CMD", "true"}}
}
