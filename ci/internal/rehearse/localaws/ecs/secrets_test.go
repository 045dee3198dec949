package ecs_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
)

// runUntilStopped runs a task and waits until it has stopped.
func runUntilStopped(p *localawstest.Platform, definition string) ecstypes.Task {
	p.Helper()
	out, err := p.ECS.RunTask(p.Context(), &ecs.RunTaskInput{
		Cluster: aws.String("test"), TaskDefinition: &definition, NetworkConfiguration: localawstest.NetworkConfiguration, LaunchType: ecstypes.LaunchTypeFargate,
	})
	p.RequireNoError(err)
	var last ecstypes.Task
	require.Eventually(p, func() bool {
		seen, err := p.ECS.DescribeTasks(p.Context(), &ecs.DescribeTasksInput{Cluster: aws.String("test"), Tasks: []string{*out.Tasks[0].TaskArn}})
		p.RequireNoError(err)
		last = seen.Tasks[0]
		return *last.LastStatus == "STOPPED"
	}, time.Minute, 10*time.Millisecond)
	return last
}

func secret(name, from string) func(*ecstypes.ContainerDefinition) {
	return func(d *ecstypes.ContainerDefinition) {
		d.Secrets = append(d.Secrets, ecstypes.Secret{Name: &name, ValueFrom: &from})
	}
}

func TestSecretsReachTheContainer(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	ctx := t.Context()
	made, err := p.Secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("db"), SecretString: aws.String(`{"password":"hunter2","port":5432}`)})
	require.NoError(t, err)
	_, err = p.Secrets.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: made.ARN, SecretString: aws.String(`{"password":"hunter3","port":5432}`)})
	require.NoError(t, err)
	_, err = p.SSM.PutParameter(ctx, &ssm.PutParameterInput{Name: aws.String("/app/key"), Value: aws.String("k3y")})
	require.NoError(t, err)
	task := runUntilStopped(p, p.RegisterTaskDefinition(p.PushImage("env", "env"),
		secret("WHOLE", *made.ARN), secret("PASSWORD", *made.ARN+":password::"), secret("PORT_OF_DB", *made.ARN+":port:AWSCURRENT:"),
		secret("PREVIOUS", *made.ARN+":password:AWSPREVIOUS:"), secret("FIRST", *made.ARN+":password::"+*made.VersionId),
		secret("KEY", "/app/key"), secret("KEY_BY_ARN", "arn:aws:ssm:us-east-1:000000000000:parameter/app/key"),
		func(d *ecstypes.ContainerDefinition) {
			d.RepositoryCredentials = &ecstypes.RepositoryCredentials{CredentialsParameter: made.ARN}
			d.LogConfiguration.SecretOptions = []ecstypes.Secret{{Name: aws.String("token"), ValueFrom: aws.String("/app/key")}}
		},
	))
	require.Equal(t, int32(0), *task.Containers[0].ExitCode, *task.StoppedReason)
	out, err := p.Logs.GetLogEvents(ctx, &cloudwatchlogs.GetLogEventsInput{
		LogGroupName: aws.String(localawstest.LogGroup), LogStreamName: aws.String("ecs/app/" + localawstest.TaskID(task)), StartFromHead: aws.Bool(true),
	})
	require.NoError(t, err)
	var lines []string
	for _, e := range out.Events {
		lines = append(lines, *e.Message)
	}
	require.Subset(t, lines, []string{`WHOLE={"password":"hunter3","port":5432}`, "PASSWORD=hunter3", "PORT_OF_DB=5432", "PREVIOUS=hunter2", "FIRST=hunter2", "KEY=k3y", "KEY_BY_ARN=k3y"})
}

func TestMissingSecretsStopTheTask(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	image := p.PushImage("one")
	made, err := p.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("text"), SecretString: aws.String("text")})
	require.NoError(t, err)
	object, err := p.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("object"), SecretString: aws.String(`{"user":"x"}`)})
	require.NoError(t, err)
	empty, err := p.Secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("empty")})
	require.NoError(t, err)
	const head = "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: "
	const asm = head + "unable to retrieve secret from asm: service call has been retried 1 time(s): "
	const arn = "arn:aws:secretsmanager:us-east-1:000000000000:secret:nope-123456"
	tests := map[string]struct {
		change func(*ecstypes.ContainerDefinition)
		want   string
	}{
		"secret":   {secret("X", arn+":key::"), asm + "failed to fetch secret " + arn + " from secrets manager: ResourceNotFoundException: Secrets Manager can't find the specified secret."},
		"key":      {secret("X", *object.ARN+":key::"), asm + "retrieved secret from Secrets Manager did not contain json key key"},
		"no JSON":  {secret("X", *made.ARN+":key::"), asm + "invalid character 'e' in literal true (expecting 'r')"},
		"stage":    {secret("X", *made.ARN+"::OLD:"), asm + "failed to fetch secret " + *made.ARN + " from secrets manager: ResourceNotFoundException: Secrets Manager can't find the specified secret value for staging label: OLD"},
		"version":  {secret("X", *made.ARN+":::v7"), asm + "failed to fetch secret " + *made.ARN + " from secrets manager: ResourceNotFoundException: Secrets Manager can't find the specified secret value for VersionId: v7"},
		"no value": {secret("X", *empty.ARN), asm + "failed to fetch secret " + *empty.ARN + " from secrets manager: ResourceNotFoundException: Secrets Manager can't find the specified secret value for staging label: AWSCURRENT"},
		"registry": {func(d *ecstypes.ContainerDefinition) {
			d.RepositoryCredentials = &ecstypes.RepositoryCredentials{CredentialsParameter: aws.String(arn)}
		}, asm + "failed to fetch secret " + arn + " from secrets manager: ResourceNotFoundException: Secrets Manager can't find the specified secret."},
		"log driver": {func(d *ecstypes.ContainerDefinition) {
			d.LogConfiguration.SecretOptions = []ecstypes.Secret{{Name: aws.String("token"), ValueFrom: aws.String("nope")}}
		}, head + "unable to retrieve secrets from ssm: service call has been retried 1 time(s): invalid ssm parameters: nope"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			task := runUntilStopped(p, p.RegisterTaskDefinition(image, test.change))
			require.Equal(t, ecstypes.TaskStopCodeTaskFailedToStart, task.StopCode)
			require.Equal(t, test.want, *task.StoppedReason)
		})
	}
}
