package preview

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Spec describes a preview to create.
type Spec struct {
	Number  int
	Expires time.Time
	// HostSuffix routes by the host prN.SUFFIX; empty routes by the path /prN.
	HostSuffix string
}

// Original is a service of the environment.
type Original struct {
	Service    platform.Service
	ecs        types.Service
	definition types.TaskDefinition
	group      elbtypes.TargetGroup // of a web service
}

// Entry is a service of a preview, ready to be released to.
type Entry struct {
	Service  platform.Service
	Template types.TaskDefinition
	Tags     []types.Tag
}

// Originals looks up the services of the environment. absent are the entries that it does
// not have.
func (c Client) Originals(ctx context.Context, services []platform.Service) (found []Original, absent []string, err error) {
	for _, s := range services {
		o := Original{Service: s}
		described, err := c.describe(ctx, s.ClusterName(), []string{s.ServiceName()})
		if err != nil {
			return nil, nil, err
		}
		if len(described) == 0 || aws.ToString(described[0].Status) != active {
			absent = append(absent, s.Name)
			continue
		}
		o.ecs = described[0].Service
		family := s.Family()
		out, err := c.ECS.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: &family})
		if err != nil {
			return nil, nil, fmt.Errorf("describing task definition %s: %w", family, err)
		}
		o.definition = *out.TaskDefinition
		if s.IsWeb() {
			if o.group, err = c.originalGroup(ctx, o); err != nil {
				return nil, nil, err
			}
		}
		found = append(found, o)
	}
	return found, absent, nil
}

// originalGroup returns the target group of a web service, which a load balancer forwards
// to.
func (c Client) originalGroup(ctx context.Context, o Original) (elbtypes.TargetGroup, error) {
	for _, attached := range o.ecs.LoadBalancers {
		if attached.TargetGroupArn == nil {
			continue
		}
		out, err := c.ELB.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{TargetGroupArns: []string{*attached.TargetGroupArn}})
		if err != nil {
			return elbtypes.TargetGroup{}, fmt.Errorf("describing target group %s: %w", groupOf(*attached.TargetGroupArn), err)
		}
		if len(out.TargetGroups) > 0 && len(out.TargetGroups[0].LoadBalancerArns) > 0 {
			return out.TargetGroups[0], nil
		}
	}
	return elbtypes.TargetGroup{}, outcome.Usagef("service %s of the environment is behind no load balancer, so its preview could not be reached: create one with Terraform (slipway plan, slipway apply), or leave the service out", o.Service.Name)
}

// Prepare creates what is missing of a preview: target groups, listener rules, and
// services without tasks, which a release then starts. existing is what exists, or nil.
func (c Client) Prepare(ctx context.Context, spec Spec, originals []Original, existing *Preview) ([]Entry, Address, error) {
	if existing == nil {
		existing = &Preview{Number: spec.Number}
	}
	t := newTags(spec.Number, "", spec.Expires)
	var entries []Entry
	var address Address
	for _, o := range originals {
		entry := Entry{Service: c.Service(spec.Number, o.Service), Template: c.Template(spec.Number, o.Service, o.definition), Tags: t.ecs()}
		group := ""
		if o.Service.IsWeb() {
			var err error
			if group, address, err = c.ensureRouting(ctx, spec, o, *existing, t); err != nil {
				return nil, address, err
			}
		}
		if err := c.ensureService(ctx, o, entry, group, *existing, t); err != nil {
			return nil, address, err
		}
		entries = append(entries, entry)
	}
	return entries, address, nil
}

