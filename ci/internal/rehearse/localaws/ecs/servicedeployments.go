package ecs

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// counts returns how many tasks of a deployment are running, pending and desired.
func (s *service) counts(d *deployment) (running, pending, wanted int32) {
	for _, t := range s.activeTasks() {
		switch {
		case t.deployment != d:
		case t.status() == "RUNNING":
			running++
			wanted++
		case t.pending():
			pending++
			wanted++
		}
	}
	if d == s.primary() {
		wanted = int32(s.desired)
	}
	return running, pending, wanted
}

func (s *service) describeDeployment(d *deployment, primary bool) types.Deployment {
	out := types.Deployment{
		Id: &d.id, Status: new(statusActive), TaskDefinition: d.revision.definition.TaskDefinitionArn,
		CreatedAt: new(d.createdAt), UpdatedAt: new(d.updatedAt), FailedTasks: int32(d.failedTasks), LaunchType: d.revision.launch.launchType,
		CapacityProviderStrategy: d.revision.launch.strategy,
		PlatformVersion:          new("1.4.0"), PlatformFamily: new("Linux"), NetworkConfiguration: d.revision.network,
		RolloutState: d.state, RolloutStateReason: new(d.reason),
	}
	if primary {
		out.Status = new(statusPrimary)
	}
	out.RunningCount, out.PendingCount, out.DesiredCount = s.counts(d)
	return out
}

func (c *ControlPlane) listServiceDeployments(ctx context.Context, in *awsecs.ListServiceDeploymentsInput) (*awsecs.ListServiceDeploymentsOutput, error) {
	cl, err := c.clusterForCall(ctx, in.Cluster)
	if err != nil {
		return nil, err
	}
	wire.AddResources(ctx, c.cfg.Scope.ARN("ecs", "service/"+cl.name+"/"+wire.ResourceName(aws.ToString(in.Service))))
	s, ok := cl.services[wire.ResourceName(aws.ToString(in.Service))]
	if !ok {
		return nil, wire.Errorf("ServiceNotFoundException", "Service not found.")
	}
	briefs := []types.ServiceDeploymentBrief{}
	for _, d := range s.serviceDeployments {
		switch {
		case len(in.Status) > 0 && !slices.Contains(in.Status, d.status):
			continue
		case in.CreatedAt != nil && in.CreatedAt.After != nil && d.createdAt.Before(*in.CreatedAt.After):
			continue
		case in.CreatedAt != nil && in.CreatedAt.Before != nil && d.createdAt.After(*in.CreatedAt.Before):
			continue
		}
		brief := types.ServiceDeploymentBrief{
			ServiceDeploymentArn: &d.arn, ServiceArn: &s.arn, ClusterArn: &cl.arn, TargetServiceRevisionArn: &d.target.arn,
			Status: d.status, CreatedAt: new(d.createdAt), StartedAt: d.startedAt, FinishedAt: d.finishedAt,
		}
		if d.reason != "" {
			brief.StatusReason = new(d.reason)
		}
		briefs = append(briefs, brief)
	}
	page, next, err := wire.Paginate(briefs, in.NextToken, in.MaxResults, 20)
	return &awsecs.ListServiceDeploymentsOutput{ServiceDeployments: page, NextToken: next}, err
}

// maxDescribed is the maximum of service deployments or revisions in one call.
const maxDescribed = 20

func (c *ControlPlane) describeServiceDeployments(ctx context.Context, in *awsecs.DescribeServiceDeploymentsInput) (*awsecs.DescribeServiceDeploymentsOutput, error) {
	if len(in.ServiceDeploymentArns) > maxDescribed {
		return nil, wire.Errorf("InvalidParameterException", "Cannot describe more than %d service deployments.", maxDescribed)
	}
	out := &awsecs.DescribeServiceDeploymentsOutput{ServiceDeployments: []types.ServiceDeployment{}, Failures: []types.Failure{}}
	for _, arn := range in.ServiceDeploymentArns {
		wire.AddResources(ctx, arn)
		if d, ok := c.deployments[arn]; ok {
			out.ServiceDeployments = append(out.ServiceDeployments, d.describe())
		} else {
			out.Failures = append(out.Failures, types.Failure{Arn: &arn, Reason: new("MISSING")})
		}
	}
	return out, nil
}

