package rollout_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/runtask"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	oldImage = "repo@sha256:old"
	newSHA   = "0123456789012345678901234567890123456789"
)

// fixture is a release on a fake ECS with the services "a" and "b".
type fixture struct {
	ecs     *fakeECS
	engine  rollout.Engine
	request rollout.Request
	tasks   *runtask.ReleaseTasks // nil without release tasks

	mu     sync.Mutex
	events []string
}

// newFixture has both services on the old image, and releases images with the given
// behaviors.
func newFixture(a, b behavior) *fixture {
	clock := &fakeClock{now: time.Unix(1e9, 0)}
	t := &fixture{ecs: newFakeECS(clock)}
	t.request = rollout.Request{Version: newSHA}
	for n, want := range []behavior{a, b} {
		name := string(rune('a' + n))
		t.ecs.addService(name, oldImage)
		image := oldImage
		if want != "" {
			image = string(want) + "@sha256:new"
		}
		t.request.Targets = append(t.request.Targets, rollout.Target{Service: platform.Service{Name: name}, Image: image})
	}
	_ = clock.Sleep(context.Background(), time.Hour)
	t.engine = rollout.Engine{ECS: t.ecs, Schedules: t.ecs, Logs: fakeLogs{}, Clock: clock, Event: func(service, text string) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.events = append(t.events, service+": "+text)
	}}
	return t
}

// addOtherService adds a service with a failed deployment that is not part of the release.
func (b *fixture) addOtherService() {
	b.ecs.addService("n", noImage)
	primary := &b.ecs.services["ecs-n-service"].deployments[0]
	primary.RolloutState, primary.DesiredCount = types.DeploymentRolloutStateFailed, 3
}

// requireOtherServiceUntouched checks that the other service has not changed.
func (b *fixture) requireOtherServiceUntouched(t require.TestingT) {
	n := b.ecs.services["ecs-n-service"]
	if n == nil {
		return
	}
	require.Len(t, n.deployments, 1)
	require.Equal(t, types.DeploymentRolloutStateFailed, n.deployments[0].RolloutState)
	require.NotContains(t, strings.Join(b.ecs.calls, ","), "ecs-n-")
}

// addHealthChecks adds a health check to each container, so that time limits are the
// request's.
func (b *fixture) addHealthChecks() {
	for _, d := range b.ecs.definitions {
		for n := range d.ContainerDefinitions {
			d.ContainerDefinitions[n].HealthCheck = &types.HealthCheck{Command: []string{"CMD", "true"}}
		}
	}
}

// addSidecars adds a container before each service's own.
func (b *fixture) addSidecars() {
	for _, d := range b.ecs.definitions {
		d.ContainerDefinitions = append([]types.ContainerDefinition{{Name: aws.String("agent"), Image: aws.String("agent:1"), Essential: aws.Bool(false)}}, d.ContainerDefinitions...)
	}
}

// setRevisionStatus deregisters or deletes all revisions.
func (b *fixture) setRevisionStatus(status types.TaskDefinitionStatus) {
	for _, d := range b.ecs.definitions {
		d.Status = status
	}
}

func (b *fixture) log() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.events, "\n")
}

func (b *fixture) hasEvent(text string) bool {
	return strings.Contains(b.log(), text)
}

