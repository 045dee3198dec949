package runtask

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// releaseFixture is a release of services, of which some have a task.
type releaseFixture struct {
	*fixture
	tasks    *ReleaseTasks
	prepared rollout.Prepared
	stages   []string
}

func newReleaseFixture(t *testing.T, services ...string) *releaseFixture {
	t.Helper()
	f := &releaseFixture{fixture: newFixture(t), prepared: rollout.Prepared{ID: "release"}}
	event := func(service, text string) { f.events = append(f.events, service+": "+text) }
	f.tasks = &ReleaseTasks{
		Event: event,
		Stage: func(name string, run func() error) error { f.stages = append(f.stages, name); return run() },
		Runner: func(service string) Runner {
			r := f.Runner
			r.Event = func(text string) { event(service, text) }
			return r
		},
	}
	deployed := f.clock.now.Add(-time.Hour)
	for _, name := range services {
		s := platform.Service{Name: name, ReleaseTask: &platform.ReleaseTask{Command: []string{"migrate"}}}
		f.prepared.Updates = append(f.prepared.Updates, rollout.Update{Service: s, Definition: definition(name), ECSService: types.Service{Deployments: []types.Deployment{
			{Id: aws.String("ecs-svc/" + name), Status: aws.String("PRIMARY"), CreatedAt: &deployed},
		}}})
	}
	return f
}

// run runs the tasks, and returns the report of a release that ends with their error.
func (f *releaseFixture) run(ctx context.Context) (report.Release, error) {
	err := f.tasks.Run(ctx, f.prepared)
	release := report.Release{ExitCode: outcome.Of(err)}
	for _, u := range f.prepared.Updates {
		release.Services = append(release.Services, report.Service{Name: u.Service.Name})
	}
	f.tasks.AddTo(&release)
	return release, err
}

// TestReleaseTasks runs them in the order of names, once a release.
func TestReleaseTasks(t *testing.T) {
	f := newReleaseFixture(t, "b", "a", "c")
	f.prepared.Updates[2].Service.ReleaseTask = nil
	f.ecs.takes = 2 * time.Second
	got, err := f.run(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"release-task"}, f.stages)
	require.Len(t, got.Tasks, 2)
	require.Equal(t, []string{"a", "b"}, []string{got.Tasks[0].Service, got.Tasks[1].Service})
	require.Contains(t, f.events, "a: release task: running ecs-a-task:7")
	require.Contains(t, f.events, "b: the release task has succeeded")
	require.Empty(t, got.Notes)
	require.Equal(t, []int{2, 0}, []int{f.ecs.count("RunTask"), f.ecs.count("StopTask")})
}

func TestNoReleaseTasks(t *testing.T) {
	f := newReleaseFixture(t, "a")
	f.prepared.Updates[0].Service.ReleaseTask = nil
	got, err := f.run(t.Context())
	require.NoError(t, err)
	require.Empty(t, got.Tasks)
	require.Empty(t, f.stages)
	require.Empty(t, f.ecs.calls)
}

// TestEarlierReleaseTask continues with what an earlier process of the release has started.
func TestEarlierReleaseTask(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*releaseFixture, *fakeTask)
		runs   int // calls of RunTask
		want   string
	}{
		"runs": {func(*releaseFixture, *fakeTask) {}, 0, "a: release task: waiting for task task-0, which an earlier process of this release has started"},
		"has succeeded": {func(f *releaseFixture, task *fakeTask) {
			task.stop(f.clock.now, types.TaskStopCodeEssentialContainerExited, "", aws.Int32(0))
		}, 0, "a: release task: task task-0 of this release has succeeded: not run again"},
		"has failed": {func(f *releaseFixture, task *fakeTask) {
			task.stop(f.clock.now, types.TaskStopCodeEssentialContainerExited, "", aws.Int32(1))
		}, 1, "a: release task: running ecs-a-task:7"},
		"was stopped": {func(f *releaseFixture, task *fakeTask) {
			task.stop(f.clock.now, types.TaskStopCodeUserInitiated, "", aws.Int32(0))
		}, 1, "a: release task: running ecs-a-task:7"},
		"of a release that has ended": {func(f *releaseFixture, task *fakeTask) {
			task.stop(f.clock.now, types.TaskStopCodeEssentialContainerExited, "", aws.Int32(0))
			f.prepared.Updates[0].ECSService.Deployments[0].CreatedAt = aws.Time(f.clock.now.Add(time.Second))
		}, 1, "a: release task: running ecs-a-task:7"},
		"all ran, and updates began": {func(f *releaseFixture, _ *fakeTask) { f.prepared.Resumed = true }, 0, "a: the release task ran before the first service of this release was updated: not run again"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newReleaseFixture(t, "a")
			first := Token("release", "a", "ecs-svc/a", "")
			tt.change(f, f.ecs.add("a", "release", first, f.clock.now))
			got, err := f.run(t.Context())
			require.NoError(t, err)
			require.Contains(t, f.events, tt.want)
			require.Equal(t, tt.runs, f.ecs.count("RunTask"))
			require.Len(t, f.ecs.tasks, 1+tt.runs, "another token gives another task")
			require.Len(t, got.Tasks, 1)
			if f.prepared.Resumed {
				require.Equal(t, report.Unchanged, got.Tasks[0].Result)
				require.Empty(t, f.ecs.calls)
			} else {
				require.Equal(t, report.Succeeded, got.Tasks[0].Result)
				require.Equal(t, *f.ecs.tasks[tt.runs].TaskArn, got.Tasks[0].Task)
			}
		})
	}
}

