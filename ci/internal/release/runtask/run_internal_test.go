package runtask

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	logstypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// errLost is the error of a call without a response.
var errLost = &net.OpError{Op: "read", Err: errors.New("connection reset")}

// TestRun runs a task to its end.
func TestRun(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*fixture)
		want   string // the error; "" for success
		exit   *int32
		tail   []string
		lines  []string
	}{
		"succeeds":           {func(*fixture) {}, "", aws.Int32(0), nil, []string{"one", "two"}},
		"not yet visible":    {func(f *fixture) { f.ecs.hidden = 15 * time.Second }, "", aws.Int32(0), nil, []string{"one", "two"}},
		"long":               {func(f *fixture) { f.ecs.takes = 5 * time.Minute }, "", aws.Int32(0), nil, []string{"one", "two"}},
		"reads fail a while": {func(f *fixture) { f.ecs.fail = on("DescribeTasks", 20, apiError("ServerException")) }, "", aws.Int32(0), nil, []string{"one", "two"}},
		"exits with 3":       {func(f *fixture) { f.ecs.exit = aws.Int32(3) }, "container app exited with code 3", aws.Int32(3), []string{"one", "two"}, []string{"one", "two"}},
		"does not start":     {func(f *fixture) { f.ecs.unstarted = true }, "the task failed to start: CannotPullContainerError: not found", nil, nil, nil},
		"no access to the log": {func(f *fixture) {
			f.ecs.exit, f.logs.errs = aws.Int32(3), map[int]error{1: apiError("AccessDeniedException")}
		}, "container app exited with code 3", aws.Int32(3), nil, nil},
		"the log appears late":  {func(f *fixture) { f.logs.errs = missing(25); f.ecs.takes = 10 * time.Second }, "", aws.Int32(0), nil, []string{"one", "two"}},
		"the log never appears": {func(f *fixture) { f.logs.errs = missing(1000) }, "", aws.Int32(0), nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			tt.change(f)
			got := f.Run(t.Context(), f.spec)
			require.Equal(t, "arn:aws:ecs:us-east-1:1:task/ecs-cluster/task-0", got.Task)
			require.Equal(t, tt.exit, got.ExitCode)
			require.GreaterOrEqual(t, got.Duration, f.ecs.takes)
			require.Equal(t, !f.ecs.unstarted, got.Started)
			require.Equal(t, tt.lines, f.lines)
			require.Zero(t, f.ecs.count("StopTask"))
			if tt.want == "" {
				require.NoError(t, got.Err)
				require.Nil(t, got.Cause)
				require.Equal(t, report.Succeeded, got.Report("app").Result)
				return
			}
			require.EqualError(t, got.Err, tt.want)
			require.Equal(t, tt.tail, got.Cause.LogTail)
			require.Equal(t, got.Task, got.Cause.Task)
			require.Equal(t, report.Task{Service: "app", Task: got.Task, Result: report.Failed, ExitCode: tt.exit, DurationMS: got.Duration.Milliseconds()}, got.Report("app"))
		})
	}
}

// missing returns the errors of reads of a log that does not exist yet.
func missing(reads int) map[int]error {
	errs := map[int]error{}
	for n := range reads {
		errs[n+1] = &logstypes.ResourceNotFoundException{}
	}
	return errs
}

// TestRunFollowsStates reports each state once, and says why there is no log.
func TestRunFollowsStates(t *testing.T) {
	f := newFixture(t)
	f.logs.errs = map[int]error{1: apiError("AccessDeniedException")}
	require.NoError(t, f.Run(t.Context(), f.spec).Err)
	require.Equal(t, []string{
		"task task-0 is PENDING", "task task-0 is RUNNING",
		"no log: cannot read stream p/app/task-0 of log group /g: explained: api error AccessDeniedException: of the fake", "task task-0 is STOPPED",
	}, f.events)
	require.Equal(t, 1, f.logs.reads, "not tried again")
}