func TestRelease(t *testing.T) {
	tests := map[string]struct {
		a, b     behavior
		result   report.Result
		code     outcome.Code
		services [2]report.Result
		err      string
	}{
		"both complete":                   {completes, completes, report.Succeeded, outcome.Done, [2]report.Result{report.Succeeded, report.Succeeded}, ""},
		"nothing to do":                   {"", "", report.Unchanged, outcome.Done, [2]report.Result{report.Unchanged, report.Unchanged}, ""},
		"one is unchanged":                {completes, "", report.Succeeded, outcome.Done, [2]report.Result{report.Succeeded, report.Unchanged}, ""},
		"the circuit breaker trips":       {completes, rollsBack, report.Restored, outcome.Restored, [2]report.Result{report.Restored, report.Restored}, "b: ECS's circuit breaker tripped: Service deployment rolled back because the circuit breaker threshold was exceeded."},
		"an alarm goes off":               {completes, alarms, report.Restored, outcome.Restored, [2]report.Result{report.Restored, report.Restored}, "b: deployment alarm errors triggered: Service deployment rolled back"},
		"somebody stops the deployment":   {completes, stopped, report.Restored, outcome.Restored, [2]report.Result{report.Restored, report.Restored}, "b: a user stopped the deployment: Service deployment rolled back because of a user request."},
		"a deployment fails":              {fails, completes, report.Restored, outcome.Restored, [2]report.Result{report.Restored, report.Restored}, "a: tasks failed to start"},
		"one never completes":             {stays, completes, report.Restored, outcome.Restored, [2]report.Result{report.Restored, report.Restored}, "a: not complete within the time limit"},
		"both fail":                       {rollsBack, rollsBack, report.Restored, outcome.Restored, [2]report.Result{report.Restored, report.Restored}, "circuit breaker threshold"},
		"somebody else deploys":           {completes, replaced, report.Failed, outcome.Unrestored, [2]report.Result{report.Restored, report.Failed}, "b: another deployment, ecs-svc/5 of other:1, replaced this one"},
		"somebody restores it":            {completes, undone, report.Restored, outcome.Restored, [2]report.Result{report.Restored, report.Restored}, "b: "},
		"a service is deleted":            {completes, vanishes, report.Failed, outcome.Unrestored, [2]report.Result{report.Restored, report.Failed}, "b: the service was deleted"},
		"an unchanged one is not changed": {"", rollsBack, report.Restored, outcome.Restored, [2]report.Result{report.Unchanged, report.Restored}, "b: "},
	}
	for name, tt := range tests {
		for _, lacksAPI := range []bool{false, true} {
			t.Run(name+map[bool]string{true: " without the service-deployments API"}[lacksAPI], func(t *testing.T) {
				b := newFixture(tt.a, tt.b)
				if lacksAPI {
					b.ecs.noAPI = true
				}
				got := b.engine.Release(t.Context(), b.request)
				require.Equal(t, tt.result, got.Result, "%s\n%s", got.Error, strings.Join(b.events, "\n"))
				require.Equal(t, tt.code, got.ExitCode)
				require.Equal(t, newSHA, got.SHA)
				require.Len(t, got.Services, 2)
				for n, want := range tt.services {
					require.Equal(t, want, got.Services[n].Result, got.Services[n].Name)
				}
				if !lacksAPI {
					require.Contains(t, got.Error, tt.err)
				}
				requireAllOrNothing(t, b, got)
			})
		}
	}
}

// requireAllOrNothing checks that every service runs what the report says.
func requireAllOrNothing(t *testing.T, b *fixture, got report.Release) {
	t.Helper()
	for n, service := range got.Services {
		switch service.Result {
		case report.Succeeded:
			require.Equal(t, b.request.Targets[n].Image, b.ecs.running(service.Name))
			require.Equal(t, b.request.Targets[n].Service.IsJob(), service.DeploymentID == "")
		case report.Restored, report.Unchanged:
			require.Equal(t, b.ecs.image(service.From.TaskDefinition), b.ecs.running(service.Name))
			require.Contains(t, []string{oldImage, noImage}, b.ecs.running(service.Name))
		case report.Failed:
			require.Equal(t, outcome.Unrestored, got.ExitCode)
			require.NotEmpty(t, service.Error)
			if b.request.Targets[n].Service.IsJob() {
				require.Contains(t, got.Next, "slipway rollback --service "+service.Name+" --to ")
				continue
			}
			if got.Next == "slipway abort" { // it shifts traffic
				continue
			}
			require.Contains(t, got.Next, "aws ecs update-service --cluster ecs-cluster --service ecs-"+service.Name+"-service --task-definition "+service.From.TaskDefinition)
		}
	}
}

