package ecs

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

type cluster struct {
	name, arn string
	status    string
	settings  []types.ClusterSetting
	services  map[string]*service

	providers       []string // capacity providers
	defaultStrategy []types.CapacityProviderStrategyItem
}

// cluster finds an active cluster by name or ARN; nil means "default".
func (c *ControlPlane) cluster(ref *string) (*cluster, error) {
	name := wire.ResourceName(cmp.Or(aws.ToString(ref), "default"))
	cl, ok := c.clusters[name]
	if !ok || cl.status != "ACTIVE" {
		return nil, wire.Errorf("ClusterNotFoundException", "Cluster not found.")
	}
	return cl, nil
}

// clusterForCall returns a call's cluster, and records it as the condition key
// ecs:cluster.
func (c *ControlPlane) clusterForCall(ctx context.Context, ref *string) (*cluster, error) {
	cl, err := c.cluster(ref)
	if err != nil {
		return nil, err
	}
	wire.AddCondition(ctx, "ecs:cluster", cl.arn)
	return cl, nil
}

func (c *ControlPlane) createCluster(ctx context.Context, in *awsecs.CreateClusterInput) (*awsecs.CreateClusterOutput, error) {
	name := cmp.Or(aws.ToString(in.ClusterName), "default")
	cl, ok := c.clusters[name]
	if !ok || cl.status != "ACTIVE" {
		cl = &cluster{
			name: name, arn: c.cfg.Scope.ARN("ecs", "cluster/"+name), status: "ACTIVE",
			settings: in.Settings, services: map[string]*service{},
		}
		if err := cl.setProviders(in.CapacityProviders, in.DefaultCapacityProviderStrategy); err != nil {
			return nil, err
		}
		if cl.settings == nil {
			cl.settings = []types.ClusterSetting{{Name: types.ClusterSettingNameContainerInsights, Value: new("disabled")}}
		}
		c.clusters[name] = cl
		c.setTags(cl.arn, in.Tags)
	}
	wire.AddResources(ctx, cl.arn)
	return &awsecs.CreateClusterOutput{Cluster: new(c.describeCluster(cl, true))}, nil
}

func (c *ControlPlane) describeCluster(cl *cluster, tags bool) types.Cluster {
	out := types.Cluster{
		ClusterArn: &cl.arn, ClusterName: &cl.name, Status: &cl.status, Settings: cl.settings,
		CapacityProviders: append([]string{}, cl.providers...), Statistics: []types.KeyValuePair{},
		DefaultCapacityProviderStrategy: append([]types.CapacityProviderStrategyItem{}, cl.defaultStrategy...), Tags: []types.Tag{},
	}
	if tags {
		out.Tags = c.listTags(cl.arn)
	}
	for _, s := range cl.services {
		if s.status == statusActive {
			out.ActiveServicesCount++
		}
	}
	for _, t := range c.tasks {
		switch {
		case t.cluster != cl:
		case t.status() == "RUNNING":
			out.RunningTasksCount++
		case t.pending():
			out.PendingTasksCount++
		}
	}
	return out
}

func (c *ControlPlane) describeClusters(ctx context.Context, in *awsecs.DescribeClustersInput) (*awsecs.DescribeClustersOutput, error) {
	refs := in.Clusters
	if len(refs) == 0 {
		refs = []string{"default"}
	}
	out := &awsecs.DescribeClustersOutput{Clusters: []types.Cluster{}, Failures: []types.Failure{}}
	for _, ref := range refs {
		arn := c.cfg.Scope.ARN("ecs", "cluster/"+wire.ResourceName(ref))
		wire.AddResources(ctx, arn)
		if cl, ok := c.clusters[wire.ResourceName(ref)]; ok {
			out.Clusters = append(out.Clusters, c.describeCluster(cl, slices.Contains(in.Include, types.ClusterFieldTags)))
		} else {
			out.Failures = append(out.Failures, types.Failure{Arn: &arn, Reason: new("MISSING")})
		}
	}
	return out, nil
}

func (c *ControlPlane) listClusters(_ context.Context, in *awsecs.ListClustersInput) (*awsecs.ListClustersOutput, error) {
	arns := []string{}
	for _, name := range slices.Sorted(maps.Keys(c.clusters)) {
		if c.clusters[name].status == "ACTIVE" {
			arns = append(arns, c.clusters[name].arn)
		}
	}
	page, next, err := wire.Paginate(arns, in.NextToken, in.MaxResults, 100)
	return &awsecs.ListClustersOutput{ClusterArns: page, NextToken: next}, err
}

func (c *ControlPlane) deleteCluster(ctx context.Context, in *awsecs.DeleteClusterInput) (*awsecs.DeleteClusterOutput, error) {
	cl, err := c.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	wire.AddResources(ctx, cl.arn)
	for _, s := range cl.services {
		if s.status == statusActive {
			return nil, wire.Errorf("ClusterContainsServicesException", "The Cluster cannot be deleted while Services are active.")
		}
	}
	for _, t := range c.tasks {
		if t.cluster == cl && t.status() != "STOPPED" {
			return nil, wire.Errorf("ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active.")
		}
	}
	cl.status = "INACTIVE"
	return &awsecs.DeleteClusterOutput{Cluster: new(c.describeCluster(cl, false))}, nil
}
