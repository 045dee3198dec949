package ecs

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// fargateProviders are the capacity providers of Fargate, the only ones here.
var fargateProviders = []string{"FARGATE", "FARGATE_SPOT"}

// launch is where tasks run: on a launch type, or on the capacity providers of a
// strategy.
type launch struct {
	launchType types.LaunchType
	strategy   []types.CapacityProviderStrategyItem
}

// launch returns where the tasks of a call run. Without a launch type and a strategy it
// is the cluster's default strategy, otherwise EC2.
func (cl *cluster) launch(launchType types.LaunchType, strategy []types.CapacityProviderStrategyItem) (launch, error) {
	if launchType != "" && len(strategy) > 0 {
		return launch{}, wire.Errorf("InvalidParameterException", "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.")
	}
	if err := validateStrategy(strategy, cl.providers); err != nil {
		return launch{}, err
	}
	if launchType == "" && len(strategy) == 0 {
		strategy = cl.defaultStrategy
	}
	if launchType == "" && len(strategy) == 0 {
		launchType = types.LaunchTypeEc2
	}
	return launch{launchType, strategy}, nil
}

// validate validates that tasks of a definition can run here: there are no container
// instances.
func (l launch) validate(d *types.TaskDefinition) error {
	switch {
	case l.launchType == types.LaunchTypeEc2, l.launchType == types.LaunchTypeExternal:
		return wire.Errorf("InvalidParameterException", "No Container Instances were found in your cluster.")
	case !slices.Contains(d.Compatibilities, types.CompatibilityFargate):
		return wire.Errorf("InvalidParameterException", "Task definition does not support launch_type FARGATE.")
	}
	return nil
}

// provider returns the capacity provider of the next task beside others: the first whose
// base is not reached, otherwise the one that would have the least tasks for its weight.
// It is nil for a launch type.
func (l launch) provider(tasks []*taskRun) *string {
	if len(l.strategy) == 1 {
		return l.strategy[0].CapacityProvider // whatever its weight
	}
	running := map[string]int32{}
	for _, t := range tasks {
		running[aws.ToString(t.record.CapacityProviderName)]++
	}
	var next *types.CapacityProviderStrategyItem
	var least float64
	for i := range l.strategy {
		item := &l.strategy[i]
		n := running[*item.CapacityProvider]
		if n < item.Base {
			return item.CapacityProvider
		}
		if item.Weight == 0 {
			continue
		}
		if load := float64(n-item.Base+1) / float64(item.Weight); next == nil || load < least || load == least && item.Weight > next.Weight {
			next, least = item, load
		}
	}
	if next == nil {
		return nil
	}
	return next.CapacityProvider
}

// validateStrategy validates a capacity provider strategy of a cluster with providers.
func validateStrategy(strategy []types.CapacityProviderStrategyItem, providers []string) error {
	bases, weights := 0, int32(0)
	for _, item := range strategy {
		name := aws.ToString(item.CapacityProvider)
		switch {
		case !slices.Contains(fargateProviders, name):
			return invalid("The specified capacity provider was not found. Specify a valid capacity provider and try again.")
		case !slices.Contains(providers, name):
			return invalid("The specified capacity provider strategy cannot contain a capacity provider that is not associated with the cluster. Associate the capacity provider with the cluster or specify a valid capacity provider and try again.")
		case item.Weight < 0 || item.Weight > 1000 || item.Base < 0 || item.Base > 100000:
			return invalid("A capacity provider strategy has a weight from 0 to 1000 and a base from 0 to 100000.")
		}
		if item.Base > 0 {
			bases++
		}
		weights += item.Weight
	}
	switch {
	case bases > 1:
		return invalid("Only one capacity provider in a capacity provider strategy can have a base defined.")
	case len(strategy) > 1 && weights == 0:
		return invalid("At least one capacity provider in a capacity provider strategy must have a weight greater than zero.")
	}
	return nil
}

// setProviders sets the capacity providers of a cluster and its default strategy.
func (cl *cluster) setProviders(providers []string, strategy []types.CapacityProviderStrategyItem) error {
	for _, name := range providers {
		if !slices.Contains(fargateProviders, name) {
			return wire.Errorf("InvalidParameterException", "The specified capacity provider was not found. Specify a valid capacity provider and try again.")
		}
	}
	if err := validateStrategy(strategy, providers); err != nil {
		return err
	}
	for _, s := range cl.services {
		for _, item := range s.record.CapacityProviderStrategy {
			if s.status == statusActive && !slices.Contains(providers, *item.CapacityProvider) {
				return wire.Errorf("ResourceInUseException", "The specified capacity provider is in use and cannot be removed.")
			}
		}
	}
	cl.providers, cl.defaultStrategy = providers, strategy
	return nil
}

func (c *ControlPlane) putClusterCapacityProviders(ctx context.Context, in *awsecs.PutClusterCapacityProvidersInput) (*awsecs.PutClusterCapacityProvidersOutput, error) {
	cl, err := c.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	wire.AddResources(ctx, cl.arn)
	if err := cl.setProviders(in.CapacityProviders, in.DefaultCapacityProviderStrategy); err != nil {
		return nil, err
	}
	return &awsecs.PutClusterCapacityProvidersOutput{Cluster: new(c.describeCluster(cl, false))}, nil
}

// updateLaunch returns where a service runs after an update: as before if the update has
// no strategy, on Fargate's launch type if it is empty.
func (s *service) updateLaunch(in *awsecs.UpdateServiceInput) (launch, error) {
	before := launch{s.record.LaunchType, s.record.CapacityProviderStrategy}
	if in.CapacityProviderStrategy == nil {
		return before, nil
	}
	after := launch{strategy: in.CapacityProviderStrategy}
	if err := validateStrategy(after.strategy, s.cluster.providers); err != nil {
		return launch{}, err
	}
	if len(after.strategy) == 0 {
		after = launch{launchType: types.LaunchTypeFargate}
	}
	if !in.ForceNewDeployment && !after.equal(before) {
		return launch{}, wire.Errorf("InvalidParameterException", "When switching from launch type to capacity provider strategy on an existing service, "+
			"or making a change to a capacity provider strategy on a service that is already using one, you must force a new deployment.")
	}
	return after, nil
}

func (l launch) equal(other launch) bool {
	return l.launchType == other.launchType && slices.EqualFunc(l.strategy, other.strategy, func(a, b types.CapacityProviderStrategyItem) bool {
		return *a.CapacityProvider == *b.CapacityProvider && a.Base == b.Base && a.Weight == b.Weight
	})
}