// TestLogOfFailedSidecar shows the log of the container that made the task fail.
func TestLogOfFailedSidecar(t *testing.T) {
	f := newFixture(t)
	f.spec.Definition.ContainerDefinitions[1].Essential = aws.Bool(true)
	f.ecs.exit = nil
	task := f.ecs.add("app", "release", "token", f.clock.now)
	task.stop(f.clock.now, types.TaskStopCodeEssentialContainerExited, "Essential container in task exited", nil)
	task.Containers[1].ExitCode = aws.Int32(5)
	got := f.Wait(t.Context(), f.spec, *task.TaskArn)
	require.EqualError(t, got.Err, "container app ended without an exit code: Essential container in task exited")
	require.Contains(t, got.Cause.Reason, "agent")
	require.Equal(t, int32(5), *got.Cause.ExitCode)
	require.Equal(t, []string{"one"}, got.Cause.LogTail, "the last page of its own log")

	f.logs.errs = map[int]error{f.logs.reads + 1: apiError("AccessDeniedException"), f.logs.reads + 2: apiError("AccessDeniedException")}
	require.Empty(t, f.Wait(t.Context(), f.spec, *task.TaskArn).Cause.LogTail, "the cause is known without")
}

// TestStart starts one task, whatever happens to the call.
func TestStart(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*fakeECS)
		want   string // the error; "" if it starts
		calls  int    // of RunTask
		tasks  int    // started
		stops  int
	}{
		"at once":             {func(*fakeECS) {}, "", 1, 1, 0},
		"throttled":           {func(e *fakeECS) { e.fail = on("RunTask", 30, apiError("ThrottlingException")) }, "", 31, 1, 0},
		"throttled for ever":  {func(e *fakeECS) { e.fail = on("RunTask", 0, apiError("ThrottlingException")) }, "cannot start a task of ecs-app-task:7: explained: api error ThrottlingException", startTries, 0, 0},
		"lost once":           {func(e *fakeECS) { e.lose = on("RunTask", 1, errLost) }, "", 2, 1, 0},
		"lost always":         {func(e *fakeECS) { e.lose = on("RunTask", 0, errLost) }, "cannot start a task of ecs-app-task:7: explained: read: connection reset", startLost, 1, 1},
		"lost, then rejected": {func(e *fakeECS) { e.lose, e.fail = on("RunTask", 1, errLost), lateDenied }, "explained: api error AccessDeniedException", 2, 1, 1},
		"expired credentials": {func(e *fakeECS) { e.fail = on("RunTask", 1, apiError("ExpiredTokenException")) }, "", 2, 1, 0},
		"denied":              {func(e *fakeECS) { e.fail = on("RunTask", 0, apiError("AccessDeniedException")) }, "explained: api error AccessDeniedException", 1, 0, 0},
		"without capacity": {func(e *fakeECS) {
			e.failures = []types.Failure{{Reason: aws.String("RESOURCE:ENI"), Detail: aws.String("no addresses")}, {Reason: aws.String("AGENT")}}
		}, "ECS did not start a task of ecs-app-task:7: RESOURCE:ENI: no addresses, AGENT", 1, 0, 0},
		"neither nor": {func(e *fakeECS) { e.empty = true }, "ECS did not start a task of ecs-app-task:7: ECS returned no task and no reason", 1, 0, 0},
		"conflict": {func(e *fakeECS) {
			e.fail = on("RunTask", 0, &types.ConflictException{ResourceIds: []string{"arn:aws:ecs:us-east-1:1:task/c/t1"}})
		}, "an earlier call with the same client token and other parameters has started task t1: wait until it has stopped", 1, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.ecs.takes = 0
			tt.change(f.ecs)
			arn, err := f.Start(t.Context(), f.spec)
			require.Equal(t, []int{tt.calls, tt.tasks, tt.stops}, []int{f.ecs.count("RunTask"), len(f.ecs.tasks), f.ecs.count("StopTask")})
			if tt.want == "" {
				require.NoError(t, err)
				require.Equal(t, *f.ecs.tasks[0].TaskArn, arn)
				return
			}
			require.ErrorContains(t, err, tt.want)
			require.Empty(t, arn)
			require.Zero(t, f.running(), "no task is left behind")
		})
	}
}

func lateDenied(operation string, n int) error {
	if operation == "RunTask" && n > 1 {
		return apiError("AccessDeniedException")
	}
	return nil
}

