package scheduler_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	cluster = "arn:aws:ecs:us-east-1:000000000000:cluster/jobs"
	role    = "arn:aws:iam::000000000000:role/ecs-job-schedule-role"
	queue   = "arn:aws:sqs:us-east-1:000000000000:ecs-job-dlq"
	own     = "arn:aws:scheduler:us-east-1:000000000000:schedule/default/ecs-job-schedule"
)

// input is the schedule that Terraform would create for a job.
func input(definition string) *scheduler.CreateScheduleInput {
	return &scheduler.CreateScheduleInput{
		Name: aws.String("ecs-job-schedule"), ScheduleExpression: aws.String("rate(1 minute)"),
		FlexibleTimeWindow: &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeOff},
		Target: &types.Target{
			Arn: aws.String(cluster), RoleArn: aws.String(role), Input: aws.String(`{"containerOverrides":[{"name":"job","command":["nightly"]}]}`),
			EcsParameters: &types.EcsParameters{
				TaskDefinitionArn: &definition, LaunchType: types.LaunchTypeFargate, TaskCount: aws.Int32(1),
				NetworkConfiguration: &types.NetworkConfiguration{AwsvpcConfiguration: &types.AwsVpcConfiguration{Subnets: []string{"subnet-1"}}},
			},
			RetryPolicy: &types.RetryPolicy{MaximumRetryAttempts: aws.Int32(2)}, DeadLetterConfig: &types.DeadLetterConfig{Arn: aws.String(queue)},
		},
	}
}

// register registers a definition whose image does not exist.
func register(p *localawstest.Platform) string {
	_, err := p.ECS.CreateCluster(p.Context(), &ecs.CreateClusterInput{ClusterName: aws.String("jobs")})
	p.RequireNoError(err)
	out, err := p.ECS.RegisterTaskDefinition(p.Context(), &ecs.RegisterTaskDefinitionInput{
		Family: aws.String("ecs-job-task"), Cpu: aws.String("256"), Memory: aws.String("512"), NetworkMode: ecstypes.NetworkModeAwsvpc,
		RequiresCompatibilities: []ecstypes.Compatibility{ecstypes.CompatibilityFargate},
		ContainerDefinitions:    []ecstypes.ContainerDefinition{{Name: aws.String("job"), Image: aws.String("127.0.0.1:1/none:1")}},
	})
	p.RequireNoError(err)
	return *out.TaskDefinition.TaskDefinitionArn
}

func TestScheduleAPI(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	c, ctx := p.Scheduler, t.Context()
	in := input("arn:aws:ecs:us-east-1:000000000000:task-definition/ecs-job-task:1")
	in.State, in.ClientToken = types.ScheduleStateDisabled, aws.String("token-1")
	for range 2 { // the second has the same token
		made, err := c.CreateSchedule(ctx, in)
		require.NoError(t, err)
		require.Equal(t, own, *made.ScheduleArn)
	}
	calls := p.Server.Calls()
	last := calls[len(calls)-1]
	require.Equal(t, []any{"scheduler", "CreateSchedule", []string{own}}, []any{last.Service, last.Action, last.Resources})
	pass := calls[len(calls)-2]
	require.Equal(t, []any{"iam", "PassRole", []string{role}, map[string]string{"iam:PassedToService": "scheduler.amazonaws.com"}},
		[]any{pass.Service, pass.Action, pass.Resources, pass.Conditions})

	again := *in
	again.ClientToken = aws.String("token-2")
	_, err := c.CreateSchedule(ctx, &again)
	require.ErrorAs(t, err, new(*types.ConflictException))

	got, err := c.GetSchedule(ctx, &scheduler.GetScheduleInput{Name: in.Name})
	require.NoError(t, err)
	require.Equal(t, []any{own, "default", "UTC", types.ScheduleStateDisabled, types.ActionAfterCompletionNone},
		[]any{*got.Arn, *got.GroupName, *got.ScheduleExpressionTimezone, got.State, got.ActionAfterCompletion})
	require.Equal(t, int32(2), *got.Target.RetryPolicy.MaximumRetryAttempts)
	require.Equal(t, int32(86400), *got.Target.RetryPolicy.MaximumEventAgeInSeconds)
	require.Equal(t, []string{"subnet-1"}, got.Target.EcsParameters.NetworkConfiguration.AwsvpcConfiguration.Subnets)

	got.Target.EcsParameters.TaskDefinitionArn = aws.String("arn:aws:ecs:us-east-1:000000000000:task-definition/ecs-job-task:2")
	_, err = c.UpdateSchedule(ctx, &scheduler.UpdateScheduleInput{
		Name: got.Name, ScheduleExpression: got.ScheduleExpression, FlexibleTimeWindow: got.FlexibleTimeWindow, Target: got.Target, Description: aws.String("nightly"),
		State: types.ScheduleStateDisabled,
	})
	require.NoError(t, err)
	updated, err := c.GetSchedule(ctx, &scheduler.GetScheduleInput{Name: in.Name, GroupName: aws.String("default")})
	require.NoError(t, err)
	require.Equal(t, got.Target.EcsParameters, updated.Target.EcsParameters)
	require.Equal(t, "nightly", *updated.Description)
	require.Equal(t, got.CreationDate, updated.CreationDate)

	list, err := c.ListSchedules(ctx, &scheduler.ListSchedulesInput{GroupName: aws.String("default"), NamePrefix: aws.String("ecs-"), State: types.ScheduleStateDisabled, MaxResults: aws.Int32(1)})
	require.NoError(t, err)
	require.Len(t, list.Schedules, 1)
	list, err = c.ListSchedules(ctx, &scheduler.ListSchedulesInput{State: types.ScheduleStateEnabled})
	require.NoError(t, err)
	require.Empty(t, list.Schedules)

	group, err := c.GetScheduleGroup(ctx, &scheduler.GetScheduleGroupInput{Name: aws.String("default")})
	require.NoError(t, err)
	_, err = c.TagResource(ctx, &scheduler.TagResourceInput{ResourceArn: group.Arn, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}, {Key: aws.String("b"), Value: aws.String("2")}}})
	require.NoError(t, err)
	_, err = c.UntagResource(ctx, &scheduler.UntagResourceInput{ResourceArn: group.Arn, TagKeys: []string{"a", "c"}})
	require.NoError(t, err)
	tags, err := c.ListTagsForResource(ctx, &scheduler.ListTagsForResourceInput{ResourceArn: group.Arn})
	require.NoError(t, err)
	require.Equal(t, []types.Tag{{Key: aws.String("b"), Value: aws.String("2")}}, tags.Tags)

	_, err = c.DeleteSchedule(ctx, &scheduler.DeleteScheduleInput{Name: in.Name})
	require.NoError(t, err)
	_, err = c.GetSchedule(ctx, &scheduler.GetScheduleInput{Name: in.Name})
	require.ErrorAs(t, err, new(*types.ResourceNotFoundException))
	require.ErrorContains(t, err, "Schedule ecs-job-schedule does not exist.")
	_, err = c.GetSchedule(ctx, &scheduler.GetScheduleInput{Name: in.Name, GroupName: aws.String("other")})
	require.ErrorContains(t, err, "Schedule group other does not exist.")
}