// TestReleaseTaskFails ends the release before the tasks that follow.
func TestReleaseTaskFails(t *testing.T) {
	const undone = "the release task of a has not ended successfully, and is not undone: transactions that it committed stay, so check the database before the next release"
	for name, tt := range map[string]struct {
		change  func(*releaseFixture, context.CancelCauseFunc)
		want    string
		reports string // of the service
		code    outcome.Code
		result  report.Result
		notes   []string
	}{
		"exits with 3": {
			func(f *releaseFixture, _ context.CancelCauseFunc) { f.ecs.exit = aws.Int32(3) },
			"the release task of a failed: container a exited with code 3", "explained: container a exited with code 3", outcome.Failed, report.Failed,
			[]string{undone},
		},
		"out of memory": {
			func(f *releaseFixture, _ context.CancelCauseFunc) { f.ecs.exit = aws.Int32(137) },
			"the release task of a failed: container a exited with code 137", "explained: container a exited with code 137", outcome.Failed, report.Failed,
			[]string{undone},
		},
		"takes too long": {
			func(f *releaseFixture, _ context.CancelCauseFunc) {
				f.ecs.takes, f.prepared.Updates[0].Service.ReleaseTask.Timeout = 0, new(60)
			},
			"the release task of a failed: the task did not end within 1m0s", "explained: the task did not end within 1m0s", outcome.Failed, report.Failed,
			[]string{undone},
		},
		"takes longer than by default": {
			func(f *releaseFixture, _ context.CancelCauseFunc) { f.ecs.takes = 0 },
			"the release task of a failed: the task did not end within 10m0s", "explained: the task did not end within 10m0s", outcome.Failed, report.Failed,
			[]string{undone},
		},
		"does not start": {
			func(f *releaseFixture, _ context.CancelCauseFunc) { f.ecs.unstarted = true },
			"the release task of a failed: the task failed to start: CannotPullContainerError: not found", "explained: the task failed to start: CannotPullContainerError: not found", outcome.Failed, report.Failed, nil,
		},
		"is not listed": {
			func(f *releaseFixture, _ context.CancelCauseFunc) {
				f.ecs.fail = on("ListTasks", 0, apiError("AccessDeniedException"))
			},
			"the release task of a failed: looking for an earlier task of this release: listing tasks of cluster ecs-cluster: explained: api error AccessDeniedException: of the fake",
			"explained: looking for an earlier task of this release: listing tasks of cluster ecs-cluster: explained: api error AccessDeniedException: of the fake", outcome.Failed, report.Failed, nil,
		},
		"is interrupted": {func(f *releaseFixture, cancel context.CancelCauseFunc) {
			f.ecs.takes = 0
			f.ecs.fail = func(operation string, n int) error {
				if operation == "DescribeTasks" && n == 9 {
					cancel(outcome.Interruption("interrupted by SIGINT"))
				}
				return nil
			}
		}, "interrupted by SIGINT", "explained: interrupted by SIGINT", outcome.Interrupted, report.Interrupted, []string{undone}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newReleaseFixture(t, "a", "b")
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			tt.change(f, cancel)
			got, err := f.run(ctx)
			require.EqualError(t, err, tt.want)
			require.Equal(t, tt.code, got.ExitCode)
			require.Len(t, got.Tasks, 1, "b's does not run")
			require.Equal(t, tt.result, got.Tasks[0].Result)
			require.Equal(t, tt.reports, got.Services[0].Error)
			require.Empty(t, got.Services[1].Error)
			require.Equal(t, tt.notes, got.Notes)
			require.LessOrEqual(t, len(f.ecs.tasks), 1)
			if len(f.ecs.tasks) > 0 {
				require.Len(t, got.Services[0].Causes, 1)
				cause := got.Services[0].Causes[0]
				require.Contains(t, f.events, "a: cause: "+cause.Headline())
				if cause.Hint != "" {
					require.Contains(t, f.events, "a: hint: "+cause.Hint)
				}
			}
		})
	}
}

// TestNotesOfFailedRelease: a release that failed after its tasks does not undo them.
func TestNotesOfFailedRelease(t *testing.T) {
	for _, resumed := range []bool{false, true} {
		t.Run(fmt.Sprintf("resumed %v", resumed), func(t *testing.T) {
			f := newReleaseFixture(t, "a")
			f.prepared.Resumed = resumed
			require.NoError(t, f.tasks.Run(t.Context(), f.prepared))
			release := report.Release{ExitCode: outcome.Restored}
			f.tasks.AddTo(&release)
			require.Equal(t, []string{"the release task of a has run and is not undone: the new version's schema stays, and the previous version must work with it"}, release.Notes)
		})
	}
}