func TestReleaseReport(t *testing.T) {
	b := newFixture(completes, completes)
	got := b.engine.Release(t.Context(), b.request)
	a := got.Services[0]
	require.Equal(t, report.Version{TaskDefinition: "arn:aws:ecs:us-east-1:1:task-definition/ecs-a-task:1", Image: oldImage, SHA: "old"}, a.From)
	require.Equal(t, "good@sha256:new", a.To.Image)
	require.Equal(t, newSHA, a.To.SHA)
	require.Contains(t, a.To.TaskDefinition, "task-definition/ecs-a-task:")
	require.Regexp(t, `^ecs-svc/\d+$`, a.DeploymentID)
	require.Positive(t, a.DurationMS)
	require.True(t, b.hasEvent("a: has started 1 tasks"), "service events have no prefix")

	registered := b.ecs.find(a.To.TaskDefinition)
	require.Equal(t, newSHA, aws.ToString(registered.ContainerDefinitions[0].Environment[0].Value))
	require.Regexp(t, `^012345678901\.[0-9a-f]{12}$`, got.ID)
	require.Equal(t, []types.Tag{
		{Key: aws.String("slipway:sha"), Value: aws.String(newSHA)},
		{Key: aws.String("slipway:digest"), Value: aws.String("sha256:new")},
		{Key: aws.String("slipway:release"), Value: &got.ID},
		{Key: aws.String("slipway:from"), Value: &a.From.TaskDefinition},
		{Key: aws.String("slipway:size"), Value: aws.String("2")},
	}, b.ecs.tags[a.To.TaskDefinition])
}

func TestReleaseAgainIsUnchanged(t *testing.T) {
	b := newFixture(completes, completes)
	require.Equal(t, report.Succeeded, b.engine.Release(t.Context(), b.request).Result)
	b.ecs.calls = nil
	b.request.Version = "another commit with the same images"
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, report.Unchanged, got.Result)
	require.Equal(t, newSHA, got.Services[0].To.SHA, "what runs was built from the earlier commit")
	require.Zero(t, b.ecs.count("RegisterTaskDefinition")+b.ecs.count("UpdateService"))
}

func TestReleaseTriedAgainRegistersNothing(t *testing.T) {
	b := newFixture(rollsBack, "")
	first := b.engine.Release(t.Context(), b.request)
	require.Equal(t, report.Restored, first.Result)
	second := b.engine.Release(t.Context(), b.request)
	require.Equal(t, report.Restored, second.Result)
	require.Equal(t, first.ID, second.ID, "the same change has the same id")
	require.Equal(t, first.Services[0].To, second.Services[0].To)
	require.Equal(t, 1, b.ecs.count("RegisterTaskDefinition"))
}

func TestReleaseLeavesProductionAlone(t *testing.T) {
	tests := map[string]struct {
		change func(*fixture)
		result report.Result
		code   outcome.Code
		want   string
	}{
		"a service is missing": {
			func(b *fixture) { delete(b.ecs.services, "ecs-b-service") },
			report.Failed, outcome.Failed, "cluster ecs-cluster has no active service ecs-b-service: create it with Terraform",
		},
		"a container has another name": {
			func(b *fixture) {
				b.ecs.definitions[len(b.ecs.definitions)-1].ContainerDefinitions[0].Name = aws.String("main")
			},
			report.Failed, outcome.Usage, `has no container "`,
		},
		"a deployment is in progress": {
			func(b *fixture) {
				b.ecs.deploy("ecs-a-service", b.ecs.register("ecs-a-task", b.ecs.definitions[0].ContainerDefinitions[0]))
			},
			report.Refused, outcome.Refused, "service ecs-a-service: a deployment is in progress (PRIMARY ecs-svc/3 of ecs-a-task:2, ACTIVE ecs-svc/1 of ecs-a-task:1; not of a slipway release): wait for it (--wait-for-turn)",
		},
		"ECS cannot be read": {
			func(b *fixture) { b.ecs.failCall = failCalls("DescribeServices", "ServerException", 1<<30) },
			report.Failed, outcome.Failed, "describing services of cluster ecs-cluster",
		},
		"a definition cannot be read": {
			func(b *fixture) { b.ecs.failCall = failCalls("DescribeTaskDefinition", "ServerException", 1<<30) },
			report.Failed, outcome.Failed, "describing task definition",
		},
		"a revision is refused": {
			func(b *fixture) {
				b.ecs.failCall = failCalls("RegisterTaskDefinition ecs-b-task", "ServerException", 1<<30)
			},
			report.Failed, outcome.Failed, "registering a revision of ecs-b-task",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newFixture(completes, completes)
			tt.change(b)
			got := b.engine.Release(t.Context(), b.request)
			require.Equal(t, tt.result, got.Result, got.Error)
			require.Equal(t, tt.code, got.ExitCode)
			require.Contains(t, got.Error, tt.want)
			require.Len(t, got.Services, 2)
			require.Zero(t, b.ecs.count("UpdateService"))
		})
	}
}

