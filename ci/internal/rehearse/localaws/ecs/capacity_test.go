package ecs_test

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
)

func on(provider string, base, weight int32) ecstypes.CapacityProviderStrategyItem {
	return ecstypes.CapacityProviderStrategyItem{CapacityProvider: &provider, Base: base, Weight: weight}
}

type strategy = []ecstypes.CapacityProviderStrategyItem

func TestCapacityProviders(t *testing.T) {
	t.Parallel()
	p := localawstest.New(t, binary, fastOptions)
	ctx := t.Context()
	put := func(providers []string, byDefault strategy) error {
		_, err := p.ECS.PutClusterCapacityProviders(ctx, &ecs.PutClusterCapacityProvidersInput{
			Cluster: aws.String("test"), CapacityProviders: providers, DefaultCapacityProviderStrategy: byDefault,
		})
		return err
	}
	definition := p.RegisterTaskDefinition(p.PushImage("one", "hang"))
	providers := func(tasks []ecstypes.Task) map[string]int {
		seen := map[string]int{}
		for _, task := range tasks {
			seen[aws.ToString(task.CapacityProviderName)]++
		}
		return seen
	}
	runTasks := func(count int32, s strategy) ([]ecstypes.Task, error) {
		out, err := p.ECS.RunTask(ctx, &ecs.RunTaskInput{
			Cluster: aws.String("test"), TaskDefinition: &definition, NetworkConfiguration: localawstest.NetworkConfiguration, Count: &count, CapacityProviderStrategy: s,
		})
		if err != nil {
			return nil, err
		}
		return out.Tasks, nil
	}
	_, err := runTasks(1, strategy{on("FARGATE_SPOT", 0, 1)})
	require.ErrorContains(t, err, "cannot contain a capacity provider that is not associated with the cluster")
	require.ErrorContains(t, put([]string{"NOPE"}, strategy{}), "The specified capacity provider was not found.")
	require.ErrorContains(t, put([]string{"FARGATE"}, strategy{on("FARGATE_SPOT", 0, 1)}), "not associated with the cluster")
	both := []string{"FARGATE", "FARGATE_SPOT"}
	require.ErrorContains(t, put(both, strategy{on("FARGATE", 1, 1), on("FARGATE_SPOT", 1, 1)}), "Only one capacity provider")
	require.ErrorContains(t, put(both, strategy{on("FARGATE", 1, 0), on("FARGATE_SPOT", 0, 0)}), "weight greater than zero")
	require.ErrorContains(t, put(both, strategy{on("FARGATE", 0, 1001)}), "weight from 0 to 1000")
	require.NoError(t, put(both, strategy{on("FARGATE", 1, 1), on("FARGATE_SPOT", 0, 3)}))
	described, err := p.ECS.DescribeClusters(ctx, &ecs.DescribeClustersInput{Clusters: []string{"test"}})
	require.NoError(t, err)
	require.Equal(t, both, described.Clusters[0].CapacityProviders)
	require.Equal(t, strategy{on("FARGATE", 1, 1), on("FARGATE_SPOT", 0, 3)}, described.Clusters[0].DefaultCapacityProviderStrategy)

	tasks, err := runTasks(9, nil)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"FARGATE": 3, "FARGATE_SPOT": 6}, providers(tasks), "the default strategy: a base of 1, then 1 to 3")
	tasks, err = runTasks(2, strategy{on("FARGATE_SPOT", 0, 0)})
	require.NoError(t, err)
	require.Equal(t, map[string]int{"FARGATE_SPOT": 2}, providers(tasks))

	p.CreateService(definition, func(in *ecs.CreateServiceInput) {
		in.LaunchType, in.CapacityProviderStrategy, in.LoadBalancers, in.DesiredCount = "", strategy{on("FARGATE", 1, 1), on("FARGATE_SPOT", 0, 3)}, nil, aws.Int32(4)
	})
	s := p.Eventually(func(s ecstypes.Service) bool { return s.RunningCount == 4 })
	require.Empty(t, s.LaunchType)
	require.Equal(t, strategy{on("FARGATE", 1, 1), on("FARGATE_SPOT", 0, 3)}, s.CapacityProviderStrategy)
	require.Equal(t, s.CapacityProviderStrategy, s.Deployments[0].CapacityProviderStrategy)
	require.Equal(t, map[string]int{"FARGATE": 1, "FARGATE_SPOT": 3}, providers(p.DescribeTasks(ecstypes.DesiredStatusRunning)))
	require.ErrorContains(t, put([]string{"FARGATE"}, strategy{}), "The specified capacity provider is in use and cannot be removed.")

	var updated *ecs.UpdateServiceOutput
	update := func(s strategy, force bool) (err error) {
		updated, err = p.ECS.UpdateService(ctx, &ecs.UpdateServiceInput{Cluster: aws.String("test"), Service: aws.String("app"), CapacityProviderStrategy: s, ForceNewDeployment: force})
		return err
	}
	require.NoError(t, update(strategy{on("FARGATE", 1, 1), on("FARGATE_SPOT", 0, 3)}, false), "no change")
	require.ErrorContains(t, update(strategy{on("FARGATE", 0, 1)}, false), "you must force a new deployment.")
	require.NoError(t, update(strategy{on("FARGATE", 0, 1)}, true))
	s = *updated.Service // the answer itself: the deployment may complete before another call
	require.Equal(t, strategy{on("FARGATE", 0, 1)}, s.CapacityProviderStrategy)
	require.Len(t, s.Deployments, 2)
	revisions, err := p.ECS.DescribeServiceRevisions(ctx, &ecs.DescribeServiceRevisionsInput{ServiceRevisionArns: []string{*s.CurrentServiceRevisions[1].Arn}})
	require.NoError(t, err)
	require.Equal(t, strategy{on("FARGATE", 1, 1), on("FARGATE_SPOT", 0, 3)}, revisions.ServiceRevisions[0].CapacityProviderStrategy, "of the older revision")
	require.NoError(t, update(strategy{}, true))
	require.Equal(t, ecstypes.LaunchTypeFargate, p.DescribeService().LaunchType, "an empty list is the launch type again")
}

func TestCapacityProviderErrors(t *testing.T) {
	t.Parallel()
	p := localawstest.Start(t, localaws.Options{})
	create := func(ctx context.Context, in *ecs.CreateClusterInput) error {
		_, err := p.ECS.CreateCluster(ctx, in)
		return err
	}
	require.NoError(t, create(t.Context(), &ecs.CreateClusterInput{
		ClusterName: aws.String("spot"), CapacityProviders: []string{"FARGATE_SPOT"}, DefaultCapacityProviderStrategy: strategy{on("FARGATE_SPOT", 0, 1)},
	}))
	require.ErrorContains(t, create(t.Context(), &ecs.CreateClusterInput{ClusterName: aws.String("bad"), CapacityProviders: []string{"NOPE"}}), "was not found")
	list, err := p.ECS.ListClusters(t.Context(), &ecs.ListClustersInput{})
	require.NoError(t, err)
	require.Len(t, list.ClusterArns, 1)
	_, err = p.ECS.PutClusterCapacityProviders(t.Context(), &ecs.PutClusterCapacityProvidersInput{
		Cluster: aws.String("none"), CapacityProviders: []string{}, DefaultCapacityProviderStrategy: strategy{},
	})
	require.ErrorContains(t, err, "ClusterNotFoundException")
}