func (d *serviceDeployment) describe() types.ServiceDeployment {
	out := types.ServiceDeployment{
		ServiceDeploymentArn: &d.arn, ServiceArn: &d.service.arn, ClusterArn: &d.service.cluster.arn,
		CreatedAt: new(d.createdAt), StartedAt: d.startedAt, UpdatedAt: new(d.updatedAt), StoppedAt: d.stoppedAt, FinishedAt: d.finishedAt,
		Status: d.status, LifecycleStage: types.ServiceDeploymentLifecycleStage(d.stage), DeploymentConfiguration: d.config, Rollback: d.rollback,
		SourceServiceRevisions: append([]types.ServiceRevisionSummary{}, d.sources...),
		TargetServiceRevision:  &types.ServiceRevisionSummary{Arn: &d.target.arn},
		DeploymentCircuitBreaker: &types.ServiceDeploymentCircuitBreaker{
			Status: d.circuitBreaker, FailureCount: int32(d.failures), Threshold: int32(d.service.failureThreshold()),
		},
		Alarms: d.alarms.describe(), LifecycleHookDetails: d.describeHooks(),
	}
	if d.reason != "" {
		out.StatusReason = new(d.reason)
	}
	out.TargetServiceRevision.RequestedProductionTrafficWeight, out.TargetServiceRevision.RequestedTestTrafficWeight = d.trafficWeights(d.target)
	for i := range out.SourceServiceRevisions {
		source := &out.SourceServiceRevisions[i]
		source.RequestedProductionTrafficWeight, source.RequestedTestTrafficWeight = d.trafficWeights(d.service.c.revisions[*source.Arn])
	}
	for _, dep := range d.service.deployments {
		if dep.revision == d.target {
			t := out.TargetServiceRevision
			t.RunningTaskCount, t.PendingTaskCount, t.RequestedTaskCount = d.service.counts(dep)
			break
		}
	}
	return out
}

func (c *ControlPlane) describeServiceRevisions(ctx context.Context, in *awsecs.DescribeServiceRevisionsInput) (*awsecs.DescribeServiceRevisionsOutput, error) {
	if len(in.ServiceRevisionArns) > maxDescribed {
		return nil, wire.Errorf("InvalidParameterException", "Cannot describe more than %d service revisions.", maxDescribed)
	}
	out := &awsecs.DescribeServiceRevisionsOutput{ServiceRevisions: []types.ServiceRevision{}, Failures: []types.Failure{}}
	for _, arn := range in.ServiceRevisionArns {
		wire.AddResources(ctx, arn)
		r, ok := c.revisions[arn]
		if !ok {
			out.Failures = append(out.Failures, types.Failure{Arn: &arn, Reason: new("MISSING")})
			continue
		}
		out.ServiceRevisions = append(out.ServiceRevisions, r.describe())
	}
	return out, nil
}

func (r *revision) describe() types.ServiceRevision {
	out := types.ServiceRevision{
		ServiceRevisionArn: &r.arn, ServiceArn: &r.service.arn, ClusterArn: &r.service.cluster.arn,
		TaskDefinition: r.definition.TaskDefinitionArn, CreatedAt: new(r.createdAt), LaunchType: r.launch.launchType,
		CapacityProviderStrategy: r.launch.strategy,
		PlatformVersion:          new("1.4.0"), PlatformFamily: new("Linux"), LoadBalancers: r.loadBalancers, NetworkConfiguration: r.network,
		ContainerImages: []types.ContainerImage{}, ResolvedConfiguration: r.resolvedConfiguration(),
	}
	for _, d := range r.definition.ContainerDefinitions {
		image := types.ContainerImage{ContainerName: d.Name, Image: d.Image}
		if digest, ok := r.digests[*d.Name]; ok {
			image.ImageDigest = &digest
		}
		out.ContainerImages = append(out.ContainerImages, image)
	}
	return out
}

func (c *ControlPlane) stopServiceDeployment(ctx context.Context, in *awsecs.StopServiceDeploymentInput) (*awsecs.StopServiceDeploymentOutput, error) {
	arn := aws.ToString(in.ServiceDeploymentArn)
	wire.AddResources(ctx, arn)
	d, ok := c.deployments[arn]
	if !ok {
		return nil, wire.Errorf("ServiceDeploymentNotFoundException", "Service deployment not found.")
	}
	if d.finished() {
		return nil, wire.Errorf("ConflictException", "The service deployment cannot be stopped because it is in the %s state.", d.status)
	}
	now := c.cfg.Clock.Now()
	switch {
	case d.status == types.ServiceDeploymentStatusRollbackInProgress:
		if in.StopType == types.StopServiceDeploymentStopTypeAbort {
			d.setStatus(types.ServiceDeploymentStatusStopRequested, d.reason, now)
		}
	case in.StopType == types.StopServiceDeploymentStopTypeAbort:
		d.setStatus(types.ServiceDeploymentStatusStopRequested, userRollback(false).stoppedReason, now)
	default:
		d.setStatus(types.ServiceDeploymentStatusRollbackRequested, userRollback(true).rolledBackReason, now)
	}
	d.service.wake()
	return &awsecs.StopServiceDeploymentOutput{ServiceDeploymentArn: &arn}, nil
}