// ensureRouting creates the target group and the rules of a web service.
func (c Client) ensureRouting(ctx context.Context, spec Spec, o Original, existing Preview, t tags) (group string, a Address, err error) {
	at, err := c.clientListener(ctx, o.group.LoadBalancerArns[0])
	if err != nil {
		return "", a, err
	}
	a = Address{Base: at.base, Internal: at.internal, Prefix: pathPrefix(spec.Number)}
	if spec.HostSuffix != "" {
		a.Host, a.Prefix = fmt.Sprintf("pr%d.%s", spec.Number, spec.HostSuffix), ""
	}
	if group, err = c.ensureGroup(ctx, o, existing, t); err != nil {
		return "", a, err
	}
	return group, a, c.ensureRules(ctx, o.Service, group, aws.ToString(o.group.TargetGroupArn), at, a.Host, existing.rules, t)
}

// drainSeconds is the deregistration delay: a preview has few requests to finish, and AWS's
// default of 300 s would only delay.
const drainSeconds = "1"

func (c Client) ensureGroup(ctx context.Context, o Original, existing Preview, t tags) (string, error) {
	name := c.groupName(t.number, o.Service.Name)
	for _, group := range existing.groups {
		if aws.ToString(group.TargetGroupName) == name {
			return aws.ToString(group.TargetGroupArn), nil
		}
	}
	out, err := c.ELB.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{
		Name: &name, Port: o.group.Port, Protocol: o.group.Protocol, ProtocolVersion: o.group.ProtocolVersion, TargetType: o.group.TargetType,
		VpcId: o.group.VpcId, IpAddressType: o.group.IpAddressType,
		HealthCheckEnabled: o.group.HealthCheckEnabled, HealthCheckPath: o.group.HealthCheckPath, HealthCheckPort: o.group.HealthCheckPort,
		HealthCheckProtocol: o.group.HealthCheckProtocol, HealthCheckIntervalSeconds: o.group.HealthCheckIntervalSeconds,
		HealthCheckTimeoutSeconds: o.group.HealthCheckTimeoutSeconds, HealthyThresholdCount: o.group.HealthyThresholdCount,
		UnhealthyThresholdCount: o.group.UnhealthyThresholdCount, Matcher: o.group.Matcher, Tags: t.elb(),
	})
	if errors.As(err, new(*elbtypes.DuplicateTargetGroupNameException)) {
		return c.createdGroup(ctx, name, t.number)
	}
	if err != nil {
		return "", fmt.Errorf("creating target group %s: %w", name, err)
	}
	arn := out.TargetGroups[0].TargetGroupArn
	_, err = c.ELB.ModifyTargetGroupAttributes(ctx, &elb.ModifyTargetGroupAttributesInput{
		TargetGroupArn: arn, Attributes: []elbtypes.TargetGroupAttribute{{Key: aws.String("deregistration_delay.timeout_seconds"), Value: aws.String(drainSeconds)}},
	})
	if err != nil {
		return "", fmt.Errorf("setting the deregistration delay of target group %s: %w", name, err)
	}
	c.Event(o.Service.Name, "created target group "+name)
	return aws.ToString(arn), nil
}

// createdGroup returns the target group that another run has created for the preview.
func (c Client) createdGroup(ctx context.Context, name string, number int) (arn string, err error) {
	out, err := c.ELB.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{Names: []string{name}})
	if err != nil {
		return "", fmt.Errorf("describing target group %s: %w", name, err)
	}
	err = c.eachTagged(ctx, []string{aws.ToString(out.TargetGroups[0].TargetGroupArn)}, func(created string, t tags) {
		if t.number == number {
			arn = created
		}
	})
	if err == nil && arn == "" {
		err = nameTakenError("target group", name)
	}
	return arn, err
}

// nameTakenError is the error for a name that something else has.
func nameTakenError(kind, name string) error {
	return outcome.Refusedf("%s %s exists and is not of this preview: its tag slipway:preview has not the number of the request; rename or delete it", kind, name)
}

