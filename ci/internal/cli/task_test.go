package cli_test

import (
	"bytes"
	"context"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/cli"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/outputtest"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// testTasks runs one-off tasks, and releases with a task.
func testTasks(t *testing.T, dir string) {
	code, stdout, stderr := run(t, "run", "api", "--source", dir, "--set-env", "GREETING=hel\x1blo", "--", "exit", "0")
	require.Equal(t, outcome.Done, code, stderr)
	require.Equal(t, "task exit 0 hel\\x1blo\n", stdout, "printable, the task's output alone")
	require.Contains(t, stderr, "succeeded (exit code 0)")

	code, stdout, stderr = run(t, "run", "api", "--source", dir, "--output", "json", "--", "exit", "3")
	require.Equal(t, outcome.Failed, code, stderr)
	failed := decode[report.Run](t, stdout)
	require.Equal(t, int32(3), *failed.Task.ExitCode)
	require.Equal(t, "container api exited with code 3", failed.Error)
	require.Equal(t, []string{"task exit 3 "}, failed.Causes[0].LogTail)
	require.Contains(t, stderr, "  | task exit 3")

	code, stdout, stderr = run(t, "run", "api", "--source", dir, "--output", "json", "--timeout", "1s", "--", "sleep", "1h")
	require.Equal(t, outcome.Failed, code, stderr)
	require.Contains(t, decode[report.Run](t, stdout).Error, "the task did not end within 1s")

	code, stdout, stderr = run(t, "run", "api", "--source", dir, "--no-wait", "--", "exit", "0")
	require.Equal(t, outcome.Done, code, stderr)
	require.Regexp(t, `^arn:aws:ecs:\S+:task/ecs-cluster/\w+\n$`, stdout)
	task := strings.TrimSpace(stdout)

	code, _, stderr = run(t, "run", "api", "--source", dir, "--container", "agent", "--", "exit", "0")
	require.Equal(t, outcome.Usage, code)
	require.Contains(t, stderr, "api: no task was started\n  no container \"agent\" in task definition")

	testInterruptedTask(t, dir)
	testTaskOfCommit(t, dir)
	testLogs(t, dir, task)
	testNoLogs(t, dir)
	testReleaseTask(t, dir)
}

// testNoLogs: a worker whose container does not use awslogs.
func testNoLogs(t *testing.T, dir string) {
	config, err := awsauth.Load(t.Context(), awsauth.Options{})
	require.NoError(t, err)
	client := ecs.NewFromConfig(config)
	registered, err := client.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{
		Family: aws.String("bare"), NetworkMode: types.NetworkModeAwsvpc, Cpu: aws.String("256"), Memory: aws.String("512"),
		RequiresCompatibilities: []types.Compatibility{types.CompatibilityFargate},
		ContainerDefinitions:    []types.ContainerDefinition{{Name: aws.String("bare"), Image: aws.String("example.com/bare@sha256:" + strings.Repeat("0", 64))}},
	})
	require.NoError(t, err)
	_, err = client.CreateService(t.Context(), &ecs.CreateServiceInput{
		Cluster: aws.String(platform.Cluster), ServiceName: aws.String("bare"), TaskDefinition: registered.TaskDefinition.TaskDefinitionArn, DesiredCount: aws.Int32(0),
		NetworkConfiguration: &types.NetworkConfiguration{AwsvpcConfiguration: &types.AwsVpcConfiguration{Subnets: []string{"subnet-1"}}},
	})
	require.NoError(t, err)
	services := strings.Replace(sourcetest.Services, "{\n", `{"bare": {"path": "api", "kind": "go", "service": "bare", "family": "bare", "cpu": 256, "memory": 512, "desired_count": 0},`+"\n", 1)
	other := sourcetest.New(t)
	sourcetest.Write(t, other, platform.ServicesFile, services)
	code, _, stderr := run(t, "logs", "bare", "--source", other)
	require.Equal(t, outcome.Failed, code)
	require.Equal(t, "slipway: no log of bare: no container uses the awslogs driver, so CloudWatch does not have it\n", stderr)
	all := decode[report.Logs](t, ran(t, other, "logs"))
	require.NotEmpty(t, all.Lines, "of the others")
	require.Equal(t, []string{"no log of bare: no container uses the awslogs driver, so CloudWatch does not have it"}, all.Notes)

	sourcetest.Write(t, other, platform.ServicesFile, strings.ReplaceAll(services, `"service": "bare"`, `"service": "gone"`))
	all = decode[report.Logs](t, ran(t, other, "logs"))
	require.NotEmpty(t, all.Lines, "of the others")
	require.Len(t, all.Notes, 1)
	require.Contains(t, all.Notes[0], "no log of bare: cluster ecs-cluster has no active service gone")
	code, _, stderr = run(t, "logs", "bare", "--source", other)
	require.Equal(t, outcome.Failed, code)
	require.Contains(t, stderr, "slipway: cluster ecs-cluster has no active service gone")
	var unread bytes.Buffer
	require.Equal(t, outcome.Done, cli.Run(t.Context(), []string{"logs", "api", "--source", dir, "--follow"}, broken{syscall.EPIPE}, &unread, nil), "it ends with its reader")
}

