package ecs

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/localaws/ident"
	"dagger/slipway/internal/localaws/wire"
)

const (
	statusActive   = "ACTIVE"
	statusDraining = "DRAINING"
	statusInactive = "INACTIVE"
	statusPrimary  = "PRIMARY"
)

// maxServiceEvents is how many events DescribeServices shows.
const maxServiceEvents = 100

// service is a service with everything the scheduler knows of it, guarded by the
// control plane's lock.
type service struct {
	c       *Control
	cluster *cluster
	arn     string
	name    string
	status  string
	desired int
	// record holds the settings as DescribeServices answers them.
	record      types.Service
	deployments []*deployment // the PRIMARY first
	members     []*taskRun    // oldest first; without those that stopped and were counted
	history     []*serviceDeployment
	completed   *deployment // the last one that reached COMPLETED
	events      []types.ServiceEvent
	registered  map[string]int // targets registered since the last event, by group
	steady      bool
	stuck       bool // the event about a configuration that allows no progress was sent
	wakeup      chan struct{}
	gone        chan struct{} // closed when the service is deleted
}

// poke makes the scheduler look at the service.
func (s *service) poke() {
	select {
	case s.wakeup <- struct{}{}:
	default:
	}
}

func (s *service) primary() *deployment { return s.deployments[0] }

// event adds a service event. The lock is held.
func (s *service) event(format string, args ...any) {
	s.events = slices.Insert(s.events, 0, types.ServiceEvent{
		Id: new(ident.UUID()), CreatedAt: new(s.c.cfg.Clock.Now()), Message: new(fmt.Sprintf(format, args...)),
	})
	if len(s.events) > maxServiceEvents {
		s.events = s.events[:maxServiceEvents]
	}
}

// service finds a service that has not been deleted.
func (c *Control) service(cl *cluster, ref *string) (*service, error) {
	s, ok := cl.services[ident.Name(aws.ToString(ref))]
	if !ok || s.status == statusInactive {
		return nil, wire.Errorf("ServiceNotFoundException", "Service not found.")
	}
	return s, nil
}

func (c *Control) createService(ctx context.Context, in *awsecs.CreateServiceInput) (*awsecs.CreateServiceOutput, error) {
	cl, err := c.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	name := aws.ToString(in.ServiceName)
	arn := c.cfg.Scope.ARN("ecs", "service/"+cl.name+"/"+name)
	wire.Touch(ctx, arn)
	if !familyName.MatchString(name) {
		return nil, wire.Errorf("InvalidParameterException", "Service name must contain 1 to 255 letters, numbers, hyphens and underscores.")
	}
	if old, ok := cl.services[name]; ok && old.status != statusInactive {
		return nil, wire.Errorf("InvalidParameterException", "Creation of service was not idempotent.")
	}
	d, err := c.usable(ctx, in.TaskDefinition)
	if err != nil {
		return nil, err
	}
	if err := c.validateService(d, in.LoadBalancers, in.NetworkConfiguration, in.DesiredCount); err != nil {
		return nil, err
	}
	s := &service{
		c: c, cluster: cl, arn: arn, name: name, status: statusActive, desired: int(aws.ToInt32(in.DesiredCount)),
		registered: map[string]int{}, wakeup: make(chan struct{}, 1), gone: make(chan struct{}),
	}
	s.record = types.Service{
		ServiceArn: &s.arn, ServiceName: &s.name, ClusterArn: &cl.arn, CreatedAt: new(c.cfg.Clock.Now()),
		CreatedBy: new(c.cfg.Scope.Global("iam", "user/local")), LaunchType: cmp.Or(in.LaunchType, types.LaunchTypeFargate),
		PlatformVersion: cmp.Or(in.PlatformVersion, new("LATEST")), PlatformFamily: new("Linux"),
		DeploymentConfiguration: complete(in.DeploymentConfiguration, nil),
		DeploymentController:    cmp.Or(in.DeploymentController, &types.DeploymentController{Type: types.DeploymentControllerTypeEcs}),
		NetworkConfiguration:    in.NetworkConfiguration, HealthCheckGracePeriodSeconds: in.HealthCheckGracePeriodSeconds,
		EnableECSManagedTags: in.EnableECSManagedTags, EnableExecuteCommand: in.EnableExecuteCommand,
		PropagateTags:               cmp.Or(in.PropagateTags, types.PropagateTagsNone),
		SchedulingStrategy:          cmp.Or(in.SchedulingStrategy, types.SchedulingStrategyReplica),
		AvailabilityZoneRebalancing: cmp.Or(in.AvailabilityZoneRebalancing, types.AvailabilityZoneRebalancingDisabled),
		LoadBalancers:               append([]types.LoadBalancer{}, in.LoadBalancers...),
		ServiceRegistries:           append([]types.ServiceRegistry{}, in.ServiceRegistries...),
		PlacementConstraints:        append([]types.PlacementConstraint{}, in.PlacementConstraints...),
		PlacementStrategy:           append([]types.PlacementStrategy{}, in.PlacementStrategy...),
		TaskDefinition:              d.TaskDefinitionArn,
	}
	if s.record.HealthCheckGracePeriodSeconds == nil && len(in.LoadBalancers) > 0 {
		s.record.HealthCheckGracePeriodSeconds = new(int32(0))
	}
	cl.services[name] = s
	c.setTags(arn, in.Tags)
	s.deploy(d, nil)
	c.spawn(s.schedule)
	return &awsecs.CreateServiceOutput{Service: new(c.describeService(s, true))}, nil
}

