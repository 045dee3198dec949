package preflight

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/traffic"
)

// attachment is a container that a service attaches to a target group.
type attachment struct {
	service    string
	containers []types.ContainerDefinition
	container  types.ContainerDefinition
	port       int32
	awsvpc     bool
	healthPath string // health_path in the services file, or ""
}

// checkTargets checks that the task definitions have the container and port of each load
// balancer, and that the target groups exist and fit.
func (r *run) checkTargets(ctx context.Context) {
	groups := map[string][]attachment{}
	for _, s := range r.changes {
		if s.Definition == nil {
			continue
		}
		for _, lb := range s.ECSService.LoadBalancers {
			t, ok := r.attachmentOf(s, lb)
			if ok && lb.TargetGroupArn != nil {
				groups[*lb.TargetGroupArn] = append(groups[*lb.TargetGroupArn], t)
			}
		}
	}
	if len(groups) > 0 && r.ELB == nil {
		r.note("not checked: target groups: no Elastic Load Balancing client")
		return
	}
	for arn, targets := range groups {
		r.call(ctx, func(ctx context.Context) { r.checkTargetGroup(ctx, arn, targets) })
	}
}

// attachmentOf returns the attachment of a load balancer, or false after a finding.
func (r *run) attachmentOf(s rollout.ServiceChange, lb types.LoadBalancer) (attachment, bool) {
	name, port := aws.ToString(lb.ContainerName), aws.ToInt32(lb.ContainerPort)
	t := attachment{service: s.Service.Name, containers: s.Definition.ContainerDefinitions, port: port, awsvpc: s.Definition.NetworkMode == types.NetworkModeAwsvpc, healthPath: s.Service.HealthPath}
	n := slices.IndexFunc(s.Definition.ContainerDefinitions, func(c types.ContainerDefinition) bool { return aws.ToString(c.Name) == name })
	if n < 0 {
		var have []string
		for _, c := range s.Definition.ContainerDefinitions {
			have = append(have, aws.ToString(c.Name))
		}
		r.add(usage("service %s: its load balancer targets container %s, which is not in the task definition (it has %s): rename the container",
			s.Service.Name, name, strings.Join(have, ", ")))
		return t, false
	}
	t.container = s.Definition.ContainerDefinitions[n]
	if !mapsPort(t.container, port) {
		r.add(usage("service %s: its load balancer targets port %d of container %s, which is not in its portMappings: add port %d to them",
			s.Service.Name, port, name, port))
		return t, false
	}
	return t, true
}

func mapsPort(c types.ContainerDefinition, port int32) bool {
	return slices.ContainsFunc(c.PortMappings, func(m types.PortMapping) bool { return aws.ToInt32(m.ContainerPort) == port })
}

// anyMapsPort reports whether any container maps a port. With awsvpc, an unmapped port
// is reachable as well, because each task has its own address.
func (t attachment) anyMapsPort(port int32) bool {
	return slices.ContainsFunc(t.containers, func(c types.ContainerDefinition) bool { return mapsPort(c, port) })
}

func (r *run) checkTargetGroup(ctx context.Context, arn string, targets []attachment) {
	var names []string
	for _, t := range targets {
		names = append(names, t.service)
	}
	who, label := serviceList(names), traffic.GroupName(arn)
	out, err := r.ELB.DescribeTargetGroups(ctx, &elbv2.DescribeTargetGroupsInput{TargetGroupArns: []string{arn}})
	switch {
	case rollout.IsCode(err, "TargetGroupNotFound", "TargetGroupNotFoundException") || err == nil && len(out.TargetGroups) == 0:
		r.add(fail(err, "%s: target group %s does not exist: create it with Terraform (slipway plan, slipway apply)", who, arn))
		return
	case err != nil:
		r.skip("target group", label, r.readError(err, apiCall{"elasticloadbalancing:DescribeTargetGroups", "*"}))
		return
	}
	group := out.TargetGroups[0]
	if len(group.LoadBalancerArns) == 0 {
		r.add(fail(nil, "%s: target group %s is not attached to a load balancer, which ECS requires: add a listener rule with Terraform (slipway plan, slipway apply)", who, label))
	}
	for _, t := range targets {
		r.checkAttachment(t, group, label)
	}
}

// checkAttachment compares a target group with the attached container.
func (r *run) checkAttachment(t attachment, group elbtypes.TargetGroup, label string) {
	if t.awsvpc && group.TargetType != elbtypes.TargetTypeEnumIp {
		r.add(usage("service %s: target group %s has target type %s, but tasks with network mode awsvpc need ip: set target_type to ip", t.service, label, group.TargetType))
	}
	if port, err := strconv.ParseInt(aws.ToString(group.HealthCheckPort), 10, 32); err == nil && !t.anyMapsPort(int32(port)) {
		r.note("service %s: target group %s checks health on port %d, which is in no container's portMappings: a process in the task must listen there", t.service, label, port)
	}
	isHTTP := group.HealthCheckProtocol == elbtypes.ProtocolEnumHttp || group.HealthCheckProtocol == elbtypes.ProtocolEnumHttps
	switch path := aws.ToString(group.HealthCheckPath); {
	case !isHTTP:
	case !strings.HasPrefix(path, "/"):
		r.add(usage("service %s: target group %s has the health check path %q: want a path that begins with /", t.service, label, path))
	case t.healthPath != "" && path != t.healthPath:
		r.note("service %s: target group %s checks health at %s, but health_path in the services file is %s", t.service, label, path, t.healthPath)
	}
}
