package ecs_test

import (
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
)

func deregister(p *localawstest.Platform, definition string) {
	p.Helper()
	_, err := p.ECS.DeregisterTaskDefinition(p.Context(), &ecs.DeregisterTaskDefinitionInput{TaskDefinition: &definition})
	p.RequireNoError(err)
}

func TestDeregisteredRevision(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	good := p.RegisterTaskDefinition(p.PushImage("one"))
	p.CreateService(good)
	p.WaitStable()
	deregister(p, good)
	require.Equal(t, "one", p.Version(), "it keeps running")
	_, err := p.ECS.UpdateService(t.Context(), &ecs.UpdateServiceInput{Cluster: aws.String("test"), Service: aws.String("app"), TaskDefinition: &good})
	var refused *ecstypes.ClientException
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "TaskDefinition is inactive", *refused.Message)

	// Its deletion is in progress as long as it is used.
	gone, err := p.ECS.DeleteTaskDefinitions(t.Context(), &ecs.DeleteTaskDefinitionsInput{TaskDefinitions: []string{good}})
	require.NoError(t, err)
	require.Equal(t, ecstypes.TaskDefinitionStatusDeleteInProgress, gone.TaskDefinitions[0].Status)
	described, err := p.ECS.DescribeTaskDefinition(t.Context(), &ecs.DescribeTaskDefinitionInput{TaskDefinition: &good})
	require.NoError(t, err)
	require.Equal(t, ecstypes.TaskDefinitionStatusDeleteInProgress, described.TaskDefinition.Status)

	// A task that exits is replaced by one of the same revision.
	tasks := p.DescribeTasks(ecstypes.DesiredStatusRunning)
	_, err = p.ECS.StopTask(t.Context(), &ecs.StopTaskInput{Cluster: aws.String("test"), Task: tasks[0].TaskArn})
	require.NoError(t, err)
	p.Eventually(func(ecstypes.Service) bool {
		running := p.DescribeTasks(ecstypes.DesiredStatusRunning)
		return len(running) == 2 && !slices.ContainsFunc(running, func(t ecstypes.Task) bool { return *t.TaskArn == *tasks[0].TaskArn })
	})
	p.WaitStable()

	// The circuit breaker and StopServiceDeployment roll back to it.
	id := p.UpdateService(p.RegisterTaskDefinition(p.PushImage("bad", "exit", "7")))
	p.Eventually(func(s ecstypes.Service) bool { return *s.Deployments[0].Id != id })
	require.Equal(t, good, *p.WaitStable().TaskDefinition)
	require.Equal(t, "one", p.Version())

	id = p.UpdateService(p.RegisterTaskDefinition(p.PushImage("hang", "hang")))
	_, err = p.ECS.StopServiceDeployment(t.Context(), &ecs.StopServiceDeploymentInput{
		ServiceDeploymentArn: serviceDeployments(p)[0].ServiceDeploymentArn, StopType: ecstypes.StopServiceDeploymentStopTypeRollback,
	})
	require.NoError(t, err)
	p.Eventually(func(s ecstypes.Service) bool { return *s.Deployments[0].Id != id })
	require.Equal(t, good, *p.WaitStable().TaskDefinition)
	require.Equal(t, ecstypes.ServiceDeploymentStatusRollbackSuccessful, serviceDeployments(p)[0].Status)
}

func TestDesiredCountZeroCompletesAtOnce(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	p.CreateService(p.RegisterTaskDefinition(p.PushImage("one")), func(in *ecs.CreateServiceInput) { in.DesiredCount = aws.Int32(0) })
	p.WaitStable()
	id := p.UpdateService(p.RegisterTaskDefinition(p.PushImage("two")))
	s := p.WaitStable()
	require.Equal(t, id, *s.Deployments[0].Id)
	require.Empty(t, p.DescribeTasks(ecstypes.DesiredStatusStopped), "nothing was started for it")
	require.Equal(t, ecstypes.ServiceDeploymentStatusSuccessful, serviceDeployments(p)[0].Status)

	// Scaling to 0 also completes a deployment in progress.
	p2 := localawstest.New(t, binary, fastOptions)
	p2.CreateService(p2.RegisterTaskDefinition(p2.PushImage("one")))
	p2.WaitStable()
	id = p2.UpdateService(p2.RegisterTaskDefinition(p2.PushImage("hang", "hang")))
	_, err := p2.ECS.UpdateService(t.Context(), &ecs.UpdateServiceInput{Cluster: aws.String("test"), Service: aws.String("app"), DesiredCount: aws.Int32(0)})
	require.NoError(t, err)
	require.Equal(t, id, *p2.WaitStable().Deployments[0].Id)
}

func TestSizeFormats(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	tests := map[string]struct{ cpu, memory, wantCPU, wantMemory string }{
		"numbers":         {"256", "512", "256", "512"},
		"without a zero":  {".25 vCPU", ".5 GB", "256", "512"},
		"with a zero":     {"0.25 vCPU", "0.5 GB", "256", "512"},
		"small letters":   {"0.5 vcpu", "1 gb", "512", "1024"},
		"without a space": {"1vCPU", "2GB", "1024", "2048"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			out, err := p.ECS.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{
				Family: aws.String("sizes"), Cpu: &test.cpu, Memory: &test.memory, NetworkMode: ecstypes.NetworkModeAwsvpc,
				RequiresCompatibilities: []ecstypes.Compatibility{ecstypes.CompatibilityFargate},
				ContainerDefinitions:    []ecstypes.ContainerDefinition{{Name: aws.String("app"), Image: aws.String("app")}},
			})
			require.NoError(t, err)
			require.Equal(t, test.wantCPU, *out.TaskDefinition.Cpu)
			require.Equal(t, test.wantMemory, *out.TaskDefinition.Memory)
		})
	}
}

func TestSecretAndVariableWithSameName(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	_, err := p.ECS.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{
		Family: aws.String("twice"), ContainerDefinitions: []ecstypes.ContainerDefinition{{
			Name: aws.String("app"), Image: aws.String("app"), Environment: []ecstypes.KeyValuePair{{Name: aws.String("KEY"), Value: aws.String("x")}},
			Secrets: []ecstypes.Secret{{Name: aws.String("KEY"), ValueFrom: aws.String("key")}},
		}},
	})
	require.ErrorContains(t, err, "The secret name must be unique and not shared with any new or existing environment variables set on the container, such as 'KEY'.")
}
