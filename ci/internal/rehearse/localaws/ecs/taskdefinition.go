package ecs

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// family holds the revisions of a task definition family, the first at index 0.
type family struct {
	revisions []*types.TaskDefinition
}

// findTaskDefinition finds a task definition by family (its newest active revision),
// family:revision or ARN.
func (c *ControlPlane) findTaskDefinition(ref string) (*types.TaskDefinition, error) {
	unknown := wire.Errorf("ClientException", "TaskDefinition not found.")
	name, number, pinned := strings.Cut(wire.ResourceName(ref), ":")
	f, ok := c.families[name]
	if !ok {
		return nil, unknown
	}
	if pinned {
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > len(f.revisions) || f.revisions[n-1] == nil {
			return nil, unknown
		}
		return f.revisions[n-1], nil
	}
	for _, d := range slices.Backward(f.revisions) {
		if d != nil && d.Status == types.TaskDefinitionStatusActive {
			return d, nil
		}
	}
	return nil, unknown
}

// activeTaskDefinition finds a task definition that new deployments and tasks may use.
func (c *ControlPlane) activeTaskDefinition(ref *string) (*types.TaskDefinition, error) {
	if aws.ToString(ref) == "" {
		return nil, wire.Errorf("InvalidParameterException", "TaskDefinition can not be blank.")
	}
	d, err := c.findTaskDefinition(*ref)
	if err != nil {
		return nil, err
	}
	if d.Status != types.TaskDefinitionStatusActive {
		return nil, wire.Errorf("ClientException", "TaskDefinition is inactive")
	}
	return d, nil
}

// tasksPrincipal is the service principal that the roles of tasks are passed to.
const tasksPrincipal = "ecs-tasks.amazonaws.com"

// passRole records that a call passes a role to a service.
func (c *ControlPlane) passRole(ctx context.Context, role, principal string) {
	wire.RequirePermission(ctx, "iam", "PassRole", role, map[string]string{"iam:PassedToService": principal})
	if c.cfg.OnRole != nil {
		c.cfg.OnRole(role, principal)
	}
}

func (c *ControlPlane) registerTaskDefinition(ctx context.Context, in *awsecs.RegisterTaskDefinitionInput) (*awsecs.RegisterTaskDefinitionOutput, error) {
	name := aws.ToString(in.Family)
	arns := c.cfg.Scope.ARN("ecs", "task-definition/"+name+":*")
	wire.AddResources(ctx, arns)
	requireTagResource(ctx, "RegisterTaskDefinition", arns, in.Tags)
	normalizeSizes(in)
	if err := validateDefinition(in); err != nil {
		return nil, err
	}
	for _, role := range []*string{in.ExecutionRoleArn, in.TaskRoleArn} {
		if role != nil {
			c.passRole(ctx, *role, tasksPrincipal)
		}
	}
	f, ok := c.families[name]
	if !ok {
		f = &family{}
		c.families[name] = f
	}
	number := len(f.revisions) + 1
	arn := c.cfg.Scope.ARN("ecs", "task-definition/"+name+":"+strconv.Itoa(number))
	d := &types.TaskDefinition{
		TaskDefinitionArn: &arn, Family: &name, Revision: int32(number), Status: types.TaskDefinitionStatusActive,
		ContainerDefinitions: withDefaults(in), Cpu: in.Cpu, Memory: in.Memory, NetworkMode: in.NetworkMode,
		ExecutionRoleArn: in.ExecutionRoleArn, TaskRoleArn: in.TaskRoleArn, RuntimePlatform: in.RuntimePlatform,
		RequiresCompatibilities: in.RequiresCompatibilities, EphemeralStorage: in.EphemeralStorage,
		TrustedExecutionConfiguration: in.TrustedExecutionConfiguration,
		EnableFaultInjection:          in.EnableFaultInjection, InferenceAccelerators: in.InferenceAccelerators, //nolint:staticcheck // AWS keeps it still
		IpcMode: in.IpcMode, PidMode: in.PidMode, ProxyConfiguration: in.ProxyConfiguration,
		Volumes:              append([]types.Volume{}, in.Volumes...),
		PlacementConstraints: append([]types.TaskDefinitionPlacementConstraint{}, in.PlacementConstraints...),
		Compatibilities:      []types.Compatibility{types.CompatibilityEc2},
		RequiresAttributes:   requiredAttributes(in), RegisteredAt: new(c.cfg.Clock.Now()),
		RegisteredBy: new(c.cfg.Scope.GlobalARN("iam", "user/local")),
	}
	if in.NetworkMode == types.NetworkModeAwsvpc && in.Cpu != nil && in.Memory != nil {
		d.Compatibilities = append(d.Compatibilities, types.CompatibilityFargate)
	}
	f.revisions = append(f.revisions, d)
	c.setTags(arn, in.Tags)
	return &awsecs.RegisterTaskDefinitionOutput{TaskDefinition: d, Tags: c.listTags(arn)}, nil
}

