package rollout_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	schedulertypes "github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

const placeholder = "repository:none-released"

// addJob adds a job with an enabled schedule of an image to the release.
func (b *fixture) addJob(image, wanted string) platform.Service {
	job := platform.Service{Name: "j", Schedule: "cron(0 3 * * ? *)"}
	definition := b.ecs.register(job.Family(), types.ContainerDefinition{
		Name: aws.String(job.ContainerName()), Image: &image, Environment: []types.KeyValuePair{{Name: aws.String("VERSION"), Value: aws.String("old")}},
	})
	if image == oldImage {
		b.ecs.tags[definition] = []types.Tag{{Key: aws.String("slipway:sha"), Value: aws.String("old")}}
	}
	b.ecs.schedules[job.ScheduleName()] = &scheduler.GetScheduleOutput{
		Name: aws.String(job.ScheduleName()), GroupName: aws.String("default"), State: schedulertypes.ScheduleStateEnabled,
		ScheduleExpression: &job.Schedule, ScheduleExpressionTimezone: aws.String("Europe/Berlin"), Description: aws.String("nightly"),
		FlexibleTimeWindow:    &schedulertypes.FlexibleTimeWindow{Mode: schedulertypes.FlexibleTimeWindowModeFlexible, MaximumWindowInMinutes: aws.Int32(5)},
		ActionAfterCompletion: schedulertypes.ActionAfterCompletionNone, KmsKeyArn: aws.String("arn:aws:kms:us-east-1:1:key/k"),
		StartDate: aws.Time(time.Unix(1, 0)), EndDate: aws.Time(time.Unix(9e9, 0)),
		Target: &schedulertypes.Target{
			Arn: aws.String("arn:aws:ecs:us-east-1:1:cluster/ecs-cluster"), RoleArn: aws.String("arn:aws:iam::1:role/ecs-j-schedule-role"), Input: aws.String("{}"),
			EcsParameters:    &schedulertypes.EcsParameters{TaskDefinitionArn: &definition, TaskCount: aws.Int32(1)},
			DeadLetterConfig: &schedulertypes.DeadLetterConfig{Arn: aws.String("arn:aws:sqs:us-east-1:1:ecs-j-dlq")},
		},
	}
	b.request.Targets = append(b.request.Targets, rollout.Target{Service: job, Image: wanted})
	return job
}

// newJobFixture returns a release of a job alone.
func newJobFixture() *fixture {
	b := newFixture("", "")
	b.request.Targets = nil
	b.addJob(oldImage, "good@sha256:new")
	return b
}

// schedule returns the job's schedule.
func (b *fixture) schedule() *scheduler.GetScheduleOutput { return b.ecs.schedules["ecs-j-schedule"] }

// scheduledImage returns the image of the revision that a schedule runs, or "".
func (f *fakeECS) scheduledImage(name string) string {
	s := f.schedules["ecs-"+name+"-schedule"]
	if s == nil {
		return ""
	}
	return f.image(*s.Target.EcsParameters.TaskDefinitionArn)
}

func (f *fakeECS) GetSchedule(_ context.Context, in *scheduler.GetScheduleInput, _ ...func(*scheduler.Options)) (*scheduler.GetScheduleOutput, error) {
	done, err := f.begin("GetSchedule", *in.Name)
	if err != nil {
		return nil, err
	}
	defer done()
	s := f.schedules[*in.Name]
	if s == nil {
		return nil, apiError("ResourceNotFoundException")
	}
	return new(*s), nil
}

func (f *fakeECS) UpdateSchedule(_ context.Context, in *scheduler.UpdateScheduleInput, _ ...func(*scheduler.Options)) (*scheduler.UpdateScheduleOutput, error) {
	done, err := f.begin("UpdateSchedule", *in.Name)
	if err != nil {
		return nil, err
	}
	defer done()
	f.schedules[*in.Name] = &scheduler.GetScheduleOutput{
		Name: in.Name, GroupName: in.GroupName, State: in.State, Target: in.Target, ScheduleExpression: in.ScheduleExpression,
		ScheduleExpressionTimezone: in.ScheduleExpressionTimezone, FlexibleTimeWindow: in.FlexibleTimeWindow, Description: in.Description,
		ActionAfterCompletion: in.ActionAfterCompletion, KmsKeyArn: in.KmsKeyArn, StartDate: in.StartDate, EndDate: in.EndDate,
	}
	return &scheduler.UpdateScheduleOutput{}, f.response("UpdateSchedule", *in.Name)
}