func testInterruptedTask(t *testing.T, dir string) {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var stderr bytes.Buffer
	shown := outputtest.NewMatchWriter("task sleep 1h", func([]string) { cancel(outcome.Interruption("interrupted by the test")) })
	code := cli.Run(ctx, []string{"run", "api", "--source", dir, "--", "sleep", "1h"}, shown, &stderr, nil)
	require.Equal(t, outcome.Interrupted, code, stderr.String())
	require.Contains(t, stderr.String(), "stopping task")
	require.Contains(t, stderr.String(), "is STOPPED")
}

func testTaskOfCommit(t *testing.T, dir string) {
	sourcetest.Write(t, dir, "api/note.go", "package main\n")
	sourcetest.Commit(t, dir, "published only")
	sha := strings.TrimSpace(sourcetest.Git(t, dir, "rev-parse", "HEAD"))
	at := []string{"run", "api", "--source", dir, "--sha", sha, "--output", "json", "--", "exit", "0"}
	code, stdout, _ := run(t, at...)
	require.Equal(t, outcome.Failed, code)
	require.Contains(t, decode[report.Run](t, stdout).Error, "publish it first (slipway publish)")
	ran(t, dir, "publish", "--service", "api")
	var revisions []string
	for range 2 {
		code, stdout, stderr := run(t, at...)
		require.Equal(t, outcome.Done, code, stderr)
		revisions = append(revisions, decode[report.Run](t, stdout).TaskDefinition)
	}
	require.Equal(t, revisions[0], revisions[1], "registered once")
	status := decode[report.Status](t, ran(t, dir, "status"))
	require.NotEqual(t, revisions[0], status.Services[0].Version.TaskDefinition)
}

func testLogs(t *testing.T, dir, task string) {
	id := task[strings.LastIndex(task, "/")+1:]
	logs := decode[report.Logs](t, ran(t, dir, "logs", "--task", task))
	require.Len(t, logs.Lines, 1)
	require.Equal(t, "task exit 0 ", logs.Lines[0].Text)
	require.Equal(t, id, logs.Lines[0].Task)
	require.Equal(t, logs, decode[report.Logs](t, ran(t, dir, "logs", "--task", id[:8])), "by the id as each line has it")
	code, stdout, stderr := run(t, "logs", "--source", dir, "--task", "none")
	require.Equal(t, outcome.Failed, code)
	require.Empty(t, stdout)
	require.Contains(t, stderr, `slipway: no task "none" of api, web: ECS lists none`)

	code, stdout, stderr = run(t, "logs", "api", "--source", dir)
	require.Equal(t, outcome.Done, code, stderr)
	require.Contains(t, stdout, "api/"+id[:8]+"  task exit 0")

	status := decode[report.Status](t, ran(t, dir, "status"))
	logs = decode[report.Logs](t, ran(t, dir, "logs", "api", "--sha", status.Services[0].Version.SHA))
	for _, line := range logs.Lines {
		require.NotContains(t, line.Text, "published only")
	}
	code, _, stderr = run(t, "logs", "--source", dir, "--task", "not a task")
	require.Equal(t, outcome.Usage, code)
	require.Contains(t, stderr, `invalid --task "not a task"`)

	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	shown := outputtest.NewMatchWriter("task exit 7", func([]string) { cancel(outcome.Interruption("interrupted by the test")) })
	done := make(chan outcome.Code, 1)
	go func() {
		done <- cli.Run(ctx, []string{"logs", "api", "--source", dir, "--follow", "--since", "1m"}, shown, t.Output(), nil)
	}()
	code, _, _ = run(t, "run", "api", "--source", dir, "--", "exit", "7")
	require.Equal(t, outcome.Failed, code)
	require.Equal(t, outcome.Interrupted, <-done)
}

// testReleaseTask releases versions whose task fails and succeeds.
func testReleaseTask(t *testing.T, dir string) {
	with := func(task, title string) report.Release {
		t.Helper()
		sourcetest.Write(t, dir, "terraform/services.auto.tfvars.json", strings.Replace(sourcetest.Services, `"desired_count": 2}`, `"desired_count": 2, "release_task": {"command": `+task+`}}`, 1))
		sourcetest.Write(t, dir, "api/note.go", "package main\n\nfunc init() { println(\""+title+"\") }\n")
		sourcetest.Commit(t, dir, title)
		_, stdout, stderr := run(t, "deploy", "--source", dir, "--output", "json")
		require.NotEmpty(t, stdout, stderr)
		return decode[report.Release](t, stdout)
	}
	before := decode[report.Status](t, ran(t, dir, "status"))
	failed := with(`["exit", "3"]`, "failing task")
	require.Equal(t, outcome.Failed, failed.ExitCode, failed.Error)
	require.Equal(t, "the release task of api failed: container api exited with code 3", failed.Error)
	require.Equal(t, []string{"failing task", "task exit 3 "}, failed.Services[0].Causes[0].LogTail)
	require.Len(t, failed.Tasks, 1)
	after := decode[report.Status](t, ran(t, dir, "status"))
	require.Equal(t, before.Services[0].Version, after.Services[0].Version)

	good := with(`["exit", "0"]`, "good task")
	require.Equal(t, outcome.Done, good.ExitCode, good.Error)
	require.Equal(t, report.Succeeded, good.Tasks[0].Result)
	require.Contains(t, stageNames(good), "release-task")
	t.Logf("the release took %d ms, its task %d ms", good.DurationMS, good.Tasks[0].DurationMS)
	sourcetest.Write(t, dir, "terraform/services.auto.tfvars.json", sourcetest.Services)
	sourcetest.Commit(t, dir, "no task")
}
