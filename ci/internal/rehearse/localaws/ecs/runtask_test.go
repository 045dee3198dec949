package ecs_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
)

func overrideApp(change func(*ecstypes.ContainerOverride)) *ecstypes.TaskOverride {
	o := ecstypes.ContainerOverride{Name: aws.String("app")}
	change(&o)
	return &ecstypes.TaskOverride{ContainerOverrides: []ecstypes.ContainerOverride{o}}
}

func TestRunTaskErrors(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, localaws.Options{})
	definition := p.RegisterTaskDefinition(p.Repo+":none", secret("KEY", "key"))
	inactive := p.RegisterTaskDefinition(p.Repo + ":none")
	_, err := p.ECS.DeregisterTaskDefinition(t.Context(), &ecs.DeregisterTaskDefinitionInput{TaskDefinition: &inactive})
	require.NoError(t, err)
	tests := map[string]struct {
		change        func(*ecs.RunTaskInput)
		code, message string
	}{
		"inactive definition":    {func(in *ecs.RunTaskInput) { in.TaskDefinition = &inactive }, "ClientException", "TaskDefinition is inactive"},
		"unknown definition":     {func(in *ecs.RunTaskInput) { in.TaskDefinition = aws.String("none:1") }, "ClientException", "TaskDefinition not found."},
		"no network":             {func(in *ecs.RunTaskInput) { in.NetworkConfiguration = nil }, "InvalidParameterException", "Network Configuration must be provided when networkMode 'awsvpc' is specified."},
		"no launch type is EC2":  {func(in *ecs.RunTaskInput) { in.LaunchType = "" }, "InvalidParameterException", "No Container Instances were found in your cluster."},
		"too many":               {func(in *ecs.RunTaskInput) { in.Count = aws.Int32(11) }, "InvalidParameterException", "Count must be between 1 and 10."},
		"none":                   {func(in *ecs.RunTaskInput) { in.Count = aws.Int32(0) }, "InvalidParameterException", "Count must be between 1 and 10."},
		"long token":             {func(in *ecs.RunTaskInput) { in.ClientToken = aws.String(strings.Repeat("t", 65)) }, "InvalidParameterException", "clientToken must have 1 to 64 characters"},
		"token with a space":     {func(in *ecs.RunTaskInput) { in.ClientToken = aws.String("a b") }, "InvalidParameterException", "clientToken must have"},
		"long startedBy":         {func(in *ecs.RunTaskInput) { in.StartedBy = aws.String(strings.Repeat("s", 129)) }, "InvalidParameterException", "startedBy must have at most 128"},
		"startedBy with a colon": {func(in *ecs.RunTaskInput) { in.StartedBy = aws.String("a:b") }, "InvalidParameterException", "startedBy must have"},
		"group of a service":     {func(in *ecs.RunTaskInput) { in.Group = aws.String("service:app") }, "InvalidParameterException", "reserved"},
		"tags of a service":      {func(in *ecs.RunTaskInput) { in.PropagateTags = ecstypes.PropagateTagsService }, "InvalidParameterException", "SERVICE"},
		"reserved tag": {
			func(in *ecs.RunTaskInput) {
				in.Tags = []ecstypes.Tag{{Key: aws.String("aws:x"), Value: aws.String("y")}}
			}, "InvalidParameterException", "reserved",
		},
		"unknown container": {
			func(in *ecs.RunTaskInput) {
				in.Overrides = overrideApp(func(o *ecstypes.ContainerOverride) { o.Name = aws.String("web") })
			}, "InvalidParameterException", "Override for container named web is not a container in the TaskDefinition.",
		},
		"container without name": {
			func(in *ecs.RunTaskInput) {
				in.Overrides = overrideApp(func(o *ecstypes.ContainerOverride) { o.Name = nil })
			}, "InvalidParameterException", "name is required",
		},
		"long overrides": {
			func(in *ecs.RunTaskInput) {
				in.Overrides = overrideApp(func(o *ecstypes.ContainerOverride) { o.Command = []string{strings.Repeat("x", 8192)} })
			}, "InvalidParameterException", "Container Overrides length must be at most 8192",
		},
		"variable that is a secret": {
			func(in *ecs.RunTaskInput) {
				in.Overrides = overrideApp(func(o *ecstypes.ContainerOverride) {
					o.Environment = []ecstypes.KeyValuePair{{Name: aws.String("KEY"), Value: aws.String("x")}}
				})
			}, "ClientException", "The secret name must be unique",
		},
		"size that Fargate lacks": {
			func(in *ecs.RunTaskInput) { in.Overrides = &ecstypes.TaskOverride{Memory: aws.String("8 GB")} },
			"ClientException", "No Fargate configuration exists for given values: 256 CPU, 8192 memory.",
		},
		"launch type and strategy": {
			func(in *ecs.RunTaskInput) {
				in.CapacityProviderStrategy = []ecstypes.CapacityProviderStrategyItem{{CapacityProvider: aws.String("FARGATE")}}
			}, "InvalidParameterException", "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			in := &ecs.RunTaskInput{Cluster: aws.String("test"), TaskDefinition: &definition, NetworkConfiguration: localawstest.NetworkConfiguration, LaunchType: ecstypes.LaunchTypeFargate}
			test.change(in)
			_, err := p.ECS.RunTask(t.Context(), in)
			var answered smithy.APIError
			require.ErrorAs(t, err, &answered)
			require.Equal(t, test.code, answered.ErrorCode())
			require.Contains(t, answered.ErrorMessage(), test.message)
		})
	}
	list, err := p.ECS.ListTasks(t.Context(), &ecs.ListTasksInput{Cluster: aws.String("test"), DesiredStatus: ecstypes.DesiredStatusStopped})
	require.NoError(t, err)
	require.Empty(t, list.TaskArns)
}

