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

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

const (
	statusActive   = "ACTIVE"
	statusDraining = "DRAINING"
	statusInactive = "INACTIVE"
	statusPrimary  = "PRIMARY"
)

// maxServiceEvents is how many events DescribeServices returns.
const maxServiceEvents = 100

// service is a service and its scheduler's state. The control plane's lock guards it.
type service struct {
	c       *ControlPlane
	cluster *cluster
	arn     string
	name    string
	status  string
	desired int
	// record holds the settings as DescribeServices returns them.
	record             types.Service
	deployments        []*deployment // the PRIMARY first
	taskRuns           []*taskRun    // oldest first; without those that stopped and were counted
	serviceDeployments []*serviceDeployment
	lastCompleted      *deployment // the last one that reached COMPLETED
	events             []types.ServiceEvent
	registered         map[string]int // targets registered since the last event, by group
	steady             bool
	blockedReported    bool // the event about a configuration without progress was added
	wakeup             chan struct{}
	deleted            chan struct{} // closed when the service is deleted
}

// wake makes the scheduler reconcile the service.
func (s *service) wake() {
	select {
	case s.wakeup <- struct{}{}:
	default:
	}
}

func (s *service) primary() *deployment { return s.deployments[0] }

// event adds a service event. The lock is held.
func (s *service) event(format string, args ...any) {
	s.events = slices.Insert(s.events, 0, types.ServiceEvent{
		Id: new(wire.NewUUID()), CreatedAt: new(s.c.cfg.Clock.Now()), Message: new(fmt.Sprintf(format, args...)),
	})
	if len(s.events) > maxServiceEvents {
		s.events = s.events[:maxServiceEvents]
	}
}

// service finds a service that has not been deleted.
func (c *ControlPlane) service(cl *cluster, ref *string) (*service, error) {
	s, ok := cl.services[wire.ResourceName(aws.ToString(ref))]
	if !ok || s.status == statusInactive {
		return nil, wire.Errorf("ServiceNotFoundException", "Service not found.")
	}
	return s, nil
}