// TestRunNotStarted reports why, and that nothing ran.
func TestRunNotStarted(t *testing.T) {
	f := newFixture(t)
	f.ecs.failures = []types.Failure{{Reason: aws.String("RESOURCE:ENI")}}
	got := f.Run(t.Context(), f.spec)
	require.EqualError(t, got.Err, "ECS did not start a task of ecs-app-task:7: RESOURCE:ENI")
	require.Equal(t, got.Err.Error(), got.Cause.Reason)
	require.False(t, got.Started)
	require.Empty(t, got.Task)
}

// TestStartExpired renews the credentials.
func TestStartExpired(t *testing.T) {
	f := newFixture(t)
	f.ecs.fail = on("RunTask", 2, apiError("ExpiredTokenException"))
	_, err := f.Start(t.Context(), f.spec)
	require.NoError(t, err)
	require.Equal(t, 2, f.renewed)
}

// TestStartInterrupted: a call that has begun is completed, and a task that may have
// started is stopped.
func TestStartInterrupted(t *testing.T) {
	interruption := outcome.Interruption("interrupted by SIGINT")
	for name, tt := range map[string]struct {
		lost  bool
		stuck string // an operation that fails meanwhile
		want  string // an event
	}{
		"throttled":           {},
		"lost":                {lost: true},
		"lost, not listed":    {lost: true, stuck: "ListTasks", want: "cannot look for a task that may have started (startedBy release): listing tasks of cluster ecs-cluster: explained: api error AccessDeniedException"},
		"lost, not stopped":   {lost: true, stuck: "StopTask", want: "task task-0 may still run: stopping task task-0: explained: api error AccessDeniedException"},
		"lost, not described": {lost: true, stuck: "DescribeTasks", want: "describing tasks of cluster ecs-cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.ecs.takes = 0
			ctx, cancel := context.WithCancelCause(t.Context())
			f.ecs.fail = func(operation string, _ int) error {
				switch {
				case operation == tt.stuck:
					return apiError("AccessDeniedException")
				case operation == "RunTask" && !tt.lost:
					cancel(interruption)
					return apiError("ThrottlingException")
				}
				return nil
			}
			f.ecs.lose = func(operation string, _ int) error {
				if operation != "RunTask" {
					return nil
				}
				cancel(interruption)
				return errLost
			}
			_, err := f.Start(ctx, f.spec)
			require.ErrorIs(t, err, interruption)
			require.Equal(t, 1, f.ecs.count("RunTask"))
			require.Contains(t, f.log(), tt.want)
			require.Equal(t, tt.stuck != "", f.running() > 0)
		})
	}
}

// TestStopped stops a task that may not run any longer, or cannot be followed.
func TestStopped(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*fixture)
		want   string // the error
		reason string // of StopTask
	}{
		"timeout":       {func(*fixture) {}, "the task did not end within 10m0s", "slipway: not ended within 10m0s"},
		"no access":     {func(f *fixture) { f.ecs.fail = on("DescribeTasks", 1, apiError("AccessDeniedException")) }, "cannot follow task task-0: explained: api error AccessDeniedException: of the fake", "slipway cannot follow the task"},
		"not readable":  {func(f *fixture) { f.ecs.fail = on("DescribeTasks", 100, errLost) }, "cannot follow task task-0: explained: read: connection reset", "slipway cannot follow the task"},
		"never visible": {func(f *fixture) { f.ecs.hidden = time.Hour }, "ECS has no task task-0\ntask task-0 is still running after StopTask", "slipway cannot see the task"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.ecs.takes = 0
			tt.change(f)
			got := f.Run(t.Context(), f.spec)
			require.EqualError(t, got.Err, tt.want)
			require.Equal(t, tt.want, got.Cause.Reason)
			require.Equal(t, tt.reason, *f.ecs.tasks[0].StoppedReason)
			require.Equal(t, report.Failed, got.Report("app").Result)
			require.Contains(t, f.log(), "stopping task task-0")
			require.Less(t, f.clock.now.Sub(f.ecs.tasks[0].at), 12*time.Minute)
		})
	}
}