func TestClientToken(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	definition := p.RegisterTaskDefinition(p.PushImage("one"))
	call := func(changes ...func(*ecs.RunTaskInput)) (*ecs.RunTaskOutput, error) {
		in := &ecs.RunTaskInput{
			Cluster: aws.String("test"), TaskDefinition: &definition, NetworkConfiguration: localawstest.NetworkConfiguration, LaunchType: ecstypes.LaunchTypeFargate,
			ClientToken: aws.String("release-1"), Count: aws.Int32(2),
			Overrides: overrideApp(func(o *ecstypes.ContainerOverride) { o.Command = []string{"exit", "3"} }),
		}
		for _, change := range changes {
			change(in)
		}
		return p.ECS.RunTask(t.Context(), in)
	}
	arns := func(out *ecs.RunTaskOutput) (list []string) {
		for _, task := range out.Tasks {
			list = append(list, *task.TaskArn)
		}
		return list
	}
	first, err := call()
	require.NoError(t, err)
	require.Len(t, first.Tasks, 2)
	for _, arn := range arns(first) {
		waitForStatus(p, arn, "STOPPED")
	}
	again, err := call(func(in *ecs.RunTaskInput) { in.Cluster = aws.String("arn:aws:ecs:us-east-1:000000000000:cluster/test") })
	require.NoError(t, err)
	require.Equal(t, arns(first), arns(again))
	require.Equal(t, "STOPPED", *again.Tasks[0].LastStatus)
	require.Equal(t, int32(3), *again.Tasks[0].Containers[0].ExitCode)

	var conflict *ecstypes.ConflictException
	_, err = call(func(in *ecs.RunTaskInput) { in.Overrides.ContainerOverrides[0].Command = []string{"exit", "0"} })
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, arns(first), conflict.ResourceIds)
	other, err := call(func(in *ecs.RunTaskInput) { in.ClientToken = aws.String("release-2") })
	require.NoError(t, err)
	require.NotContains(t, arns(first), *other.Tasks[0].TaskArn)
	_, err = p.ECS.CreateCluster(t.Context(), &ecs.CreateClusterInput{ClusterName: aws.String("other")})
	require.NoError(t, err)
	elsewhere, err := call(func(in *ecs.RunTaskInput) { in.Cluster = aws.String("other") })
	require.NoError(t, err, "a token belongs to a cluster")
	require.NotContains(t, arns(first), *elsewhere.Tasks[0].TaskArn)
}

