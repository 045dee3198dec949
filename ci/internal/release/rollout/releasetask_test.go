package rollout_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// newTaskFixture is newFixture with release tasks.
func newTaskFixture(a, b behavior) *fixture {
	f := newFixture(a, b)
	f.addReleaseTasks()
	return f
}

func TestReleaseTask(t *testing.T) {
	b := newTaskFixture(completes, completes)
	b.request.Targets[0].Service.ReleaseTask.CPU = 512
	network := &types.NetworkConfiguration{AwsvpcConfiguration: &types.AwsVpcConfiguration{Subnets: []string{"subnet-1"}}}
	b.ecs.network = network
	b.ecs.executing = func() { require.NotContains(t, strings.Join(b.ecs.calls, ","), "UpdateService") }
	got := b.run(t.Context())
	require.Equal(t, outcome.Done, got.ExitCode, "%s\n%s", got.Error, b.log())
	require.Len(t, b.ecs.tasks, 2)
	for n, name := range []string{"a", "b"} {
		in := b.ecs.tasks[n].input
		require.Equal(t, got.Services[n].To.TaskDefinition, *in.TaskDefinition, "the new revision, in the order of names")
		require.Equal(t, "ecs-cluster", *in.Cluster)
		require.Equal(t, network, in.NetworkConfiguration)
		require.Equal(t, strings.ReplaceAll(got.ID, ".", "-"), *in.StartedBy)
		require.LessOrEqual(t, len(*in.ClientToken), 64)
		require.Equal(t, []types.ContainerOverride{{Name: &name, Command: []string{"migrate"}}}, in.Overrides.ContainerOverrides)
		require.Equal(t, report.Task{Service: name, Task: b.ecs.tasks[n].arn, Result: report.Succeeded, ExitCode: new(int32), DurationMS: got.Tasks[n].DurationMS}, got.Tasks[n])
		require.True(t, b.hasEvent(name+": | in ecs/"+name+"/standalone-"+fmt.Sprint(n)), b.log())
	}
	require.Equal(t, "512", *b.ecs.tasks[0].input.Overrides.Cpu)
	require.NotEqual(t, *b.ecs.tasks[0].input.ClientToken, *b.ecs.tasks[1].input.ClientToken)
	require.Empty(t, got.Notes)
}

func TestReleaseTaskOnlyOfUpdatedServices(t *testing.T) {
	b := newTaskFixture("", completes)
	require.Equal(t, outcome.Done, b.run(t.Context()).ExitCode)
	require.Equal(t, [2]int{0, 1}, [2]int{b.executions("a"), b.executions("b")})
	require.Equal(t, outcome.Done, b.run(t.Context()).ExitCode)
	require.Len(t, b.ecs.tasks, 1, "nothing changes")
}

func TestReleaseTaskFails(t *testing.T) {
	b := newTaskFixture(completes, completes)
	b.ecs.runTask.code = 3
	got := b.run(t.Context())
	require.Equal(t, outcome.Failed, got.ExitCode)
	require.Equal(t, report.Failed, got.Result)
	require.Equal(t, "the release task of a failed: container a exited with code 3", got.Error)
	require.Zero(t, b.ecs.count("UpdateService"))
	require.Len(t, b.ecs.tasks, 1, "the task of b does not run")
	require.Equal(t, int32(3), *got.Tasks[0].ExitCode)
	require.Equal(t, report.Failed, got.Tasks[0].Result)
	cause := got.Services[0].Causes[0]
	require.Equal(t, int32(3), *cause.ExitCode)
	require.Equal(t, "EssentialContainerExited", cause.StopCode)
	require.Equal(t, []string{"in ecs/a/standalone-0", "last line"}, cause.LogTail)
	require.Equal(t, "container a exited with code 3", got.Services[0].Error)
	require.Equal(t, report.Unchanged, got.Services[0].Result)
	require.Empty(t, got.Services[1].Causes)
	require.Contains(t, got.Notes[0], "the release task of a has not ended successfully, and is not undone")

	b.ecs.runTask.code = 0
	got = b.run(t.Context())
	require.Equal(t, outcome.Done, got.ExitCode, "run again, with another client token: %s", got.Error)
	require.Equal(t, [2]int{2, 1}, [2]int{b.executions("a"), b.executions("b")})
}