func TestJobIsReleasedAfterTheServices(t *testing.T) {
	b := newFixture(completes, completes)
	b.addJob(oldImage, "good@sha256:new")
	before := *b.schedule()
	verified := map[string]string{}
	b.request.Verify = func(_ context.Context, versions map[string]string) error {
		require.Equal(t, oldImage, b.ecs.scheduledImage("j"), "the job is updated after the smoke test")
		verified = versions
		return nil
	}
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, outcome.Done, got.ExitCode, "%s\n%s", got.Error, b.log())
	require.Equal(t, map[string]string{"a": newSHA, "b": newSHA}, verified)
	job := got.Services[2]
	require.Equal(t, report.Succeeded, job.Result)
	require.Equal(t, report.Version{TaskDefinition: "arn:aws:ecs:us-east-1:1:task-definition/ecs-j-task:1", Image: oldImage, SHA: "old"}, job.From)
	require.Equal(t, report.Version{TaskDefinition: "arn:aws:ecs:us-east-1:1:task-definition/ecs-j-task:2", Image: "good@sha256:new", SHA: newSHA}, job.To)
	require.Empty(t, job.DeploymentID)
	require.True(t, b.hasEvent("j: its schedule runs ecs-j-task:2"))

	after := *b.schedule()
	require.Equal(t, job.To.TaskDefinition, *after.Target.EcsParameters.TaskDefinitionArn)
	require.Equal(t, job.From.TaskDefinition, *before.Target.EcsParameters.TaskDefinitionArn, "the answer of the API is not changed")
	after.Target = new(*after.Target)
	after.Target.EcsParameters = before.Target.EcsParameters
	require.Equal(t, before, after, "all other fields are kept")

	again := b.engine.Release(t.Context(), b.request)
	require.Equal(t, report.Unchanged, again.Result)
	require.Equal(t, 1, b.ecs.count("UpdateSchedule"))
}

func TestJobAlone(t *testing.T) {
	b := newJobFixture()
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, outcome.Done, got.ExitCode, got.Error)
	require.Equal(t, "good@sha256:new", b.ecs.scheduledImage("j"))
	require.Zero(t, b.ecs.count("DescribeServices"))
}

