package runtask

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
)

// fakeECS runs tasks on a fake clock: those of one client token once.
type fakeECS struct {
	clock *instantClock
	tasks []*fakeTask
	calls []string // names of operations

	takes     time.Duration // how long a new task runs; 0 means until it is stopped
	exit      *int32        // its exit code
	hidden    time.Duration // until a new task is visible
	unstarted bool          // its container does not start
	deaf      bool          // StopTask has no effect
	failures  []types.Failure
	empty     bool // RunTask returns nothing

	// fail returns the error of a call that has no effect, lose that of one whose response
	// is lost. n counts the calls of the operation from 1.
	fail, lose func(operation string, n int) error
}

type fakeTask struct {
	types.Task
	token   string
	end, at time.Time
}

func apiError(code string) error { return &smithy.GenericAPIError{Code: code, Message: "of the fake"} }

func (f *fakeECS) call(operation string, hook func(string, int) error) error {
	if hook == nil {
		return nil
	}
	return hook(operation, f.count(operation))
}

func (f *fakeECS) begin(operation string) error {
	f.calls = append(f.calls, operation)
	return f.call(operation, f.fail)
}

func (f *fakeECS) count(operation string) (n int) {
	for _, c := range f.calls {
		if c == operation {
			n++
		}
	}
	return n
}

// add adds a task of a service that was started at a time.
func (f *fakeECS) add(service, startedBy, token string, at time.Time) *fakeTask {
	t := &fakeTask{token: token, at: at, Task: types.Task{
		TaskArn: aws.String(fmt.Sprintf("arn:aws:ecs:us-east-1:1:task/ecs-cluster/task-%d", len(f.tasks))), TaskDefinitionArn: aws.String(revisionOf(service)),
		StartedBy: &startedBy, CreatedAt: &at, LastStatus: aws.String("PENDING"), DesiredStatus: aws.String("RUNNING"),
		Containers: []types.Container{{Name: &service}, {Name: aws.String("agent")}},
	}}
	if f.takes > 0 {
		t.end = at.Add(f.takes)
	}
	f.tasks = append(f.tasks, t)
	return t
}

func (t *fakeTask) stop(at time.Time, code types.TaskStopCode, reason string, exit *int32) {
	t.LastStatus, t.DesiredStatus = aws.String("STOPPED"), aws.String("STOPPED")
	t.StopCode, t.StoppedReason, t.StoppedAt = code, &reason, &at
	t.Containers = slices.Clone(t.Containers)
	t.Containers[0].ExitCode = exit
}

// described returns the visible tasks that match, as they are now.
func (f *fakeECS) described(match func(*fakeTask) bool) []types.Task {
	var found []types.Task
	now := f.clock.Now()
	for _, t := range f.tasks {
		switch {
		case aws.ToString(t.LastStatus) == "STOPPED":
		case !t.end.IsZero() && !now.Before(t.end) && f.unstarted:
			t.stop(now, types.TaskStopCodeTaskFailedToStart, "CannotPullContainerError: not found", nil)
		case !t.end.IsZero() && !now.Before(t.end):
			t.stop(now, types.TaskStopCodeEssentialContainerExited, "Essential container in task exited", f.exit)
		case now.Sub(t.at) >= time.Second && !f.unstarted:
			t.LastStatus = aws.String("RUNNING")
		}
		if match(t) && now.Sub(t.at) >= f.hidden {
			found = append(found, t.Task)
		}
	}
	return found
}

func (f *fakeECS) RunTask(_ context.Context, in *ecs.RunTaskInput, _ ...func(*ecs.Options)) (*ecs.RunTaskOutput, error) {
	if err := f.begin("RunTask"); err != nil {
		return nil, err
	}
	if f.failures != nil || f.empty {
		return &ecs.RunTaskOutput{Failures: f.failures}, nil
	}
	n := slices.IndexFunc(f.tasks, func(t *fakeTask) bool { return t.token == *in.ClientToken })
	if n < 0 {
		n = len(f.tasks)
		service, _, _ := strings.Cut(strings.TrimPrefix(machine.ShortARN(*in.TaskDefinition), "ecs-"), "-")
		f.add(service, *in.StartedBy, *in.ClientToken, f.clock.Now())
	}
	return &ecs.RunTaskOutput{Tasks: []types.Task{f.tasks[n].Task}}, f.call("RunTask", f.lose)
}