// TestReleaseFailsAfterItsTask checks the note, and that the release may be repeated.
func TestReleaseFailsAfterItsTask(t *testing.T) {
	b := newTaskFixture(completes, fails)
	got := b.run(t.Context())
	require.Equal(t, outcome.Restored, got.ExitCode)
	require.Len(t, got.Notes, 2)
	require.Equal(t, "the release task of a has run and is not undone: the new version's schema stays, and the previous version must work with it", got.Notes[0])
	b.ecs.settleAll()
	got = b.run(t.Context())
	require.Equal(t, outcome.Restored, got.ExitCode)
	require.Equal(t, 2, b.executions("a"), "the release has ended, so this is another one")
}

func TestNoReleaseTaskOnRollback(t *testing.T) {
	b := newTaskFixture(completes, completes)
	require.Equal(t, outcome.Done, b.run(t.Context()).ExitCode)
	require.Equal(t, outcome.Done, b.rollBack(t).ExitCode)
	require.Len(t, b.ecs.tasks, 2)
}

// TestReleaseTaskKilledAtEveryCall kills a release with tasks at each of its calls. The
// next process finishes it, and runs each task once.
func TestReleaseTaskKilledAtEveryCall(t *testing.T) {
	whole := newTaskFixture(completes, completes)
	whole.run(t.Context())
	require.Positive(t, whole.ecs.count("RunTask"))
	for n, late := range killPoints(whole.ecs.calls) {
		for _, rested := range []bool{false, true} {
			t.Run(fmt.Sprintf("call %d, takes effect %v, rested %v", n, late, rested), func(t *testing.T) {
				b := killed(newTaskFixture(completes, completes), n, late, rested)
				b.request.WaitForTurn = maxWait
				requireAll(t, b, b.run(t.Context()), true)
				require.Equal(t, [2]int{1, 1}, [2]int{b.executions("a"), b.executions("b")}, b.log())
			})
		}
	}
}

// TestKilledWhileItsTaskFails lets the next process run the task again.
func TestKilledWhileItsTaskFails(t *testing.T) {
	for _, rested := range []bool{false, true} {
		f := newTaskFixture(completes, completes)
		f.ecs.runTask.code = 3
		whole := newTaskFixture(completes, completes)
		whole.run(t.Context())
		n := 0
		for !strings.HasPrefix(whole.ecs.calls[n], "RunTask") {
			n++
		}
		b := killed(f, n, true, rested)
		got := b.run(t.Context())
		require.Equal(t, outcome.Failed, got.ExitCode, got.Error)
		require.Contains(t, got.Error, "exited with code 3")
		require.Zero(t, b.ecs.count("UpdateService"))
	}
}

// TestReleaseTaskInterruptedAtEveryCall interrupts a release with tasks at each of its
// calls. No task is left running.
func TestReleaseTaskInterruptedAtEveryCall(t *testing.T) {
	whole := newTaskFixture(completes, completes)
	whole.run(t.Context())
	for n := range len(whole.ecs.calls) {
		b := newTaskFixture(completes, completes)
		b.ecs.runTask.endless = n%2 == 0
		ctx, cancel := context.WithCancelCause(t.Context())
		seen := 0
		b.ecs.failCall = func(string, string) error {
			if seen == n {
				cancel(outcome.Interruption("interrupted by SIGINT"))
			}
			seen++
			return nil
		}
		if b.ecs.runTask.endless {
			b.request.Targets[0].Service.ReleaseTask.Timeout = new(5)
		}
		got := b.run(ctx)
		if got.Result != report.Succeeded && !strings.Contains(got.Error, "did not end within") {
			require.Equal(t, outcome.Interrupted, got.ExitCode, "call %d: %s\n%s", n, got.Error, b.log())
		}
		require.Zero(t, b.runningTasks(), "call %d", n)
		b.ecs.settleAll()
		requireAllOrNothing(t, b, got)
	}
}