// TestJobFaults checks the result of releases of two services and a job: all are on the
// new version or all on the old one.
func TestJobFaults(t *testing.T) {
	deny := func(call string, times int) func(*fixture) {
		return func(b *fixture) { b.ecs.failCall = failCalls(call, "AccessDeniedException", times) }
	}
	tests := map[string]struct {
		a, b   behavior
		change func(*fixture)
		code   outcome.Code
		want   string // in the error
	}{
		"a service fails":      {completes, rollsBack, func(*fixture) {}, outcome.Restored, "b: "},
		"the update is denied": {completes, completes, deny("UpdateSchedule", 1<<30), outcome.Restored, "j: updating schedule ecs-j-schedule: "},
		"the smoke test fails": {completes, completes, func(b *fixture) {
			b.request.Verify = func(context.Context, map[string]string) error { return errors.New("502") }
		}, outcome.Restored, "502"},
		"the response is lost":    {completes, completes, func(b *fixture) { b.ecs.loseResponse = loseFirst("UpdateSchedule") }, outcome.Done, ""},
		"the update is throttled": {completes, completes, func(b *fixture) { b.ecs.failCall = failCalls("UpdateSchedule", "ThrottlingException", 9) }, outcome.Done, ""},
		"a server error":          {completes, completes, func(b *fixture) { b.ecs.failCall = failCalls("UpdateSchedule", "InternalServerException", 2) }, outcome.Done, ""},
		"server errors for good": {completes, completes, func(b *fixture) {
			b.ecs.failCall = failCalls("UpdateSchedule", "InternalServerException", 1<<30)
		}, outcome.Restored, "j: updating schedule"},
		"unreachable for three minutes": {completes, completes, func(b *fixture) {
			var since time.Time
			b.ecs.failCall = func(operation, _ string) error {
				if operation == "UpdateSchedule" && since.IsZero() {
					since = b.ecs.clock.Now()
				}
				if !since.IsZero() && b.ecs.clock.Now().Sub(since) < 3*time.Minute {
					return apiError("ExpiredTokenException")
				}
				return nil
			}
		}, outcome.Restored, "j: updating schedule"},
		"unreachable for good": {completes, completes, func(b *fixture) {
			b.ecs.failCall = after("UpdateSchedule", failCalls("GetSchedule", "InternalServerException", 1<<30))
			b.ecs.loseResponse = loseFirst("UpdateSchedule")
		}, outcome.Unrestored, "j: updating schedule"},
		"server errors for a while": {completes, completes, func(b *fixture) {
			b.ecs.failCall = failCalls("UpdateSchedule", "InternalServerException", 7)
		}, outcome.Restored, "j: updating schedule"},
		"all responses are lost": {completes, completes, func(b *fixture) {
			b.ecs.loseResponse = func(operation, _ string) bool { return operation == "UpdateSchedule" }
		}, outcome.Done, ""},
		"the schedule is deleted meanwhile": {completes, completes, func(b *fixture) {
			b.request.Verify = func(context.Context, map[string]string) error { delete(b.ecs.schedules, "ecs-j-schedule"); return nil }
		}, outcome.Restored, "schedule ecs-j-schedule does not exist: create it with Terraform"},
		"the schedule is changed meanwhile": {completes, completes, func(b *fixture) {
			b.request.Verify = func(context.Context, map[string]string) error {
				s := *b.schedule().Target
				s.EcsParameters = &schedulertypes.EcsParameters{TaskDefinitionArn: aws.String("arn:aws:ecs:us-east-1:1:task-definition/other:7")}
				b.schedule().Target = &s
				return nil
			}
		}, outcome.Restored, "it runs other:7 now, which is not of this release"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newFixture(tt.a, tt.b)
			b.addJob(oldImage, "good@sha256:new")
			tt.change(b)
			got := b.engine.Release(t.Context(), b.request)
			require.Equal(t, tt.code, got.ExitCode, "%s\n%s", got.Error, b.log())
			require.Contains(t, got.Error, tt.want)
			b.ecs.settleAll()
			if strings.Contains(name, "meanwhile") {
				require.Equal(t, []string{oldImage, oldImage}, []string{b.ecs.running("a"), b.ecs.running("b")})
				return
			}
			requireAllOrNothing(t, b, got)
		})
	}
}

// TestSecondJobFails puts back the first job.
func TestSecondJobFails(t *testing.T) {
	b := newJobFixture()
	first := b.request.Targets[0]
	second := first
	second.Service.Name = "k"
	b.ecs.register("ecs-k-task", types.ContainerDefinition{Name: aws.String("k"), Image: aws.String(oldImage)})
	s := *b.schedule()
	target := *s.Target
	target.EcsParameters = &schedulertypes.EcsParameters{TaskDefinitionArn: aws.String("arn:aws:ecs:us-east-1:1:task-definition/ecs-k-task:1")}
	s.Name, s.Target = aws.String("ecs-k-schedule"), &target
	b.ecs.schedules["ecs-k-schedule"] = &s
	b.request.Targets = append(b.request.Targets, second)
	b.ecs.failCall = failCalls("UpdateSchedule ecs-k", "ValidationException", 1<<30)
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, outcome.Restored, got.ExitCode, got.Error)
	require.Equal(t, []report.Result{report.Restored, report.Unchanged}, []report.Result{got.Services[0].Result, got.Services[1].Result})
	require.Equal(t, oldImage, b.ecs.scheduledImage("j"))
	require.True(t, b.hasEvent("j: its schedule runs ecs-j-task:1 again"), b.log())

	b.ecs.failCall, b.engine.Environment = nil, platform.Environment{Name: "staging", File: "f"}
	b.ecs.loseResponse = func(string, string) bool {
		b.ecs.failCall = failCalls("UpdateSchedule", "AccessDeniedException", 1<<30)
		return false
	}
	got = b.engine.Release(t.Context(), b.request)
	require.Equal(t, outcome.Unrestored, got.ExitCode, got.Error)
	require.Equal(t, "slipway rollback --env staging --service j --to ecs-j-task:1", got.Next)
	require.Contains(t, got.Services[0].Error, "restoring schedule ecs-j-schedule: ")
}

