package rollout_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/runtask"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// taskTime is how long a standalone task runs.
const taskTime = 2 * time.Second

// taskBehavior is how standalone tasks behave.
type taskBehavior struct {
	code      int32         // exit code
	hidden    time.Duration // until a new task is visible
	endless   bool          // runs until it is stopped
	notPlaced bool          // RunTask returns a failure
}

// fakeTask is a standalone task.
type fakeTask struct {
	input   *ecs.RunTaskInput
	arn     string
	at      time.Time
	stopped *types.Task // nil while it runs
}

func (f *fakeECS) RunTask(_ context.Context, in *ecs.RunTaskInput, _ ...func(*ecs.Options)) (*ecs.RunTaskOutput, error) {
	family, _, _ := strings.Cut((*in.TaskDefinition)[strings.LastIndex(*in.TaskDefinition, "/")+1:], ":")
	done, err := f.begin("RunTask", family)
	if err != nil {
		return nil, err
	}
	defer done()
	if f.runTask.notPlaced {
		return &ecs.RunTaskOutput{Failures: []types.Failure{{Reason: aws.String("RESOURCE:ENI")}}}, nil
	}
	for _, task := range f.tasks {
		if *task.input.ClientToken != *in.ClientToken {
			continue
		}
		if !reflect.DeepEqual(task.input, in) {
			return nil, &types.ConflictException{ResourceIds: []string{task.arn}}
		}
		return &ecs.RunTaskOutput{Tasks: []types.Task{f.standalone(task)}}, f.response("RunTask", family)
	}
	task := &fakeTask{input: in, at: f.clock.Now(), arn: fmt.Sprintf("arn:aws:ecs:us-east-1:1:task/ecs-cluster/standalone-%d", len(f.tasks))}
	f.tasks = append(f.tasks, task)
	if f.executing != nil {
		f.executing()
	}
	return &ecs.RunTaskOutput{Tasks: []types.Task{f.standalone(task)}}, f.response("RunTask", family)
}

// standalone returns a standalone task as ECS describes it.
func (f *fakeECS) standalone(task *fakeTask) types.Task {
	if task.stopped != nil {
		return *task.stopped
	}
	described := types.Task{
		TaskArn: &task.arn, TaskDefinitionArn: task.input.TaskDefinition, StartedBy: task.input.StartedBy, CreatedAt: &task.at,
		LastStatus: aws.String("RUNNING"), DesiredStatus: aws.String("RUNNING"),
		Containers: []types.Container{{Name: task.input.Overrides.ContainerOverrides[0].Name}},
	}
	if f.clock.Now().Sub(task.at) >= taskTime && !f.runTask.endless {
		end(&described, f.clock.Now(), types.TaskStopCodeEssentialContainerExited, "Essential container in task exited", f.runTask.code)
		task.stopped = &described
	}
	return described
}

func end(task *types.Task, now time.Time, code types.TaskStopCode, reason string, exit int32) {
	task.LastStatus, task.DesiredStatus = aws.String("STOPPED"), aws.String("STOPPED")
	task.StopCode, task.StoppedReason, task.StoppedAt = code, &reason, &now
	task.Containers = slices.Clone(task.Containers)
	task.Containers[0].ExitCode = &exit
}

// listStandalone lists tasks by startedBy or by family.
func (f *fakeECS) listStandalone(startedBy, family *string, status types.DesiredStatus) []string {
	var arns []string
	for _, task := range f.tasks {
		described := f.standalone(task)
		if selected := startedBy != nil && *described.StartedBy == *startedBy || family != nil && strings.Contains(*described.TaskDefinitionArn, "/"+*family+":"); selected && *described.DesiredStatus == string(status) && f.visible(task) {
			arns = append(arns, task.arn)
		}
	}
	return arns
}

func (f *fakeECS) visible(task *fakeTask) bool {
	return f.clock.Now().Sub(task.at) >= f.runTask.hidden
}

func (f *fakeECS) describeStandalone(arns []string) []types.Task {
	var found []types.Task
	for _, task := range f.tasks {
		if slices.Contains(arns, task.arn) && f.visible(task) {
			found = append(found, f.standalone(task))
		}
	}
	return found
}

func (f *fakeECS) StopTask(_ context.Context, in *ecs.StopTaskInput, _ ...func(*ecs.Options)) (*ecs.StopTaskOutput, error) {
	done, err := f.begin("StopTask", "")
	if err != nil {
		return nil, err
	}
	defer done()
	for _, task := range f.tasks {
		if task.arn != *in.Task {
			continue
		}
		if described := f.standalone(task); task.stopped == nil {
			end(&described, f.clock.Now(), types.TaskStopCodeUserInitiated, *in.Reason, 143)
			task.stopped = &described
		}
		return &ecs.StopTaskOutput{}, f.response("StopTask", "")
	}
	return nil, apiError("InvalidParameterException")
}

// addReleaseTasks gives both services a release task.
func (b *fixture) addReleaseTasks() {
	for n := range b.request.Targets {
		b.request.Targets[n].Service.ReleaseTask = &platform.ReleaseTask{Command: []string{"migrate"}, Timeout: new(60)}
	}
	b.tasks = &runtask.ReleaseTasks{
		Event: b.engine.Event,
		Stage: func(_ string, run func() error) error { return run() },
		Runner: func(service string) runtask.Runner {
			return runtask.Runner{
				ECS: b.ecs, Logs: b.engine.Logs, Clock: b.engine.Clock, Renew: b.engine.Renew,
				Event:  func(text string) { b.engine.Event(service, text) },
				Output: func(lines []string) { b.engine.Event(service, "| "+strings.Join(lines, "\n| ")) },
			}
		},
	}
	b.request.BeforeUpdate = b.tasks.Run
}

// run runs the release, with the release tasks in its report.
func (b *fixture) run(ctx context.Context) report.Release {
	got := b.engine.Release(ctx, b.request)
	if b.tasks != nil {
		b.tasks.AddTo(&got)
	}
	return got
}

// executions returns how many standalone tasks of a service have started.
func (b *fixture) executions(name string) (n int) {
	for _, task := range b.ecs.tasks {
		if strings.Contains(*task.input.TaskDefinition, "/ecs-"+name+"-task:") {
			n++
		}
	}
	return n
}

// runningTasks returns how many standalone tasks run.
func (b *fixture) runningTasks() (n int) {
	for _, task := range b.ecs.tasks {
		if *b.ecs.standalone(task).LastStatus != "STOPPED" {
			n++
		}
	}
	return n
}