// failCalls fails the first n calls of an operation.
func failCalls(call, code string, n int) func(operation, service string) error {
	return func(operation, service string) error {
		if strings.HasPrefix(operation+" "+service, call) && n > 0 {
			n--
			return apiError(code)
		}
		return nil
	}
}

func TestVerifyFails(t *testing.T) {
	b := newFixture(completes, completes)
	b.request.Verify = func(_ context.Context, versions map[string]string) error {
		require.Equal(t, "good@sha256:new", b.ecs.running("a"), "called when all services run")
		require.Equal(t, map[string]string{"a": newSHA, "b": newSHA}, versions)
		return errors.New("/api/ answers 502")
	}
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, report.Restored, got.Result)
	require.Equal(t, outcome.Restored, got.ExitCode)
	require.Equal(t, "verifying the release: /api/ answers 502", got.Error)
	requireAllOrNothing(t, b, got)
}

// TestVerifyGetsChangedVersions checks that unchanged services are not verified.
func TestVerifyGetsChangedVersions(t *testing.T) {
	for _, declared := range []bool{true, false} {
		b := newFixture(completes, "")
		want := newSHA
		if !declared {
			b.ecs.definitions[0].ContainerDefinitions[0].Environment, want = nil, ""
		}
		var got map[string]string
		b.request.Verify = func(_ context.Context, versions map[string]string) error { got = versions; return nil }
		require.Equal(t, report.Succeeded, b.engine.Release(t.Context(), b.request).Result)
		require.Equal(t, map[string]string{"a": want}, got)
	}
}

func TestCauses(t *testing.T) {
	b := newFixture(completes, rollsBack)
	exit := aws.Int32(1)
	crashed := func(id, startedBy string) types.Task {
		return types.Task{
			TaskArn: aws.String("arn:aws:ecs:us-east-1:1:task/ecs-cluster/" + id), StartedBy: &startedBy,
			StopCode: types.TaskStopCodeEssentialContainerExited, StoppedReason: aws.String("Essential container in task exited"),
			Containers: []types.Container{{Name: aws.String("sidecar")}, {Name: aws.String("b"), ExitCode: exit, Reason: aws.String("panic")}},
		}
	}
	scaled := crashed("t3", "ecs-svc/4")
	scaled.StoppedReason = aws.String("Scaling activity initiated by (deployment ecs-svc/4)")
	for _, own := range []string{"ecs-svc/3", "ecs-svc/4"} {
		b.ecs.stopped = append(b.ecs.stopped, crashed("t1"+own[8:], own), crashed("t2"+own[8:], own))
	}
	b.ecs.stopped = append(b.ecs.stopped, crashed("old", "ecs-svc/1"), scaled)

	got := b.engine.Release(t.Context(), b.request)
	service := got.Services[1]
	require.Len(t, service.Causes, 1)
	id := service.Causes[0].Task[strings.LastIndex(service.Causes[0].Task, "/")+1:]
	require.Equal(t, report.Cause{
		Task: service.Causes[0].Task, Count: 2, StopCode: "EssentialContainerExited",
		Reason: "Essential container in task exited: panic", ExitCode: exit,
		LogTail: []string{"in ecs/b/" + id, "last line"},
	}, service.Causes[0])
	require.True(t, b.hasEvent("b: cause: Essential container in task exited: panic (exit code 1) [EssentialContainerExited]"))

	t.Run("a diagnosis that fails does not change the verdict", func(t *testing.T) {
		b := newFixture(completes, rollsBack)
		b.ecs.failCall = failCalls("ListTasks", "ServerException", 1<<30)
		got := b.engine.Release(t.Context(), b.request)
		require.Equal(t, report.Restored, got.Result)
		require.True(t, b.hasEvent("cannot diagnose the failure: listing tasks of ecs-b-service"))
	})
	t.Run("neither do unreadable logs", func(t *testing.T) {
		for code, reported := range map[string]bool{"AccessDeniedException": true, "ResourceNotFoundException": false} {
			b := newFixture(completes, rollsBack)
			b.ecs.stopped = []types.Task{crashed("t", "ecs-svc/3"), crashed("t", "ecs-svc/4")}
			b.engine.Logs = fakeLogs{err: apiError(code)}
			got := b.engine.Release(t.Context(), b.request)
			require.Equal(t, report.Restored, got.Result)
			require.Equal(t, reported, b.hasEvent("reading log stream ecs/b/t of /ecs/ecs-b"))
		}
	})
}