// TestTaskDoesNotStop: the result says so, after the time that ECS gives a container.
func TestTaskDoesNotStop(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*fixture)
		want   string
		within time.Duration
	}{
		"deaf": {func(f *fixture) { f.ecs.deaf = true }, "task task-0 is still running after StopTask", 50 * time.Second},
		"slow to stop": {func(f *fixture) {
			f.ecs.deaf = true
			f.spec.Definition.ContainerDefinitions[0].StopTimeout = aws.Int32(120)
		}, "task task-0 is still running after StopTask", 140 * time.Second},
		"denied":      {func(f *fixture) { f.ecs.fail = on("StopTask", 0, apiError("AccessDeniedException")) }, "stopping task task-0: explained: api error AccessDeniedException: of the fake", time.Second},
		"unreachable": {func(f *fixture) { f.ecs.fail = on("StopTask", 0, errLost) }, "stopping task task-0: explained: read: connection reset", 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.ecs.takes, f.spec.Timeout = 0, time.Minute
			tt.change(f)
			got := f.Run(t.Context(), f.spec)
			require.EqualError(t, got.Err, "the task did not end within 1m0s\n"+tt.want)
			require.True(t, got.Started)
			require.Nil(t, got.ExitCode)
			require.Contains(t, f.events, tt.want)
			require.InDelta(t, (f.spec.Timeout + tt.within).Seconds(), got.Duration.Seconds(), 10)
			require.Equal(t, 1, f.running())
		})
	}
}

// TestWaitInterrupted stops the task. The interruption stays the error.
func TestWaitInterrupted(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		f := newFixture(t)
		f.ecs.takes, f.ecs.deaf = 0, deaf
		ctx, cancel := context.WithCancelCause(t.Context())
		f.ecs.fail = func(operation string, n int) error {
			if operation == "DescribeTasks" && n == 10 {
				cancel(outcome.Interruption("interrupted by SIGINT"))
			}
			return nil
		}
		got := f.Run(ctx, f.spec)
		require.EqualError(t, got.Err, "interrupted by SIGINT")
		require.Equal(t, report.Interrupted, got.Report("app").Result)
		require.Equal(t, deaf, f.running() > 0)
		require.Equal(t, deaf, strings.Contains(f.log(), "is still running after StopTask"))
		require.Equal(t, []string{"one", "two"}, f.lines)
		if !deaf {
			require.Equal(t, int32(143), *got.ExitCode)
			require.Contains(t, got.Cause.Reason, "slipway was interrupted")
		}
	}
}

// TestFind returns running tasks first, and the newest first of each.
func TestFind(t *testing.T) {
	f := newFixture(t)
	f.ecs.takes = 0
	for n, stopped := range []bool{true, false, true, false} {
		task := f.ecs.add("app", "release", "", f.clock.now.Add(time.Duration(n)*time.Second))
		if stopped {
			task.stop(f.clock.now, types.TaskStopCodeEssentialContainerExited, "", aws.Int32(0))
		}
	}
	f.ecs.add("app", "another", "", f.clock.now)
	f.ecs.add("other", "release", "", f.clock.now)
	f.clock.now = f.clock.now.Add(time.Minute)
	f.ecs.fail = on("ListTasks", 2, errLost)
	found, err := f.Find(t.Context(), "ecs-cluster", "release", "ecs-app-task")
	require.NoError(t, err)
	var ids []string
	for _, task := range found {
		ids = append(ids, ShortID(*task.TaskArn))
	}
	require.Equal(t, []string{"task-3", "task-1", "task-2", "task-0"}, ids)

	for operation, want := range map[string]string{"ListTasks": "listing tasks of cluster ecs-cluster: ", "DescribeTasks": "describing tasks of cluster ecs-cluster: "} {
		f.ecs.calls, f.ecs.fail = nil, on(operation, 0, errLost)
		_, err := f.Find(t.Context(), "ecs-cluster", "release", "ecs-app-task")
		require.EqualError(t, err, want+"explained: read: connection reset")
		require.Equal(t, 5, f.ecs.count(operation), "tries")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	f.ecs.fail = func(string, int) error { cancel(outcome.Interruption("interrupted by SIGINT")); return errLost }
	_, err = f.Find(ctx, "ecs-cluster", "release", "ecs-app-task")
	require.EqualError(t, err, "interrupted by SIGINT")
}