func TestJobAloneIsRefused(t *testing.T) {
	b := newJobFixture()
	b.ecs.failCall = failCalls("UpdateSchedule", "AccessDeniedException", 1<<30)
	got := b.engine.Release(t.Context(), b.request)
	require.Equal(t, outcome.Failed, got.ExitCode, "production is untouched")
	require.Contains(t, got.Error, "j: updating schedule ecs-j-schedule: ")
}

func TestJobInterruptedAtEveryCall(t *testing.T) {
	whole := newFixture(completes, completes)
	whole.addJob(oldImage, "good@sha256:new")
	whole.engine.Release(t.Context(), whole.request)
	for n := range whole.ecs.calls {
		b := newFixture(completes, completes)
		b.addJob(oldImage, "good@sha256:new")
		ctx, cancel := context.WithCancel(t.Context())
		seen := 0
		b.ecs.failCall = func(string, string) error {
			if seen++; seen == n+1 {
				cancel()
			}
			return nil
		}
		got := b.engine.Release(ctx, b.request)
		cancel()
		if got.Result != report.Succeeded {
			require.Equal(t, outcome.Interrupted, got.ExitCode, "call %d: %s", n, got.Error)
		}
		b.ecs.settleAll()
		requireAllOrNothing(t, b, got)
	}
}

// TestFirstReleaseOfAJob enables a schedule that Terraform has created disabled, and
// disables it again if the release fails or is rolled back.
func TestFirstReleaseOfAJob(t *testing.T) {
	created := func(image string, tags ...types.Tag) *fixture {
		b := newFixture("", "")
		b.request.Targets = b.request.Targets[:1]
		b.request.Targets[0].Image = "good@sha256:new"
		b.addJob(image, "good@sha256:new")
		b.ecs.tags[*b.schedule().Target.EcsParameters.TaskDefinitionArn] = tags
		b.schedule().State = schedulertypes.ScheduleStateDisabled
		return b
	}
	t.Run("released and rolled back", func(t *testing.T) {
		b := created(placeholder)
		got := b.engine.Release(t.Context(), b.request)
		require.Equal(t, outcome.Done, got.ExitCode, "%s\n%s", got.Error, b.log())
		require.Equal(t, schedulertypes.ScheduleStateEnabled, b.schedule().State)
		require.True(t, b.hasEvent("j: first release: the schedule is enabled"))
		require.Equal(t, outcome.Done, b.rollBack(t).ExitCode, b.log())
		require.Equal(t, placeholder, b.ecs.scheduledImage("j"))
		require.Equal(t, schedulertypes.ScheduleStateDisabled, b.schedule().State)
		require.Equal(t, outcome.Done, b.rollBack(t).ExitCode, b.log())
		require.Equal(t, placeholder, b.ecs.scheduledImage("j"))
	})
	t.Run("fails after the update", func(t *testing.T) {
		b := created(placeholder)
		lose := loseFirst("UpdateSchedule")
		b.ecs.loseResponse = func(operation, service string) bool {
			lost := lose(operation, service)
			if lost {
				b.ecs.failCall = failCalls("GetSchedule", "InternalServerException", 5)
			}
			return lost
		}
		got := b.engine.Release(t.Context(), b.request)
		require.Equal(t, outcome.Restored, got.ExitCode, "%s\n%s", got.Error, b.log())
		require.Equal(t, schedulertypes.ScheduleStateDisabled, b.schedule().State)
		require.Equal(t, placeholder, b.ecs.scheduledImage("j"))
	})
	t.Run("disabled by somebody", func(t *testing.T) {
		b := created(oldImage, types.Tag{Key: aws.String("slipway:release"), Value: aws.String("r")})
		require.Equal(t, outcome.Done, b.engine.Release(t.Context(), b.request).ExitCode)
		require.Equal(t, schedulertypes.ScheduleStateDisabled, b.schedule().State)
		require.Equal(t, "good@sha256:new", b.ecs.scheduledImage("j"))
	})
}