// TestReleaseTaskConflict: the parameters of the task have changed since an earlier
// process started it, and ECS does not list it yet.
func TestReleaseTaskConflict(t *testing.T) {
	b := newTaskFixture(completes, completes)
	b.ecs.failCall = func(operation, _ string) error {
		if operation == "DescribeTasks" {
			return errors.New("killed")
		}
		if operation == "StopTask" {
			return errKilled
		}
		return nil
	}
	b.run(t.Context())
	require.Len(t, b.ecs.tasks, 1)
	restartProcess(b)
	b.ecs.runTask.hidden = time.Hour * 1000
	b.request.Targets[0].Service.ReleaseTask.Command = []string{"other"}
	got := b.run(t.Context())
	require.Equal(t, outcome.Failed, got.ExitCode)
	require.Contains(t, got.Error, "an earlier call with the same client token and other parameters has started task standalone-0")
	require.Len(t, b.ecs.tasks, 1)
}

// TestDeploymentDuringReleaseTask: somebody deploys while the task runs. What they deployed
// is newer and stays, even if it has completed.
func TestDeploymentDuringReleaseTask(t *testing.T) {
	for behaves, want := range map[behavior]string{
		stays:     "a deployment is in progress",
		completes: "another version was deployed while its release tasks ran: deploy again if this commit is to replace it",
	} {
		b := newTaskFixture(completes, completes)
		other := b.ecs.register("other", types.ContainerDefinition{Name: aws.String("b"), Image: aws.String(string(behaves) + "@sha256:other")})
		b.ecs.executing = func() {
			b.ecs.deploy("ecs-b-service", other)
			b.ecs.executing = nil
		}
		b.request.WaitForTurn = time.Minute
		got := b.run(t.Context())
		require.Equal(t, outcome.Refused, got.ExitCode, got.Error)
		require.Contains(t, got.Error, want)
		require.Zero(t, b.ecs.count("UpdateService"))
		require.Len(t, b.ecs.tasks, 2, "the tasks are not run again")
		require.Equal(t, string(behaves)+"@sha256:other", b.ecs.running("b"))
		require.Len(t, got.Notes, 2, "the tasks have run")
	}
}

// TestReleaseDuringReleaseTask: another release starts while a task runs. It is refused, or
// waits for its turn.
func TestReleaseDuringReleaseTask(t *testing.T) {
	for wait, want := range map[time.Duration]outcome.Code{0: outcome.Refused, time.Minute: outcome.Done} {
		b := newTaskFixture(completes, completes)
		earlier := b.ecs.find(b.ecs.register("ecs-a-task", types.ContainerDefinition{Name: aws.String("a"), Image: aws.String("good@sha256:earlier")}))
		_, err := b.ecs.RunTask(t.Context(), &ecs.RunTaskInput{
			TaskDefinition: earlier.TaskDefinitionArn, ClientToken: aws.String("earlier"), StartedBy: aws.String("0123456789ab-0123456789ab"),
			Overrides: &types.TaskOverride{ContainerOverrides: []types.ContainerOverride{{Name: aws.String("a")}}},
		})
		require.NoError(t, err)
		b.request.WaitForTurn = wait
		got := b.run(t.Context())
		require.Equal(t, want, got.ExitCode, got.Error)
		if want == outcome.Refused {
			require.Contains(t, got.Error, "service ecs-a-service: a deployment is in progress (release task standalone-0 of release 0123456789ab-0123456789ab): wait for it (--wait-for-turn)")
			require.Len(t, b.ecs.tasks, 1, "no other task")
			require.Zero(t, b.ecs.count("RegisterTaskDefinition"))
		}
	}
}

// TestPreparedRelease checks what BeforeUpdate is told.
func TestPreparedRelease(t *testing.T) {
	b := newFixture(completes, "")
	var told rollout.Prepared
	b.request.BeforeUpdate = func(_ context.Context, p rollout.Prepared) error { told = p; return nil }
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, got.ID, told.ID)
	require.False(t, told.Resumed)
	require.Len(t, told.Updates, 1)
	require.Equal(t, got.Services[0].To.TaskDefinition, *told.Updates[0].Definition.TaskDefinitionArn)
	require.Equal(t, "ecs-a-task", *told.Updates[0].Definition.Family)
	require.Equal(t, "ecs-a-service", *told.Updates[0].ECSService.ServiceName)
}