func TestRunTaskOverridesAndTags(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	registered, err := p.ECS.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{
		Family: aws.String("job"), Cpu: aws.String("256"), Memory: aws.String("512"), NetworkMode: ecstypes.NetworkModeAwsvpc,
		RequiresCompatibilities: []ecstypes.Compatibility{ecstypes.CompatibilityFargate}, ExecutionRoleArn: aws.String("arn:aws:iam::000000000000:role/exec"),
		TaskRoleArn: aws.String("arn:aws:iam::000000000000:role/task"), Tags: []ecstypes.Tag{{Key: aws.String("Project"), Value: aws.String("ecs")}},
		RuntimePlatform:      &ecstypes.RuntimePlatform{CpuArchitecture: ecstypes.CPUArchitectureArm64},
		ContainerDefinitions: []ecstypes.ContainerDefinition{containerDefinition("app", p.PushImage("one"), command("exit", "1")), containerDefinition("side", p.PushImage("two"), inessential, port(9000))},
	})
	require.NoError(t, err)
	done := run(p, &ecs.RunTaskInput{
		TaskDefinition: registered.TaskDefinition.TaskDefinitionArn, Group: aws.String("nightly"), EnableExecuteCommand: true, EnableECSManagedTags: true,
		PropagateTags: ecstypes.PropagateTagsTaskDefinition, Tags: []ecstypes.Tag{{Key: aws.String("Run"), Value: aws.String("1")}},
		Overrides: &ecstypes.TaskOverride{
			Cpu: aws.String("1 vCPU"), Memory: aws.String("2 GB"), EphemeralStorage: &ecstypes.EphemeralStorage{SizeInGiB: 40},
			TaskRoleArn: aws.String("arn:aws:iam::000000000000:role/other"),
			ContainerOverrides: []ecstypes.ContainerOverride{{
				Name: aws.String("app"), Command: []string{"env"}, Cpu: aws.Int32(512), Memory: aws.Int32(1024), MemoryReservation: aws.Int32(512),
				Environment: []ecstypes.KeyValuePair{{Name: aws.String("MODE"), Value: aws.String("migrate")}},
			}},
		},
	}, "STOPPED")
	require.Equal(t, int32(0), *done.Containers[0].ExitCode)
	require.Contains(t, output(p, done, "app"), "MODE=migrate")
	require.Equal(t, "nightly", *done.Group)
	require.Equal(t, []string{"1024", "2048", "512", "1024", "512"}, []string{*done.Cpu, *done.Memory, *done.Containers[0].Cpu, *done.Containers[0].Memory, *done.Containers[0].MemoryReservation})
	require.Equal(t, int32(40), done.EphemeralStorage.SizeInGiB)
	require.Equal(t, ecstypes.LaunchTypeFargate, done.LaunchType)
	require.True(t, done.EnableExecuteCommand)
	require.Equal(t, "arm64", *done.Attributes[0].Value)
	require.Equal(t, []string{"app", "side"}, []string{*done.Overrides.ContainerOverrides[0].Name, *done.Overrides.ContainerOverrides[1].Name})
	require.Equal(t, "arn:aws:iam::000000000000:role/other", *done.Overrides.TaskRoleArn)
	tagged, err := p.ECS.ListTagsForResource(t.Context(), &ecs.ListTagsForResourceInput{ResourceArn: done.TaskArn})
	require.NoError(t, err)
	tags := map[string]string{}
	for _, tag := range tagged.Tags {
		tags[*tag.Key] = *tag.Value
	}
	require.Equal(t, map[string]string{"Project": "ecs", "Run": "1", "aws:ecs:clusterName": "test"}, tags)

	var needed []string
	for _, c := range p.Server.Calls() {
		if c.Action == "PassRole" && c.Resources[0] != "arn:aws:iam::000000000000:role/task" || c.Action == "TagResource" && c.Conditions["ecs:CreateAction"] == "RunTask" {
			needed = append(needed, c.Resources[0])
		}
	}
	require.Equal(t, []string{
		"arn:aws:iam::000000000000:role/exec", // of RegisterTaskDefinition
		"arn:aws:iam::000000000000:role/exec", "arn:aws:iam::000000000000:role/other", "arn:aws:ecs:us-east-1:000000000000:task/test/*",
	}, needed)
}

func TestRunTaskFaults(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	definition := p.RegisterTaskDefinition(p.PushImage("one", "hang"))
	in := &ecs.RunTaskInput{
		Cluster: aws.String("test"), TaskDefinition: &definition, NetworkConfiguration: localawstest.NetworkConfiguration, LaunchType: ecstypes.LaunchTypeFargate,
		Count: aws.Int32(2), ClientToken: aws.String("once"),
	}
	p.Server.Inject(localaws.Fault{Kind: localaws.NoCapacity, Times: 1})
	out, err := p.ECS.RunTask(t.Context(), in)
	require.NoError(t, err)
	require.Empty(t, out.Tasks)
	require.Len(t, out.Failures, 2)
	require.Equal(t, "Capacity is unavailable at this time. Please try again later or in a different availability zone", *out.Failures[0].Reason)
	out, err = p.ECS.RunTask(t.Context(), in)
	require.NoError(t, err)
	require.Len(t, out.Tasks, 2, "the token was not used")

	remove := p.Server.Inject(localaws.Fault{Kind: localaws.Hidden, Delay: time.Hour})
	describe := &ecs.DescribeTasksInput{Cluster: aws.String("test"), Tasks: []string{*out.Tasks[0].TaskArn}}
	seen, err := p.ECS.DescribeTasks(t.Context(), describe)
	require.NoError(t, err)
	require.Equal(t, "MISSING", *seen.Failures[0].Reason)
	list, err := p.ECS.ListTasks(t.Context(), &ecs.ListTasksInput{Cluster: aws.String("test")})
	require.NoError(t, err)
	require.Empty(t, list.TaskArns)
	remove()
	seen, err = p.ECS.DescribeTasks(t.Context(), describe)
	require.NoError(t, err)
	require.Len(t, seen.Tasks, 1)
}