func TestJobIsRolledBack(t *testing.T) {
	b := newFixture(completes, completes)
	b.addJob(oldImage, "good@sha256:new")
	require.Equal(t, outcome.Done, b.engine.Release(t.Context(), b.request).ExitCode)
	b.ecs.remove("arn:aws:ecs:us-east-1:1:task-definition/ecs-j-task:1", types.TaskDefinitionStatusInactive)
	got := b.rollBack(t)
	require.Equal(t, outcome.Done, got.ExitCode, "%s\n%s", got.Error, b.log())
	require.Equal(t, []string{oldImage, oldImage, oldImage}, []string{b.ecs.running("a"), b.ecs.running("b"), b.ecs.running("j")})
	require.Equal(t, "arn:aws:ecs:us-east-1:1:task-definition/ecs-j-task:3", *b.schedule().Target.EcsParameters.TaskDefinitionArn, "a copy of the deregistered revision")
	b.ecs.calls = nil
	require.Equal(t, report.Unchanged, b.rollBack(t).Result)
	require.Zero(t, b.ecs.count("UpdateSchedule"))

	targets, err := b.engine.ImageTargets(t.Context(), b.services(), map[string]string{"a": oldImage, "b": oldImage, "j": "good@sha256:new"})
	require.NoError(t, err)
	require.Equal(t, "arn:aws:ecs:us-east-1:1:task-definition/ecs-j-task:2", targets[2].Revision)
	got = b.engine.Release(t.Context(), rollout.Request{Targets: targets[2:], TakeOver: true})
	require.Equal(t, outcome.Done, got.ExitCode, got.Error)
	require.Equal(t, "good@sha256:new", b.ecs.running("j"))
}

// TestJobOfADeregisteredRevision copies what a schedule could not run.
func TestJobOfADeregisteredRevision(t *testing.T) {
	for name, change := range map[string]func(*fixture){
		"the same image": func(b *fixture) { b.request.Targets[0].Image = oldImage },
		"another image":  func(*fixture) {},
		"another image, a deleted revision": func(b *fixture) {
			b.registerForeign(0)
			b.ecs.register("ecs-j-task", b.ecs.definitions[2].ContainerDefinitions...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newJobFixture()
			change(b)
			status := types.TaskDefinitionStatusInactive
			if strings.Contains(name, "deleted") {
				status = deleted
			}
			b.ecs.remove("arn:aws:ecs:us-east-1:1:task-definition/ecs-j-task:1", status)
			got := b.engine.Release(t.Context(), b.request)
			require.Equal(t, outcome.Done, got.ExitCode, "%s\n%s", got.Error, b.log())
			require.Equal(t, b.request.Targets[0].Image, b.ecs.scheduledImage("j"))
			require.Equal(t, types.TaskDefinitionStatusActive, b.ecs.find(*b.schedule().Target.EcsParameters.TaskDefinitionArn).Status)
		})
	}
}