// complete fills a deployment configuration in from an older one, then with
// ECS's defaults.
func complete(in, old *types.DeploymentConfiguration) *types.DeploymentConfiguration {
	if in == nil {
		in = &types.DeploymentConfiguration{}
	}
	if old == nil {
		old = &types.DeploymentConfiguration{
			MaximumPercent: new(int32(200)), MinimumHealthyPercent: new(int32(100)),
			DeploymentCircuitBreaker: &types.DeploymentCircuitBreaker{}, Strategy: types.DeploymentStrategyRolling,
			BakeTimeInMinutes: new(int32(0)),
		}
	}
	out := *in
	out.MaximumPercent = cmp.Or(in.MaximumPercent, old.MaximumPercent)
	out.MinimumHealthyPercent = cmp.Or(in.MinimumHealthyPercent, old.MinimumHealthyPercent)
	out.DeploymentCircuitBreaker = cmp.Or(in.DeploymentCircuitBreaker, old.DeploymentCircuitBreaker)
	out.Strategy = cmp.Or(in.Strategy, old.Strategy)
	out.BakeTimeInMinutes = cmp.Or(in.BakeTimeInMinutes, old.BakeTimeInMinutes)
	out.Alarms = cmp.Or(in.Alarms, old.Alarms)
	return &out
}

// validateService checks what ECS checks before it creates or updates a service.
func (c *Control) validateService(d *types.TaskDefinition, lbs []types.LoadBalancer, network *types.NetworkConfiguration, desired *int32) error {
	if desired != nil && *desired < 0 {
		return wire.Errorf("InvalidParameterException", "desiredCount cannot be negative")
	}
	if d.NetworkMode == types.NetworkModeAwsvpc && (network == nil || network.AwsvpcConfiguration == nil || len(network.AwsvpcConfiguration.Subnets) == 0) {
		return wire.Errorf("InvalidParameterException", "Network Configuration must be provided when networkMode 'awsvpc' is specified.")
	}
	for _, lb := range lbs {
		group, container, port := aws.ToString(lb.TargetGroupArn), aws.ToString(lb.ContainerName), aws.ToInt32(lb.ContainerPort)
		switch exists, attached := c.cfg.Balancer.Attached(group); {
		case !exists:
			return wire.Errorf("InvalidParameterException", "The specified target group does not exist.")
		case !attached:
			return wire.Errorf("InvalidParameterException", "The target group with targetGroupArn %s does not have an associated load balancer.", group)
		}
		i := slices.IndexFunc(d.ContainerDefinitions, func(cd types.ContainerDefinition) bool { return *cd.Name == container })
		if i < 0 {
			return wire.Errorf("InvalidParameterException", "The container %s does not exist in the task definition.", container)
		}
		if !slices.ContainsFunc(d.ContainerDefinitions[i].PortMappings, func(m types.PortMapping) bool { return aws.ToInt32(m.ContainerPort) == port }) {
			return wire.Errorf("InvalidParameterException", "The container %s did not have a container port %d defined.", container, port)
		}
	}
	return nil
}

