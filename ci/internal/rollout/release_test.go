package rollout_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/platform"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/rollout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	oldImage = "repo@sha256:old"
	newSHA   = "0123456789012345678901234567890123456789"
)

// bench is a release on a fake ECS with the services "a" and "b".
type bench struct {
	ecs     *fakeECS
	engine  rollout.Engine
	request rollout.Request

	mu     sync.Mutex
	events []string
}

// newBench starts both services at the old image and wants the given ones.
func newBench(a, b fate) *bench {
	t := &bench{ecs: newFakeECS()}
	t.request = rollout.Request{Cluster: platform.Cluster, Version: newSHA}
	for name, want := range map[string]fate{"a": a, "b": b} {
		t.ecs.addService(name, oldImage)
		image := oldImage
		if want != "" {
			image = string(want) + "@sha256:new"
		}
		t.request.Targets = append(t.request.Targets, rollout.Target{Service: platform.Service{Name: name}, Image: image})
	}
	if t.request.Targets[0].Service.Name == "b" {
		t.request.Targets[0], t.request.Targets[1] = t.request.Targets[1], t.request.Targets[0]
	}
	t.ecs.calls = nil
	t.engine = rollout.Engine{ECS: t.ecs, Logs: fakeLogs{}, Clock: &fakeClock{now: time.Unix(0, 0)}, Event: func(service, text string) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.events = append(t.events, service+": "+text)
	}}
	return t
}

func (b *bench) told(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(strings.Join(b.events, "\n"), text)
}