func TestJobCannotBePlanned(t *testing.T) {
	tests := map[string]struct {
		change func(*fixture)
		code   outcome.Code
		want   string
	}{
		"no schedule": {func(b *fixture) { b.ecs.schedules = nil }, outcome.Failed, "schedule ecs-j-schedule does not exist: create it with Terraform (slipway plan, slipway apply), or check account and region"},
		"another target": {func(b *fixture) {
			b.schedule().Target = &schedulertypes.Target{Arn: aws.String("arn:aws:lambda:us-east-1:1:function:f")}
		}, outcome.Refused, "schedule ecs-j-schedule has the target arn:aws:lambda:us-east-1:1:function:f: a job is a task of ECS"},
		"no revision": {func(b *fixture) {
			b.schedule().Target.EcsParameters.TaskDefinitionArn = aws.String("arn:aws:ecs:us-east-1:1:task-definition/ecs-j-task")
		}, outcome.Refused, "set a revision in its target, such as ecs-j-task:1"},
		"denied":    {func(b *fixture) { b.ecs.failCall = failCalls("GetSchedule", "AccessDeniedException", 9) }, outcome.Failed, "reading schedule ecs-j-schedule: "},
		"no client": {func(b *fixture) { b.engine.Schedules = nil }, outcome.Failed, "no client of EventBridge Scheduler"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newJobFixture()
			tt.change(b)
			got := b.engine.Release(t.Context(), b.request)
			require.Equal(t, tt.code, got.ExitCode, got.Error)
			require.Contains(t, got.Error, tt.want)
			require.NotContains(t, got.Error, "\n")
			require.Zero(t, b.ecs.count("RegisterTaskDefinition"))
		})
	}
}

func TestStatusAndDiffOfAJob(t *testing.T) {
	b := newJobFixture()
	b.ecs.stopped = []types.Task{
		{TaskArn: aws.String("arn:t/1"), StartedAt: aws.Time(time.Unix(10, 0)), Containers: []types.Container{{Name: aws.String("j"), ExitCode: aws.Int32(0)}}},
		{TaskArn: aws.String("arn:t/2"), StartedAt: aws.Time(time.Unix(20, 0)), StartedBy: aws.String("chronos-schedule/ecs-j-schedule"), Containers: []types.Container{{Name: aws.String("j"), ExitCode: aws.Int32(3)}}},
	}
	status, err := b.engine.Status(t.Context(), b.services())
	require.NoError(t, err)
	job := status.Services[0]
	require.Equal(t, report.Degraded, job.State)
	require.Equal(t, "its last run failed: exit code 3", job.Detail)
	require.Equal(t, oldImage, job.Version.Image)
	require.Equal(t, []string{"cron(0 3 * * ? *)", "Europe/Berlin", "ENABLED"}, []string{job.Job.Schedule, job.Job.Timezone, job.Job.State})
	require.Equal(t, []string{"arn:t/2", "arn:t/1"}, []string{job.Job.Runs[0].Task, job.Job.Runs[1].Task})
	var text, markdown strings.Builder
	require.NoError(t, status.Text(&text))
	require.NoError(t, status.Markdown(&markdown))
	require.Contains(t, text.String(), "enabled, cron(0 3 * * ? *) Europe/Berlin")
	require.Contains(t, text.String(), "exit code 3")
	require.Contains(t, markdown.String(), "enabled, cron(0 3 * * ? *) Europe/Berlin")

	b.ecs.stopped = nil
	status, err = b.engine.Status(t.Context(), b.services())
	require.NoError(t, err)
	require.Equal(t, report.Steady, status.Services[0].State)

	b.ecs.schedules = nil
	status, err = b.engine.Status(t.Context(), b.services())
	require.Error(t, err)
	require.Equal(t, report.Missing, status.Services[0].State)

	b = newJobFixture()
	diff, err := b.engine.Diff(t.Context(), b.request)
	require.NoError(t, err)
	require.True(t, diff.Services[0].Changed)
	require.Equal(t, "containers.j.image", diff.Services[0].Changes[0].Path, diff.Services[0].Changes)
}