func (c *Control) updateService(ctx context.Context, in *awsecs.UpdateServiceInput) (*awsecs.UpdateServiceOutput, error) {
	cl, err := c.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	wire.Touch(ctx, c.cfg.Scope.ARN("ecs", "service/"+cl.name+"/"+ident.Name(aws.ToString(in.Service))))
	s, err := c.service(cl, in.Service)
	if err != nil {
		return nil, err
	}
	if s.status != statusActive {
		return nil, wire.Errorf("ServiceNotActiveException", "Service was not ACTIVE.")
	}
	d := s.primary().revision.definition
	if in.TaskDefinition != nil {
		if d, err = c.usable(ctx, in.TaskDefinition); err != nil {
			return nil, err
		}
	}
	lbs, network := s.record.LoadBalancers, cmp.Or(in.NetworkConfiguration, s.record.NetworkConfiguration)
	if in.LoadBalancers != nil {
		lbs = in.LoadBalancers
	}
	if err := c.validateService(d, lbs, network, in.DesiredCount); err != nil {
		return nil, err
	}
	rec := &s.record
	rollout := in.ForceNewDeployment || *d.TaskDefinitionArn != *rec.TaskDefinition ||
		!reflect.DeepEqual(lbs, rec.LoadBalancers) || !reflect.DeepEqual(network, rec.NetworkConfiguration) ||
		in.PlatformVersion != nil && *in.PlatformVersion != *rec.PlatformVersion
	rec.LoadBalancers, rec.NetworkConfiguration, rec.TaskDefinition = lbs, network, d.TaskDefinitionArn
	rec.PlatformVersion = cmp.Or(in.PlatformVersion, rec.PlatformVersion)
	rec.DeploymentConfiguration = complete(in.DeploymentConfiguration, rec.DeploymentConfiguration)
	rec.HealthCheckGracePeriodSeconds = cmp.Or(in.HealthCheckGracePeriodSeconds, rec.HealthCheckGracePeriodSeconds)
	if in.EnableExecuteCommand != nil {
		rec.EnableExecuteCommand = *in.EnableExecuteCommand
	}
	if in.DesiredCount != nil {
		s.desired = int(*in.DesiredCount)
		s.primary().updated = c.cfg.Clock.Now()
	}
	if rollout {
		s.deploy(d, nil)
	}
	s.steady = false
	s.poke()
	return &awsecs.UpdateServiceOutput{Service: new(c.describeService(s, false))}, nil
}

func (c *Control) deleteService(ctx context.Context, in *awsecs.DeleteServiceInput) (*awsecs.DeleteServiceOutput, error) {
	cl, err := c.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	wire.Touch(ctx, c.cfg.Scope.ARN("ecs", "service/"+cl.name+"/"+ident.Name(aws.ToString(in.Service))))
	s, err := c.service(cl, in.Service)
	if err != nil {
		return nil, err
	}
	if s.desired > 0 && !aws.ToBool(in.Force) {
		return nil, wire.Errorf("InvalidParameterException", "The service cannot be stopped while it is scaled above 0.")
	}
	s.status, s.desired = statusDraining, 0
	s.poke()
	return &awsecs.DeleteServiceOutput{Service: new(c.describeService(s, false))}, nil
}

func (c *Control) describeServices(ctx context.Context, in *awsecs.DescribeServicesInput) (*awsecs.DescribeServicesOutput, error) {
	cl, err := c.cluster(in.Cluster)
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
		arn := c.cfg.Scope.ARN("ecs", "service/"+cl.name+"/"+ident.Name(ref))
		wire.Touch(ctx, arn)
		if s, ok := cl.services[ident.Name(ref)]; ok {
			out.Services = append(out.Services, c.describeService(s, slices.Contains(in.Include, types.ServiceFieldTags)))
		} else {
			out.Failures = append(out.Failures, types.Failure{Arn: &arn, Reason: new("MISSING")})
		}
	}
	return out, nil
}

// describeService renders a service. Its counts are the sums of its deployments'.
func (c *Control) describeService(s *service, tags bool) types.Service {
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
	if len(s.history) > 0 {
		out.CurrentServiceDeployment = &s.history[0].arn
	}
	if s.status == statusInactive {
		out.Deployments, out.CurrentServiceRevisions, out.CurrentServiceDeployment = []types.Deployment{}, nil, nil
	}
	if tags {
		out.Tags = c.listTags(s.arn)
	}
	return out
}

func (c *Control) listServices(_ context.Context, in *awsecs.ListServicesInput) (*awsecs.ListServicesOutput, error) {
	cl, err := c.cluster(in.Cluster)
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
	page, next, err := wire.Page(arns, in.NextToken, in.MaxResults, 10)
	return &awsecs.ListServicesOutput{ServiceArns: page, NextToken: next}, err
}