// TestReportHasECSReason checks that an exceeded time limit is reported with the last
// problem of ECS, or with why the tasks of a restore failed.
func TestReportHasECSReason(t *testing.T) {
	const full, unable = "was unable to place a task because no subnet has a free address.", "is unable to consistently start tasks successfully."
	pull := "CannotPullContainerError: repo@sha256:old: not found"
	b := newFixture(stays, "")
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, outcome.Restored, got.ExitCode)
	require.Equal(t, "a: not complete within the time limit of 15m0s: "+full, got.Error)
	require.Len(t, got.Services[0].Causes, 1)
	require.Equal(t, full, got.Services[0].Causes[0].Reason)

	for name, tt := range map[string]struct {
		tasks  []types.Task
		reason string
	}{
		"of its tasks": {[]types.Task{{
			TaskArn: aws.String("arn:aws:ecs:us-east-1:1:task/ecs-cluster/t"), StartedBy: aws.String("ecs-svc/4"),
			StopCode: types.TaskStopCodeTaskFailedToStart, StoppedReason: &pull,
		}}, pull},
		"of the service": {nil, unable},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFixture(fails, "")
			b.ecs.deletedImages[oldImage], b.ecs.stopped = true, tt.tasks
			got := b.engine.Release(t.Context(), b.request)
			require.Equal(t, outcome.Unrestored, got.ExitCode)
			a := got.Services[0]
			require.Contains(t, a.Error, "restoring a: not restored within the time limit of 10m0s: ")
			require.Contains(t, a.Error, tt.reason)
			require.Equal(t, "restoring: "+tt.reason, a.Causes[len(a.Causes)-1].Reason)
			require.Contains(t, got.Next, "--task-definition "+revision(1))
		})
	}
}

// TestConcurrentDeploymentWhileThrottled deploys a service while its update is
// throttled: it is not changed, and the others are restored.
func TestConcurrentDeploymentWhileThrottled(t *testing.T) {
	b := newFixture(completes, completes)
	throttled := throttledFor(b, 30*time.Second)
	updated, deployed := false, false
	b.ecs.failCall = func(operation, service string) error {
		updated = updated || operation == "UpdateService"
		if operation == "DescribeServices" && updated && !deployed {
			deployed = true
			b.ecs.deploy("ecs-b-service", b.ecs.register("ecs-b-task", types.ContainerDefinition{Name: aws.String("b"), Image: aws.String(string(completes) + "@sha256:hotfix")}))
		}
		if service == "ecs-b-service" {
			return throttled(operation, service)
		}
		return nil
	}
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, outcome.Restored, got.ExitCode, "%s\n%s", got.Error, b.log())
	require.Contains(t, got.Error, "another deployment")
	b.ecs.settleAll()
	require.Equal(t, oldImage, b.ecs.running("a"))
	require.Equal(t, string(completes)+"@sha256:hotfix", b.ecs.running("b"))
}

// TestErrorsAreExplained checks that every reported AWS error is explained.
func TestErrorsAreExplained(t *testing.T) {
	for name, call := range map[string]string{"before anything is changed": "DescribeServices", "on the way": "UpdateService ecs-b-service"} {
		t.Run(name, func(t *testing.T) {
			b := newFixture(completes, completes)
			b.ecs.failCall = failCalls(call, "AccessDeniedException", 1<<30)
			b.engine.Explain = func(err error) error { return fmt.Errorf("explained: %w", err) }
			got := b.engine.Release(t.Context(), b.request)
			require.NotEqual(t, report.Succeeded, got.Result)
			require.Contains(t, got.Error, "explained: ")
			for _, s := range got.Services {
				if s.Error != "" {
					require.Contains(t, s.Error, "explained: ")
				}
			}
		})
	}
}