func TestRelease(t *testing.T) {
	tests := map[string]struct {
		a, b     fate
		result   report.Result
		code     outcome.Code
		services [2]report.Result
		err      string
	}{
		"both arrive":                    {completes, completes, report.Succeeded, outcome.Done, [2]report.Result{report.Succeeded, report.Succeeded}, ""},
		"nothing to do":                  {"", "", report.Unchanged, outcome.Done, [2]report.Result{report.Unchanged, report.Unchanged}, ""},
		"one is unchanged":               {completes, "", report.Succeeded, outcome.Done, [2]report.Result{report.Succeeded, report.Unchanged}, ""},
		"ECS rolls one back":             {completes, rollsBack, report.Restored, outcome.Restored, [2]report.Result{report.Restored, report.Restored}, "b: the service deployment is ROLLBACK_SUCCESSFUL"},
		"ECS gives one up":               {fails, completes, report.Restored, outcome.Restored, [2]report.Result{report.Restored, report.Restored}, "a: tasks failed to start"},
		"one never arrives":              {stays, completes, report.Restored, outcome.Restored, [2]report.Result{report.Restored, report.Restored}, "a: not complete within the time limit"},
		"both fail":                      {rollsBack, rollsBack, report.Restored, outcome.Restored, [2]report.Result{report.Restored, report.Restored}, "the service deployment is ROLLBACK_SUCCESSFUL"},
		"somebody else deploys":          {completes, replaced, report.Restored, outcome.Restored, [2]report.Result{report.Restored, report.Restored}, "b: the service deployment is STOPPED"},
		"a service is deleted":           {completes, vanishes, report.Failed, outcome.Unrestored, [2]report.Result{report.Restored, report.Failed}, "b: the service was deleted"},
		"an unchanged one is left alone": {"", rollsBack, report.Restored, outcome.Restored, [2]report.Result{report.Unchanged, report.Restored}, "b: "},
	}
	for name, tt := range tests {
		for _, lacksAPI := range []bool{false, true} {
			t.Run(name+map[bool]string{true: " without the service-deployments API"}[lacksAPI], func(t *testing.T) {
				b := newBench(tt.a, tt.b)
				if lacksAPI {
					b.ecs.refuse = func(operation, _ string) error {
						if strings.Contains(operation, "ServiceDeployment") {
							return apiError("UnknownOperationException")
						}
						return nil
					}
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

// requireAllOrNothing checks the promise: every service runs what the report
// says it runs.
func requireAllOrNothing(t *testing.T, b *bench, got report.Release) {
	t.Helper()
	for n, service := range got.Services {
		switch service.Result {
		case report.Succeeded:
			require.Equal(t, b.request.Targets[n].Image, b.ecs.running(service.Name))
			require.NotEmpty(t, service.DeploymentID)
		case report.Restored, report.Unchanged:
			require.Equal(t, oldImage, b.ecs.running(service.Name))
		case report.Failed:
			require.Equal(t, outcome.Unrestored, got.ExitCode)
			require.Contains(t, got.Next, "aws ecs update-service --cluster ecs-cluster --service ecs-"+service.Name+"-service --task-definition "+service.From.TaskDefinition)
		}
	}
}

func TestReleaseTellsWhatItDid(t *testing.T) {
	b := newBench(completes, completes)
	got := b.engine.Release(t.Context(), b.request)
	a := got.Services[0]
	require.Equal(t, report.Version{TaskDefinition: "arn:aws:ecs:us-east-1:1:task-definition/ecs-a-task:" + a.From.TaskDefinition[len(a.From.TaskDefinition)-1:], Image: oldImage, SHA: "old"}, a.From)
	require.Equal(t, "good@sha256:new", a.To.Image)
	require.Equal(t, newSHA, a.To.SHA)
	require.Contains(t, a.To.TaskDefinition, "task-definition/ecs-a-task:")
	require.Regexp(t, `^ecs-svc/\d+$`, a.DeploymentID)
	require.Positive(t, a.DurationMS)
	require.True(t, b.told("a: has started 1 tasks"), "service events are told without their prefix")

	registered := b.ecs.definitions[len(b.ecs.definitions)-2]
	require.Equal(t, newSHA, aws.ToString(registered.ContainerDefinitions[0].Environment[0].Value))
	require.Equal(t, []types.Tag{
		{Key: aws.String("slipway:sha"), Value: aws.String(newSHA)}, {Key: aws.String("slipway:digest"), Value: aws.String("sha256:new")},
	}, b.ecs.tags[aws.ToString(registered.TaskDefinitionArn)])
}

func TestReleaseAgainIsUnchanged(t *testing.T) {
	b := newBench(completes, completes)
	require.Equal(t, report.Succeeded, b.engine.Release(t.Context(), b.request).Result)
	b.ecs.calls = nil
	b.request.Version = "another commit with the same images"
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, report.Unchanged, got.Result)
	require.Equal(t, newSHA, got.Services[0].To.SHA, "what runs was built from the earlier commit")
	require.Zero(t, b.ecs.count("RegisterTaskDefinition")+b.ecs.count("UpdateService"))
}

func TestReleaseUsesARevisionThatIsThereAlready(t *testing.T) {
	b := newBench(completes, "")
	first := b.ecs.definitions[0]
	container := first.ContainerDefinitions[0]
	container.Image = aws.String("good@sha256:new")
	container.Environment = []types.KeyValuePair{{Name: aws.String("VERSION"), Value: aws.String(newSHA)}}
	container.Name = aws.String("a")
	arn := b.ecs.register("ecs-a-task", container)
	container.LogConfiguration.Options["awslogs-group"] = "/ecs/ecs-a"
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, report.Succeeded, got.Result)
	require.Equal(t, arn, got.Services[0].To.TaskDefinition)
	require.Zero(t, b.ecs.count("RegisterTaskDefinition"))
}

func TestReleaseLeavesProductionAlone(t *testing.T) {
	tests := map[string]struct {
		change func(*bench)
		result report.Result
		code   outcome.Code
		want   string
	}{
		"a service is missing": {
			func(b *bench) { delete(b.ecs.services, "ecs-b-service") },
			report.Failed, outcome.Failed, "cluster ecs-cluster has no active service ecs-b-service: create it with Terraform",
		},
		"a container has another name": {
			func(b *bench) {
				b.ecs.definitions[len(b.ecs.definitions)-1].ContainerDefinitions[0].Name = aws.String("main")
			},
			report.Failed, outcome.Usage, `has no container "`,
		},
		"a deployment is in progress": {
			func(b *bench) { b.ecs.deploy("ecs-a-service", aws.ToString(b.ecs.definitions[0].TaskDefinitionArn)) },
			report.Refused, outcome.Refused, "service ecs-a-service has a deployment in progress (PRIMARY ecs-svc/3, ACTIVE ecs-svc/",
		},
		"ECS cannot be read": {
			func(b *bench) { b.ecs.refuse = refuse("DescribeServices", 1<<30) },
			report.Failed, outcome.Failed, "describing services of cluster ecs-cluster",
		},
		"a definition cannot be read": {
			func(b *bench) { b.ecs.refuse = refuse("DescribeTaskDefinition", 1<<30) },
			report.Failed, outcome.Failed, "describing task definition",
		},
		"a revision is refused": {
			func(b *bench) { b.ecs.refuse = refuse("RegisterTaskDefinition ecs-b-task", 1<<30) },
			report.Failed, outcome.Failed, "registering a revision of ecs-b-task",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(completes, completes)
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

// refuse makes the first n calls of an operation fail.
func refuse(call string, n int) func(operation, service string) error {
	return func(operation, service string) error {
		if strings.HasPrefix(operation+" "+service, call) && n > 0 {
			n--
			return apiError("ServerException")
		}
		return nil
	}
}

func TestReleaseSurvives(t *testing.T) {
	tests := map[string]struct {
		a, b   fate
		refuse func(operation, service string) error
		result report.Result
		code   outcome.Code
	}{
		"the second update is refused":           {completes, completes, refuse("UpdateService ecs-b-service", 1), report.Restored, outcome.Restored},
		"a look that fails":                      {completes, completes, after("UpdateService", refuse("DescribeServices", 3)), report.Succeeded, outcome.Done},
		"ECS out of sight for too long":          {completes, completes, after("UpdateService", refuse("DescribeServices", 60)), report.Restored, outcome.Restored},
		"its deployments out of sight":           {completes, completes, refuse("DescribeServiceDeployments", 2), report.Succeeded, outcome.Done},
		"the list of them out of sight":          {completes, completes, refuse("ListServiceDeployments", 2), report.Succeeded, outcome.Done},
		"a stop that is refused":                 {stays, completes, refuse("StopServiceDeployment", 9), report.Restored, outcome.Restored},
		"a restore that is refused once":         {fails, completes, after("UpdateService ecs-a", refuse("UpdateService ecs-a", 1)), report.Restored, outcome.Restored},
		"a restore that is refused for all time": {fails, completes, after("UpdateService ecs-a", refuse("UpdateService ecs-a", 1<<30)), report.Failed, outcome.Unrestored},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(tt.a, tt.b)
			b.ecs.refuse = tt.refuse
			b.engine.Clock = &deadlineClock{fakeClock: fakeClock{now: time.Unix(0, 0)}}
			b.request.RestoreTimeout = 200 * time.Millisecond
			got := b.engine.Release(t.Context(), b.request)
			require.Equal(t, tt.result, got.Result, "%s\n%s", got.Error, strings.Join(b.events, "\n"))
			require.Equal(t, tt.code, got.ExitCode)
			requireAllOrNothing(t, b, got)
		})
	}
}

// after lets a second fault begin once the first call of an operation is over.
func after(call string, fault func(operation, service string) error) func(operation, service string) error {
	begun := false
	return func(operation, service string) error {
		if begun {
			return fault(operation, service)
		}
		begun = strings.HasPrefix(operation+" "+service, call)
		return nil
	}
}

// deadlineClock jumps, and lets real time limits pass a little.
type deadlineClock struct{ fakeClock }

func (c *deadlineClock) Sleep(ctx context.Context, d time.Duration) error {
	if err := c.fakeClock.Sleep(ctx, d); err != nil {
		return err
	}
	timer := time.NewTimer(time.Millisecond)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

func TestVerifyFails(t *testing.T) {
	b := newBench(completes, completes)
	b.request.Verify = func(context.Context) error {
		require.Equal(t, "good@sha256:new", b.ecs.running("a"), "asked when all is there")
		return errors.New("/api/ answers 502")
	}
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, report.Restored, got.Result)
	require.Equal(t, outcome.Restored, got.ExitCode)
	require.Equal(t, "verifying the release: /api/ answers 502", got.Error)
	requireAllOrNothing(t, b, got)
}

func TestInterruptedAtEveryCall(t *testing.T) {
	b := newBench(completes, completes)
	b.engine.Release(t.Context(), b.request)
	calls := len(b.ecs.calls)
	require.Greater(t, calls, 10)
	for n := range calls {
		b := newBench(completes, completes)
		ctx, cancel := context.WithCancel(t.Context())
		seen := 0
		b.ecs.refuse = func(string, string) error {
			if seen == n {
				cancel()
			}
			seen++
			return nil
		}
		got := b.engine.Release(ctx, b.request)
		cancel()
		if got.Result != report.Succeeded {
			require.Equal(t, report.Interrupted, got.Result, "call %d: %s", n, got.Error)
			require.Equal(t, outcome.Interrupted, got.ExitCode, "call %d", n)
		}
		requireAllOrNothing(t, b, got)
	}
}

func TestLostAnswerOfUpdateService(t *testing.T) {
	b := newBench(completes, stays)
	lost := &lossyECS{fakeECS: b.ecs}
	b.engine.ECS = lost
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, report.Restored, got.Result, got.Error)
	requireAllOrNothing(t, b, got)
}

func TestCauses(t *testing.T) {
	b := newBench(completes, rollsBack)
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
		LogTail: []string{"in ecs/b/" + id, "last words"},
	}, service.Causes[0])
	require.True(t, b.told("b: cause: Essential container in task exited: panic, exit code 1"))

	t.Run("a diagnosis that fails does not change the verdict", func(t *testing.T) {
		b := newBench(completes, rollsBack)
		b.ecs.refuse = refuse("ListTasks", 1<<30)
		got := b.engine.Release(t.Context(), b.request)
		require.Equal(t, report.Restored, got.Result)
		require.True(t, b.told("could not find out why: listing stopped tasks"))
	})
	t.Run("nor do logs that cannot be read", func(t *testing.T) {
		for code, told := range map[string]bool{"AccessDeniedException": true, "ResourceNotFoundException": false} {
			b := newBench(completes, rollsBack)
			b.ecs.stopped = []types.Task{crashed("t", "ecs-svc/3"), crashed("t", "ecs-svc/4")}
			b.engine.Logs = fakeLogs{err: apiError(code)}
			got := b.engine.Release(t.Context(), b.request)
			require.Equal(t, report.Restored, got.Result)
			require.Equal(t, told, b.told("reading log stream ecs/b/t of /ecs/ecs-b"))
		}
	})
}