func TestScheduleIsRefused(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	for name, change := range map[string]func(*scheduler.CreateScheduleInput){
		"name":        func(in *scheduler.CreateScheduleInput) { in.Name = aws.String("a b") },
		"expression":  func(in *scheduler.CreateScheduleInput) { in.ScheduleExpression = aws.String("cron(0 3 * * * *)") },
		"time zone":   func(in *scheduler.CreateScheduleInput) { in.ScheduleExpressionTimezone = aws.String("Mars/Base") },
		"window mode": func(in *scheduler.CreateScheduleInput) { in.FlexibleTimeWindow.Mode = "ON" },
		"window size": func(in *scheduler.CreateScheduleInput) {
			in.FlexibleTimeWindow.Mode = types.FlexibleTimeWindowModeFlexible
		},
		"state": func(in *scheduler.CreateScheduleInput) { in.State = "PAUSED" },
		"role":  func(in *scheduler.CreateScheduleInput) { in.Target.RoleArn = aws.String("admin") },
		"target": func(in *scheduler.CreateScheduleInput) {
			in.Target.Arn = aws.String("arn:aws:lambda:us-east-1:000000000000:function:x")
		},
		"no ECS parameters": func(in *scheduler.CreateScheduleInput) { in.Target.EcsParameters = nil },
		"family, not an ARN": func(in *scheduler.CreateScheduleInput) {
			in.Target.EcsParameters.TaskDefinitionArn = aws.String("ecs-job-task:1")
		},
		"task count": func(in *scheduler.CreateScheduleInput) { in.Target.EcsParameters.TaskCount = aws.Int32(11) },
		"retries":    func(in *scheduler.CreateScheduleInput) { in.Target.RetryPolicy.MaximumRetryAttempts = aws.Int32(186) },
		"queue":      func(in *scheduler.CreateScheduleInput) { in.Target.DeadLetterConfig.Arn = aws.String("queue") },
		"overrides":  func(in *scheduler.CreateScheduleInput) { in.Target.Input = aws.String("nightly") },
	} {
		t.Run(name, func(t *testing.T) {
			in := input("arn:aws:ecs:us-east-1:000000000000:task-definition/ecs-job-task:1")
			change(in)
			_, err := p.Scheduler.CreateSchedule(t.Context(), in)
			require.ErrorAs(t, err, new(*types.ValidationException))
		})
	}
}

// eventually polls until a condition holds.
func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, time.Minute, 5*time.Millisecond)
}