// TestKilledBeforeTheJob leaves the schedule to the next process, which updates no service.
func TestKilledBeforeTheJob(t *testing.T) {
	killedRelease := func() *fixture {
		b := newFixture(completes, completes)
		b.addJob(oldImage, "good@sha256:new")
		dead := false
		b.ecs.failCall = func(operation, _ string) error {
			if dead = dead || operation == "UpdateSchedule"; dead {
				return errKilled
			}
			return nil
		}
		b.request.RestoreTimeout = time.Second
		b.engine.Release(t.Context(), b.request)
		restartProcess(b)
		b.request.RestoreTimeout = 0
		require.Equal(t, []string{"good@sha256:new", "good@sha256:new", oldImage}, []string{b.ecs.running("a"), b.ecs.running("b"), b.ecs.running("j")})
		return b
	}
	t.Run("deployed again", func(t *testing.T) {
		b := killedRelease()
		status, err := b.engine.Status(t.Context(), b.services())
		require.NoError(t, err)
		require.Equal(t, []string{"j"}, status.Unfinished.Missing)
		got := b.engine.Release(t.Context(), b.request)
		require.Equal(t, outcome.Done, got.ExitCode, "%s\n%s", got.Error, b.log())
		require.Zero(t, b.ecs.count("UpdateService")+b.ecs.count("RegisterTaskDefinition"))
		require.Equal(t, "good@sha256:new", b.ecs.running("j"))
	})
	t.Run("the job fails again", func(t *testing.T) {
		b := killedRelease()
		b.ecs.failCall = failCalls("UpdateSchedule", "AccessDeniedException", 1<<30)
		got := b.engine.Release(t.Context(), b.request)
		require.Equal(t, outcome.Restored, got.ExitCode, "%s\n%s", got.Error, b.log())
		requireAllOrNothing(t, b, got)
	})
	t.Run("rolled back", func(t *testing.T) {
		b := killedRelease()
		require.Equal(t, outcome.Done, b.rollBack(t).ExitCode, b.log())
		require.Equal(t, []string{oldImage, oldImage, oldImage}, []string{b.ecs.running("a"), b.ecs.running("b"), b.ecs.running("j")})
	})
}

// TestRollbackOfAJobKilledAtEveryCall kills a rollback at each of its calls. Two more
// rollbacks end at the same version.
func TestRollbackOfAJobKilledAtEveryCall(t *testing.T) {
	for _, status := range []types.TaskDefinitionStatus{types.TaskDefinitionStatusActive, types.TaskDefinitionStatusInactive} {
		released := func() *fixture {
			b := newFixture(completes, completes)
			b.addJob(oldImage, "good@sha256:new")
			require.Equal(t, outcome.Done, b.engine.Release(t.Context(), b.request).ExitCode)
			for _, name := range []string{"a", "b", "j"} {
				b.ecs.remove("arn:aws:ecs:us-east-1:1:task-definition/ecs-"+name+"-task:1", status)
			}
			b.ecs.calls = nil
			return b
		}
		whole := released()
		whole.rollBack(t)
		for n, late := range killPoints(whole.ecs.calls) {
			b := released()
			killAt(b, n, late)
			if targets, err := b.engine.LastKnownGood(t.Context(), b.services(), ""); err == nil {
				b.engine.Release(t.Context(), rollout.Request{Targets: targets, TakeOver: true, RestoreTimeout: time.Second})
			}
			restartProcess(b)
			for range 2 {
				got := b.rollBack(t)
				require.Equal(t, outcome.Done, got.ExitCode, "call %d: %s\n%s", n, got.Error, b.log())
				require.Equal(t, []string{oldImage, oldImage, oldImage}, []string{b.ecs.running("a"), b.ecs.running("b"), b.ecs.running("j")}, "%s, call %d, takes effect %v\n%s", status, n, late, b.log())
			}
		}
	}
}

// TestRollbackAfterFailedReleaseTaskWithJob checks that a job's new revision, which has no
// deployment either way, does not make a failed release the last one.
func TestRollbackAfterFailedReleaseTaskWithJob(t *testing.T) {
	b := newTaskFixture(completes, completes)
	b.addJob(oldImage, "good@sha256:new")
	require.Equal(t, outcome.Done, b.run(t.Context()).ExitCode)
	b.ecs.settleAll()
	b.request.Version, b.ecs.runTask.code = "2222", 3
	for n := range b.request.Targets {
		b.request.Targets[n].Image = "good@sha256:fix"
	}
	require.Equal(t, outcome.Failed, b.run(t.Context()).ExitCode)
	for _, want := range []report.Result{report.Succeeded, report.Unchanged} {
		require.Equal(t, want, b.rollBack(t).Result, b.log())
		require.Equal(t, []string{oldImage, oldImage, oldImage}, []string{b.ecs.running("a"), b.ecs.running("b"), b.ecs.running("j")})
	}
}