func (f *fakeECS) DescribeTasks(_ context.Context, in *ecs.DescribeTasksInput, _ ...func(*ecs.Options)) (*ecs.DescribeTasksOutput, error) {
	if err := f.begin("DescribeTasks"); err != nil {
		return nil, err
	}
	return &ecs.DescribeTasksOutput{Tasks: f.described(func(t *fakeTask) bool { return slices.Contains(in.Tasks, *t.TaskArn) })}, nil
}

// ListTasks has one task a page.
func (f *fakeECS) ListTasks(_ context.Context, in *ecs.ListTasksInput, _ ...func(*ecs.Options)) (*ecs.ListTasksOutput, error) {
	if err := f.begin("ListTasks"); err != nil {
		return nil, err
	}
	at, out := 0, &ecs.ListTasksOutput{}
	if in.NextToken != nil {
		_, _ = fmt.Sscan(*in.NextToken, &at)
	}
	found := f.described(func(t *fakeTask) bool {
		return *t.StartedBy == *in.StartedBy && *t.DesiredStatus == string(in.DesiredStatus)
	})
	if at < len(found) {
		out.TaskArns = []string{*found[at].TaskArn}
	}
	if at+1 < len(found) {
		out.NextToken = aws.String(fmt.Sprint(at + 1))
	}
	return out, nil
}

func (f *fakeECS) StopTask(_ context.Context, in *ecs.StopTaskInput, _ ...func(*ecs.Options)) (*ecs.StopTaskOutput, error) {
	if err := f.begin("StopTask"); err != nil {
		return nil, err
	}
	for _, t := range f.tasks {
		if *t.TaskArn == *in.Task && !f.deaf {
			t.stop(f.clock.Now(), types.TaskStopCodeUserInitiated, *in.Reason, aws.Int32(143))
		}
	}
	return &ecs.StopTaskOutput{}, f.call("StopTask", f.lose)
}

// on returns a hook that fails the first times calls of an operation; all if times is 0.
func on(operation string, times int, err error) func(string, int) error {
	return func(called string, n int) error {
		if called != operation || times > 0 && n > times {
			return nil
		}
		return err
	}
}

func revisionOf(service string) string {
	return "arn:aws:ecs:us-east-1:1:task-definition/ecs-" + service + "-task:7"
}

// definition returns the revision of a service, with a sidecar.
func definition(service string) types.TaskDefinition {
	d := types.TaskDefinition{TaskDefinitionArn: aws.String(revisionOf(service)), Family: aws.String("ecs-" + service + "-task")}
	for _, name := range []string{service, "agent"} {
		d.ContainerDefinitions = append(d.ContainerDefinitions, types.ContainerDefinition{Name: &name, LogConfiguration: &types.LogConfiguration{
			LogDriver: types.LogDriverAwslogs, Options: map[string]string{"awslogs-group": "/g", "awslogs-stream-prefix": "p"},
		}})
	}
	return d
}

// fixture is a runner of tasks of the service app, whose log has pages.
type fixture struct {
	Runner
	ecs     *fakeECS
	logs    *pagedLogs
	clock   *instantClock
	spec    Spec
	events  []string
	lines   []string
	renewed int
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{clock: &instantClock{now: time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)}, logs: &pagedLogs{pages: [][]string{{"one"}, {"two"}}}}
	f.ecs = &fakeECS{clock: f.clock, takes: 20 * time.Second, exit: aws.Int32(0)}
	f.Runner = Runner{
		ECS: f.ecs, Logs: f.logs, Clock: f.clock, Event: func(text string) { f.events = append(f.events, text) },
		Output: func(lines []string) { f.lines = append(f.lines, lines...) }, Renew: func() { f.renewed++ },
		Explain: func(err error) error { return fmt.Errorf("explained: %w", err) },
	}
	f.spec = Spec{
		Service: platform.Service{Name: "app"}, StartedBy: "release", ClientToken: "token", Timeout: 10 * time.Minute,
		Definition: definition("app"),
	}
	return f
}

// running returns how many tasks run.
func (f *fixture) running() int {
	return len(f.ecs.described(func(t *fakeTask) bool { return *t.LastStatus != "STOPPED" }))
}

func (f *fixture) log() string { return strings.Join(f.events, "\n") }
