package ecs

import (
	"context"
	"slices"

	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

func (c *ControlPlane) describeServices(ctx context.Context, in *awsecs.DescribeServicesInput) (*awsecs.DescribeServicesOutput, error) {
	cl, err := c.clusterForCall(ctx, in.Cluster)
	if err != nil {
		return nil, err
	}
	if len(in.Services) == 0 {
		return nil, wire.Errorf("InvalidParameterException", "Services cannot be empty.")
	}
	if len(in.Services) > 10 {
		return nil, wire.Errorf("InvalidParameterException", "Cannot describe more than 10 services.")
	}
	out := &awsecs.DescribeServicesOutput{Services: []types.Service{}, Failures: []types.Failure{}}
	for _, ref := range in.Services {
		arn := c.cfg.Scope.ARN("ecs", "service/"+cl.name+"/"+wire.ResourceName(ref))
		wire.AddResources(ctx, arn)
		if s, ok := cl.services[wire.ResourceName(ref)]; ok {
			out.Services = append(out.Services, c.describeService(s, slices.Contains(in.Include, types.ServiceFieldTags)))
		} else {
			out.Failures = append(out.Failures, types.Failure{Arn: &arn, Reason: new("MISSING")})
		}
	}
	return out, nil
}

// describeService returns a service as the API does. Its counts are the sums of its
// deployments'.
func (c *ControlPlane) describeService(s *service, tags bool) types.Service {
	out := s.record
	out.Status, out.DesiredCount = &s.status, int32(s.desired)
	out.Events = slices.Clone(s.events)
	out.Deployments = []types.Deployment{}
	if out.Events == nil {
		out.Events = []types.ServiceEvent{}
	}
	for i, d := range s.deployments {
		rendered := s.describeDeployment(d, i == 0)
		out.RunningCount += rendered.RunningCount
		out.PendingCount += rendered.PendingCount
		out.Deployments = append(out.Deployments, rendered)
		out.CurrentServiceRevisions = append(out.CurrentServiceRevisions, types.ServiceCurrentRevisionSummary{
			Arn: &d.revision.arn, RunningTaskCount: rendered.RunningCount, PendingTaskCount: rendered.PendingCount,
			RequestedTaskCount: rendered.DesiredCount,
		})
	}
	if len(s.serviceDeployments) > 0 {
		out.CurrentServiceDeployment = &s.serviceDeployments[0].arn
	}
	if s.status == statusInactive {
		out.Deployments, out.CurrentServiceRevisions, out.CurrentServiceDeployment = []types.Deployment{}, nil, nil
	}
	if tags {
		out.Tags = c.listTags(s.arn)
	}
	return out
}

func (c *ControlPlane) listServices(ctx context.Context, in *awsecs.ListServicesInput) (*awsecs.ListServicesOutput, error) {
	cl, err := c.clusterForCall(ctx, in.Cluster)
	if err != nil {
		return nil, err
	}
	arns := []string{}
	for _, s := range cl.services {
		if s.status != statusInactive && (in.LaunchType == "" || in.LaunchType == s.record.LaunchType) {
			arns = append(arns, s.arn)
		}
	}
	slices.Sort(arns)
	page, next, err := wire.Paginate(arns, in.NextToken, in.MaxResults, 10)
	return &awsecs.ListServicesOutput{ServiceArns: page, NextToken: next}, err
}