func TestScheduleRunsTasks(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{TimeScale: 600}) // a minute takes 0.1 s
	definition := register(p)
	_, err := p.Scheduler.CreateSchedule(t.Context(), input(definition))
	require.NoError(t, err)
	started := func() []string {
		var arns []string
		for _, status := range []ecstypes.DesiredStatus{ecstypes.DesiredStatusRunning, ecstypes.DesiredStatusStopped} {
			out, err := p.ECS.ListTasks(t.Context(), &ecs.ListTasksInput{Cluster: aws.String("jobs"), StartedBy: aws.String("chronos-schedule/ecs-job-schedule"), DesiredStatus: status})
			require.NoError(t, err)
			arns = append(arns, out.TaskArns...)
		}
		return arns
	}
	eventually(t, func() bool { return len(started()) >= 2 })
	out, err := p.ECS.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Cluster: aws.String("jobs"), Tasks: started()[:1]})
	require.NoError(t, err)
	require.Equal(t, "family:ecs-job-task", *out.Tasks[0].Group)
	require.Equal(t, definition, *out.Tasks[0].TaskDefinitionArn)
	require.Equal(t, []string{"nightly"}, out.Tasks[0].Overrides.ContainerOverrides[0].Command)
	require.Empty(t, p.Server.DeadLetters())
}

func TestScheduleDeadLetter(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{TimeScale: 600})
	in := input(register(p))
	in.ScheduleExpression, in.Target.Arn = aws.String("rate(1 hour)"), aws.String("arn:aws:ecs:us-east-1:000000000000:cluster/gone")
	_, err := p.Scheduler.CreateSchedule(t.Context(), in)
	require.NoError(t, err)
	eventually(t, func() bool { return len(p.Server.DeadLetters()) > 0 })
	letter := p.Server.DeadLetters()[0]
	require.Equal(t, []any{"ecs-job-schedule", queue, "ClusterNotFoundException", 1}, []any{letter.Schedule, letter.Queue, letter.Code, letter.Attempts})
}

// TestReleaseOfAJob releases a job alone, and lists the calls, for which a deploy role needs
// permission.
func TestReleaseOfAJob(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{TimeScale: 600})
	_, err := p.Scheduler.CreateSchedule(t.Context(), input(register(p)))
	require.NoError(t, err)
	before := len(p.Server.Calls())
	engine := rollout.Engine{ECS: p.ECS, Logs: p.Logs, Schedules: p.Scheduler, Clock: clock.Real{}, Event: func(string, string) {}}
	job := platform.Service{Name: "job", Schedule: "rate(1 minute)", Names: platform.Names{Cluster: "jobs"}}
	got := engine.Release(t.Context(), rollout.Request{Version: "1", Targets: []rollout.Target{{Service: job, Image: "127.0.0.1:1/none@sha256:1"}}})
	require.Equal(t, outcome.Done, got.ExitCode, got.Error)
	calls := map[string]bool{}
	for _, call := range p.Server.Calls()[before:] {
		calls[call.Service+":"+call.Action] = true
	}
	require.Equal(t, map[string]bool{
		"scheduler:GetSchedule": true, "scheduler:UpdateSchedule": true, "iam:PassRole": true,
		"ecs:DescribeTaskDefinition": true, "ecs:RegisterTaskDefinition": true, "ecs:TagResource": true,
	}, calls)
	runs := func() []report.JobRun {
		status, err := engine.Status(t.Context(), []platform.Service{job})
		require.NoError(t, err)
		require.Equal(t, got.Services[0].To.TaskDefinition, status.Services[0].Version.TaskDefinition)
		return status.Services[0].Job.Runs
	}
	eventually(t, func() bool {
		return slices.ContainsFunc(runs(), func(r report.JobRun) bool { return r.TaskDefinition == got.Services[0].To.TaskDefinition && r.Failed() })
	})
}

// TestScheduleUnmodifiedClients uses boto3 and the AWS CLI, which validate the responses
// by AWS's models.
func TestScheduleUnmodifiedClients(t *testing.T) {
	for _, command := range [][]string{{"python3", "-c", "import boto3"}, {"aws", "--version"}} {
		if err := exec.Command(command[0], command[1:]...).Run(); err != nil {
			t.Skip("needs python3 with boto3, and the AWS CLI:", err)
		}
	}
	p := localawstest.Start(t, localaws.Options{})
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "python3", "testdata/session.py", p.Server.Endpoint(), cluster, role, queue)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	var seen map[string]any
	require.NoError(t, json.Unmarshal(out, &seen))
	require.Equal(t, map[string]any{
		"arn": own, "names": []any{"ecs-job-schedule"}, "groups": []any{"default"}, "tags": []any{map[string]any{"Key": "a", "Value": "1"}},
		"missing": []any{"ResourceNotFoundException", "Schedule nope does not exist.", 404.0}, "invalid": "ValidationException",
		"cli state": "DISABLED", "cli zone": "Europe/Berlin", "cli definition": "arn:aws:ecs:us-east-1:000000000000:task-definition/ecs-job-task:2",
		"cli provider": "FARGATE_SPOT", "cli retries": 3.0,
	}, seen)
}