func (c *ControlPlane) createService(ctx context.Context, in *awsecs.CreateServiceInput) (*awsecs.CreateServiceOutput, error) {
	cl, err := c.clusterForCall(ctx, in.Cluster)
	if err != nil {
		return nil, err
	}
	name := aws.ToString(in.ServiceName)
	arn := c.cfg.Scope.ARN("ecs", "service/"+cl.name+"/"+name)
	wire.AddResources(ctx, arn)
	if !familyName.MatchString(name) {
		return nil, wire.Errorf("InvalidParameterException", "Service name must contain 1 to 255 letters, numbers, hyphens and underscores.")
	}
	requireTagResource(ctx, "CreateService", arn, in.Tags)
	if old, ok := cl.services[name]; ok && old.status == statusDraining {
		return nil, wire.Errorf("InvalidParameterException", "Unable to Start a service that is still Draining.")
	}
	if old, ok := cl.services[name]; ok && old.status != statusInactive {
		return nil, wire.Errorf("InvalidParameterException", "Creation of service was not idempotent.")
	}
	d, err := c.activeTaskDefinition(in.TaskDefinition)
	if err != nil {
		return nil, err
	}
	wire.AddCondition(ctx, "ecs:task-definition", *d.TaskDefinitionArn)
	if err := c.validateService(d, in.LoadBalancers, in.NetworkConfiguration, in.DesiredCount); err != nil {
		return nil, err
	}
	config := mergeDeploymentConfiguration(in.DeploymentConfiguration, nil)
	c.requireRoles(ctx, in.LoadBalancers, in.DeploymentConfiguration)
	if err := c.validateDeploymentConfiguration(in.DeploymentConfiguration, config, "", in.LoadBalancers); err != nil {
		return nil, err
	}
	launch, err := cl.launch(in.LaunchType, in.CapacityProviderStrategy)
	if err != nil {
		return nil, err
	}
	if in.LaunchType == "" && launch.launchType == types.LaunchTypeEc2 {
		launch.launchType = types.LaunchTypeFargate // there is nothing else
	}
	s := &service{
		c: c, cluster: cl, arn: arn, name: name, status: statusActive, desired: int(aws.ToInt32(in.DesiredCount)),
		registered: map[string]int{}, wakeup: make(chan struct{}, 1), deleted: make(chan struct{}),
	}
	s.record = types.Service{
		ServiceArn: &s.arn, ServiceName: &s.name, ClusterArn: &cl.arn, CreatedAt: new(c.cfg.Clock.Now()),
		CreatedBy: new(c.cfg.Scope.GlobalARN("iam", "user/local")), LaunchType: launch.launchType,
		CapacityProviderStrategy: launch.strategy,
		PlatformVersion:          cmp.Or(in.PlatformVersion, new("LATEST")), PlatformFamily: new("Linux"),
		DeploymentConfiguration: config,
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
	delete(c.tags, arn) // of a deleted service of that name
	c.setTags(arn, in.Tags)
	s.startDeployment(d, nil)
	c.spawn(s.runScheduler)
	return &awsecs.CreateServiceOutput{Service: new(c.describeService(s, true))}, nil
}

// mergeDeploymentConfiguration returns a deployment configuration with missing fields
// from an older one, or ECS's defaults.
func mergeDeploymentConfiguration(in, old *types.DeploymentConfiguration) *types.DeploymentConfiguration {
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
	mergeStrategy(&out, in, old)
	return &out
}

func (c *ControlPlane) updateService(ctx context.Context, in *awsecs.UpdateServiceInput) (*awsecs.UpdateServiceOutput, error) {
	cl, err := c.clusterForCall(ctx, in.Cluster)
	if err != nil {
		return nil, err
	}
	c.addServiceResource(ctx, cl, in.Service)
	s, err := c.service(cl, in.Service)
	if err != nil && cl.services[wire.ResourceName(aws.ToString(in.Service))] == nil {
		return nil, err
	}
	if err != nil || s.status != statusActive { // a deleted service stays inactive for an hour
		return nil, wire.Errorf("ServiceNotActiveException", "Service was not ACTIVE.")
	}
	d := s.primary().revision.definition
	if in.TaskDefinition != nil {
		if d, err = c.activeTaskDefinition(in.TaskDefinition); err != nil {
			return nil, err
		}
		wire.AddCondition(ctx, "ecs:task-definition", *d.TaskDefinitionArn)
	}
	lbs, network := s.record.LoadBalancers, cmp.Or(in.NetworkConfiguration, s.record.NetworkConfiguration)
	if in.LoadBalancers != nil {
		lbs = in.LoadBalancers
	}
	if err := c.validateService(d, lbs, network, in.DesiredCount); err != nil {
		return nil, err
	}
	config := mergeDeploymentConfiguration(in.DeploymentConfiguration, s.record.DeploymentConfiguration)
	c.requireRoles(ctx, in.LoadBalancers, in.DeploymentConfiguration)
	if err := c.validateDeploymentConfiguration(in.DeploymentConfiguration, config, s.record.DeploymentConfiguration.Strategy, lbs); err != nil {
		return nil, err
	}
	launch, err := s.updateLaunch(in)
	if err != nil {
		return nil, err
	}
	rec := &s.record
	rec.LaunchType, rec.CapacityProviderStrategy = launch.launchType, launch.strategy
	rollout := in.ForceNewDeployment || *d.TaskDefinitionArn != *rec.TaskDefinition ||
		!reflect.DeepEqual(lbs, rec.LoadBalancers) || !reflect.DeepEqual(network, rec.NetworkConfiguration) ||
		in.PlatformVersion != nil && *in.PlatformVersion != *rec.PlatformVersion
	rec.LoadBalancers, rec.NetworkConfiguration, rec.TaskDefinition = lbs, network, d.TaskDefinitionArn
	rec.PlatformVersion = cmp.Or(in.PlatformVersion, rec.PlatformVersion)
	rec.DeploymentConfiguration = config
	rec.HealthCheckGracePeriodSeconds = cmp.Or(in.HealthCheckGracePeriodSeconds, rec.HealthCheckGracePeriodSeconds)
	if in.EnableExecuteCommand != nil {
		rec.EnableExecuteCommand = *in.EnableExecuteCommand
	}
	if in.EnableECSManagedTags != nil {
		rec.EnableECSManagedTags = *in.EnableECSManagedTags
	}
	rec.PropagateTags = cmp.Or(in.PropagateTags, rec.PropagateTags)
	if in.DesiredCount != nil {
		s.desired = int(*in.DesiredCount)
		s.primary().updatedAt = c.cfg.Clock.Now()
	}
	if rollout {
		s.startDeployment(d, nil)
	}
	s.steady = false
	s.wake()
	return &awsecs.UpdateServiceOutput{Service: new(c.describeService(s, false))}, nil
}

func (c *ControlPlane) deleteService(ctx context.Context, in *awsecs.DeleteServiceInput) (*awsecs.DeleteServiceOutput, error) {
	cl, err := c.clusterForCall(ctx, in.Cluster)
	if err != nil {
		return nil, err
	}
	c.addServiceResource(ctx, cl, in.Service)
	s, err := c.service(cl, in.Service)
	if err != nil {
		return nil, err
	}
	if s.desired > 0 && !aws.ToBool(in.Force) {
		return nil, wire.Errorf("InvalidParameterException", "The service cannot be stopped while it is scaled above 0.")
	}
	s.status, s.desired = statusDraining, 0
	s.wake()
	return &awsecs.DeleteServiceOutput{Service: new(c.describeService(s, false))}, nil
}