// withDefaults returns the container definitions with ECS's defaults: essential, host
// ports equal to container ports, and empty lists instead of none.
func withDefaults(in *awsecs.RegisterTaskDefinitionInput) []types.ContainerDefinition {
	out := slices.Clone(in.ContainerDefinitions)
	for i := range out {
		d := &out[i]
		if d.Essential == nil {
			d.Essential = new(true)
		}
		d.PortMappings = append([]types.PortMapping{}, d.PortMappings...)
		for j := range d.PortMappings {
			m := &d.PortMappings[j]
			m.Protocol = cmp.Or(m.Protocol, types.TransportProtocolTcp)
			if m.HostPort == nil && in.NetworkMode == types.NetworkModeAwsvpc {
				m.HostPort = m.ContainerPort
			}
		}
		d.Environment = append([]types.KeyValuePair{}, d.Environment...)
		d.MountPoints = append([]types.MountPoint{}, d.MountPoints...)
		d.VolumesFrom = append([]types.VolumeFrom{}, d.VolumesFrom...)
		d.SystemControls = append([]types.SystemControl{}, d.SystemControls...)
	}
	return out
}

func requiredAttributes(in *awsecs.RegisterTaskDefinitionInput) []types.Attribute {
	list := []types.Attribute{{Name: new("com.amazonaws.ecs.capability.docker-remote-api.1.18")}}
	if in.NetworkMode == types.NetworkModeAwsvpc {
		list = append(list, types.Attribute{Name: new("ecs.capability.task-eni")})
	}
	if in.ExecutionRoleArn != nil {
		list = append(list, types.Attribute{Name: new("ecs.capability.execution-role-awslogs")})
	}
	return list
}

func (c *ControlPlane) describeTaskDefinition(ctx context.Context, in *awsecs.DescribeTaskDefinitionInput) (*awsecs.DescribeTaskDefinitionOutput, error) {
	d, err := c.findTaskDefinition(aws.ToString(in.TaskDefinition))
	if err != nil {
		return nil, wire.Errorf("ClientException", "Unable to describe task definition.")
	}
	wire.AddResources(ctx, *d.TaskDefinitionArn)
	out := &awsecs.DescribeTaskDefinitionOutput{TaskDefinition: d, Tags: []types.Tag{}}
	if slices.Contains(in.Include, types.TaskDefinitionFieldTags) {
		out.Tags = c.listTags(*d.TaskDefinitionArn)
	}
	return out, nil
}

func (c *ControlPlane) deregisterTaskDefinition(ctx context.Context, in *awsecs.DeregisterTaskDefinitionInput) (*awsecs.DeregisterTaskDefinitionOutput, error) {
	ref := aws.ToString(in.TaskDefinition)
	if !strings.Contains(wire.ResourceName(ref), ":") {
		return nil, wire.Errorf("ClientException", "Revision is missing.")
	}
	d, err := c.findTaskDefinition(ref)
	if err != nil {
		return nil, wire.Errorf("ClientException", "The specified task definition does not exist. Specify a valid account, family, revision and try again.")
	}
	wire.AddResources(ctx, *d.TaskDefinitionArn)
	changed := *d // earlier responses and deployments keep the old record
	changed.Status, changed.DeregisteredAt = types.TaskDefinitionStatusInactive, new(c.cfg.Clock.Now())
	c.families[*d.Family].revisions[d.Revision-1] = &changed
	return &awsecs.DeregisterTaskDefinitionOutput{TaskDefinition: &changed}, nil
}

