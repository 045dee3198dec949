package localaws_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
)

// TestBoto3 calls the embedded AWS with boto3, which validates the responses by AWS's
// models.
func TestBoto3(t *testing.T) {
	if err := exec.Command("python3", "-c", "import boto3").Run(); err != nil {
		t.Skip("needs python3 with boto3:", err)
	}
	p := localawstest.New(t, binary, localaws.Options{TimeScale: 10})
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "python3", "testdata/boto3_session.py",
		p.Server.Endpoint(), p.PushImage("one"), p.PushImage("two"), p.PushImage("bad", "exit", "7"))
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	var seen struct {
		ARN          string
		Repositories []string
		Health       []string
		Rolling      []string
		Events       []string
		Failed       [][2]any
		Log          []string
		History      []string
		Deregistered string
		Paused       []any
		Shifted      []any
		Providers    []string
		Migration    struct {
			StopCode, CPU, Provider string
			Codes                   map[string]int
			Tags                    []map[string]string
			Same                    bool
		}
		Conflict    bool
		Spread      []string
		Stopped     []string
		Both        string
		Container   string
		NoCluster   string `json:"unknown cluster"`
		NoOperation string `json:"unknown operation"`
		NoAction    string `json:"unknown action"`
		NoService   string `json:"unknown service"`
	}
	require.NoError(t, json.Unmarshal(out, &seen))
	require.Equal(t, "arn:aws:iam::000000000000:user/local", seen.ARN)
	require.Equal(t, []string{"app"}, seen.Repositories)
	require.Equal(t, []string{"healthy", "healthy"}, seen.Health)
	require.Equal(t, []string{"PRIMARY", "ACTIVE"}, seen.Rolling)
	require.Equal(t, "(service py) has reached a steady state.", seen.Events[0])
	require.GreaterOrEqual(t, len(seen.Failed), 3)
	require.True(t, slices.Contains(seen.Failed, [2]any{"Essential container in task exited", 7.0}))
	require.Equal(t, []string{"starting bad", "panic: the database is on fire"}, seen.Log)
	require.Equal(t, []string{"ROLLBACK_SUCCESSFUL", "SUCCESSFUL", "SUCCESSFUL"}, seen.History)
	require.Equal(t, "INACTIVE", seen.Deregistered)
	require.Equal(t, []any{"POST_PRODUCTION_TRAFFIC_SHIFT", "ROLLBACK", 100.0}, seen.Paused)
	require.Equal(t, []any{"SUCCESSFUL", true, true}, seen.Shifted)
	require.Equal(t, []string{"FARGATE", "FARGATE_SPOT"}, seen.Providers)
	m := seen.Migration
	require.Equal(t, []string{"EssentialContainerExited", "512", "FARGATE"}, []string{m.StopCode, m.CPU, m.Provider})
	require.Equal(t, map[string]int{"init": 7, "main": 3}, m.Codes)
	require.Equal(t, []map[string]string{{"key": "Run", "value": "1"}}, m.Tags)
	require.True(t, m.Same && seen.Conflict, "the client token")
	require.Equal(t, []string{"FARGATE", "FARGATE_SPOT"}, seen.Spread)
	require.Equal(t, []string{"UserInitiated", "enough"}, seen.Stopped)
	require.Equal(t, []string{"InvalidParameterException", "InvalidParameterException"}, []string{seen.Both, seen.Container})
	require.Equal(t, "ClusterNotFoundException", seen.NoCluster)
	require.Equal(t, "UnknownOperationException", seen.NoOperation)
	require.Equal(t, "InvalidAction", seen.NoAction)
	require.Equal(t, "NotImplemented", seen.NoService)
}

// TestAWSCLI runs a task with the AWS CLI.
func TestAWSCLI(t *testing.T) {
	if err := exec.Command("aws", "--version").Run(); err != nil {
		t.Skip("needs the AWS CLI:", err)
	}
	p := localawstest.New(t, binary, localaws.Options{TimeScale: 10})
	definition := p.RegisterTaskDefinition(p.PushImage("one"))
	cli := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "aws", append(args, "--endpoint-url", p.Server.Endpoint(), "--region", "us-east-1", "--output", "text")...)
		cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=AKIACLI", "AWS_SECRET_ACCESS_KEY=x", "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=")
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	must := func(args ...string) string {
		out, err := cli(args...)
		require.NoError(t, err, out)
		return out
	}
	must("ecs", "put-cluster-capacity-providers", "--cluster", "test", "--capacity-providers", "FARGATE", "FARGATE_SPOT",
		"--default-capacity-provider-strategy", "capacityProvider=FARGATE_SPOT,weight=1")
	run := []string{
		"ecs", "run-task", "--cluster", "test", "--task-definition", definition, "--client-token", "cli-1", "--started-by", "cli",
		"--network-configuration", "awsvpcConfiguration={subnets=[subnet-1]}",
		"--overrides", `{"containerOverrides":[{"name":"app","command":["hang"]}]}`, "--query", "tasks[].[taskArn,capacityProviderName]",
	}
	started := must(run...)
	arn, provider, _ := strings.Cut(started, "\t")
	require.Equal(t, "FARGATE_SPOT", provider)
	require.Equal(t, started, must(run...), "the client token")
	out, err := cli(append(run, "--count", "2")...)
	require.Error(t, err)
	require.Contains(t, out, "(ConflictException) when calling the RunTask operation")
	must("ecs", "stop-task", "--cluster", "test", "--task", arn, "--reason", "enough")
	waitUntilStopped(p, arn) // the CLI's waiter polls every 6 s
	must("ecs", "wait", "tasks-stopped", "--cluster", "test", "--tasks", arn)
	require.Equal(t, "UserInitiated\tenough\tSTOPPED", must("ecs", "describe-tasks", "--cluster", "test", "--tasks", arn,
		"--query", "tasks[0].[stopCode,stoppedReason,containers[0].lastStatus]"))
}

func waitUntilStopped(p *localawstest.Platform, arn string) {
	p.Helper()
	require.Eventually(p, func() bool {
		out, err := p.ECS.DescribeTasks(p.Context(), &ecs.DescribeTasksInput{Cluster: aws.String("test"), Tasks: []string{arn}})
		return err == nil && *out.Tasks[0].LastStatus == "STOPPED"
	}, time.Minute, 10*time.Millisecond)
}