// ensureService creates an ECS service without tasks, so that a failed first release
// restores that.
func (c Client) ensureService(ctx context.Context, o Original, entry Entry, group string, existing Preview, t tags) error {
	name, cluster := entry.Service.ServiceName(), entry.Service.ClusterName()
	n := slices.IndexFunc(existing.services, func(s service) bool { return s.name() == name })
	if n >= 0 && aws.ToString(existing.services[n].Status) == active {
		return nil
	}
	found, err := c.describe(ctx, cluster, []string{name})
	switch {
	case err != nil:
		return err
	case len(found) > 0 && aws.ToString(found[0].Status) == active:
		return found[0].checkOwn(t.number)
	case len(found) > 0 && aws.ToString(found[0].Status) != inactive:
		if err := c.waitInactive(ctx, found); err != nil {
			return err
		}
	}
	revision, err := c.Register(ctx, entry.Template, entry.Tags)
	if err != nil {
		return err
	}
	input := &ecs.CreateServiceInput{
		Cluster: &cluster, ServiceName: &name, TaskDefinition: &revision, DesiredCount: aws.Int32(0),
		LaunchType: o.ecs.LaunchType, CapacityProviderStrategy: o.ecs.CapacityProviderStrategy, PlatformVersion: o.ecs.PlatformVersion,
		NetworkConfiguration: o.ecs.NetworkConfiguration, EnableECSManagedTags: o.ecs.EnableECSManagedTags, PropagateTags: types.PropagateTagsService,
		DeploymentConfiguration: &types.DeploymentConfiguration{ // without the environment's alarms
			MinimumHealthyPercent: aws.Int32(100), MaximumPercent: aws.Int32(200),
			DeploymentCircuitBreaker: &types.DeploymentCircuitBreaker{Enable: true, Rollback: true},
		},
		Tags: t.ecs(),
	}
	if len(input.CapacityProviderStrategy) > 0 {
		input.LaunchType = ""
	}
	if group != "" {
		input.HealthCheckGracePeriodSeconds = o.ecs.HealthCheckGracePeriodSeconds
		attached := o.ecs.LoadBalancers[slices.IndexFunc(o.ecs.LoadBalancers, func(b types.LoadBalancer) bool {
			return aws.ToString(b.TargetGroupArn) == aws.ToString(o.group.TargetGroupArn)
		})]
		input.LoadBalancers = []types.LoadBalancer{{TargetGroupArn: &group, ContainerName: attached.ContainerName, ContainerPort: attached.ContainerPort}}
	}
	if _, err := c.ECS.CreateService(ctx, input); err != nil {
		if found, _ := c.describe(ctx, cluster, []string{name}); len(found) > 0 && aws.ToString(found[0].Status) == active { // another run created it meanwhile
			return found[0].checkOwn(t.number)
		}
		return fmt.Errorf("creating ECS service %s: %w", name, err)
	}
	c.Event(o.Service.Name, "created ECS service "+name)
	return nil
}

// checkOwn refuses an ECS service that is not of the preview with a number.
func (s service) checkOwn(number int) error {
	if parseTags(s.Tags).number != number {
		return nameTakenError("ECS service", s.name())
	}
	return nil
}

// Tag sets the expiry of all resources of a preview and, unless it is empty, the commit.
func (c Client) Tag(ctx context.Context, p Preview, sha string, expires time.Time) error {
	t := newTags(p.Number, sha, expires)
	for _, s := range p.services {
		if _, err := c.ECS.TagResource(ctx, &ecs.TagResourceInput{ResourceArn: s.ServiceArn, Tags: t.ecs()}); err != nil {
			return fmt.Errorf("tagging ECS service %s: %w", s.name(), err)
		}
	}
	var arns []string
	for _, group := range p.groups {
		arns = append(arns, aws.ToString(group.TargetGroupArn))
	}
	for _, r := range p.rules {
		arns = append(arns, aws.ToString(r.RuleArn))
	}
	for batch := range slices.Chunk(arns, tagsLimit) {
		if _, err := c.ELB.AddTags(ctx, &elb.AddTagsInput{ResourceArns: batch, Tags: t.elb()}); err != nil {
			return fmt.Errorf("tagging %s: %w", strings.Join(batch, ", "), err)
		}
	}
	return nil
}