func (c *ControlPlane) deleteTaskDefinitions(ctx context.Context, in *awsecs.DeleteTaskDefinitionsInput) (*awsecs.DeleteTaskDefinitionsOutput, error) {
	out := &awsecs.DeleteTaskDefinitionsOutput{TaskDefinitions: []types.TaskDefinition{}, Failures: []types.Failure{}}
	for _, ref := range in.TaskDefinitions {
		d, err := c.findTaskDefinition(ref)
		switch {
		case err != nil:
			out.Failures = append(out.Failures, types.Failure{Arn: &ref, Reason: new("MISSING")})
			continue
		case d.Status == types.TaskDefinitionStatusActive:
			out.Failures = append(out.Failures, types.Failure{
				Arn: d.TaskDefinitionArn, Reason: new("The specified task definition is still in ACTIVE status. Please deregister the target and try again."),
			})
			continue
		}
		wire.AddResources(ctx, *d.TaskDefinitionArn)
		deleted := *d
		deleted.Status, deleted.DeleteRequestedAt = types.TaskDefinitionStatusDeleteInProgress, new(c.cfg.Clock.Now())
		c.families[*d.Family].revisions[d.Revision-1] = nil
		if c.inUse(*d.TaskDefinitionArn) {
			c.families[*d.Family].revisions[d.Revision-1] = &deleted
		}
		out.TaskDefinitions = append(out.TaskDefinitions, deleted)
	}
	return out, nil
}

// inUse reports whether a service or a task uses a revision, whose deletion then stays
// in progress.
func (c *ControlPlane) inUse(revision string) bool {
	for _, t := range c.tasks {
		if t.status() != "STOPPED" && *t.definition.TaskDefinitionArn == revision {
			return true
		}
	}
	for _, cl := range c.clusters {
		for _, s := range cl.services {
			if s.status != statusInactive && slices.ContainsFunc(s.deployments, func(d *deployment) bool { return *d.revision.definition.TaskDefinitionArn == revision }) {
				return true
			}
		}
	}
	return false
}

func (c *ControlPlane) listTaskDefinitions(_ context.Context, in *awsecs.ListTaskDefinitionsInput) (*awsecs.ListTaskDefinitionsOutput, error) {
	arns := []string{}
	status := cmp.Or(in.Status, types.TaskDefinitionStatusActive)
	for _, name := range slices.Sorted(maps.Keys(c.families)) {
		if in.FamilyPrefix != nil && name != *in.FamilyPrefix {
			continue
		}
		for _, d := range c.families[name].revisions {
			if d != nil && d.Status == status {
				arns = append(arns, *d.TaskDefinitionArn)
			}
		}
	}
	if in.Sort == types.SortOrderDesc {
		slices.Reverse(arns)
	}
	page, next, err := wire.Paginate(arns, in.NextToken, in.MaxResults, 100)
	return &awsecs.ListTaskDefinitionsOutput{TaskDefinitionArns: page, NextToken: next}, err
}

func (c *ControlPlane) listTaskDefinitionFamilies(_ context.Context, in *awsecs.ListTaskDefinitionFamiliesInput) (*awsecs.ListTaskDefinitionFamiliesOutput, error) {
	names := []string{}
	for _, name := range slices.Sorted(maps.Keys(c.families)) {
		_, err := c.findTaskDefinition(name)
		active := err == nil
		wanted := in.Status == types.TaskDefinitionFamilyStatusAll || in.Status == "" ||
			active == (in.Status == types.TaskDefinitionFamilyStatusActive)
		if wanted && strings.HasPrefix(name, aws.ToString(in.FamilyPrefix)) {
			names = append(names, name)
		}
	}
	page, next, err := wire.Paginate(names, in.NextToken, in.MaxResults, 100)
	return &awsecs.ListTaskDefinitionFamiliesOutput{Families: page, NextToken: next}, err
}
