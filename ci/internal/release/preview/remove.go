package preview

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Waits for a deleted service to have stopped its tasks.
const (
	drainPoll    = time.Second
	drainTimeout = 10 * time.Minute
)

// Remove removes a preview: its rules, so that no request comes, its services, its target
// groups, and its active revisions. It returns what it removed, also with an error.
// It ignores resources that no longer exist.
func (c Client) Remove(ctx context.Context, p Preview) (removed []string, err error) {
	add := func(format string, args ...any) {
		line := fmt.Sprintf(format, args...)
		removed = append(removed, line)
		c.Event("", "removed "+line)
	}
	for _, r := range p.rules {
		if err := c.deleteRule(ctx, r); err != nil {
			return removed, err
		}
		add("listener rule %s (%s)", aws.ToString(r.Priority), conditionText(r.Conditions))
	}
	for _, s := range p.services {
		_, err := c.ECS.DeleteService(ctx, &ecs.DeleteServiceInput{Cluster: &s.cluster, Service: s.ServiceName, Force: aws.Bool(true)})
		if err != nil && !errors.As(err, new(*types.ServiceNotFoundException)) && !errors.As(err, new(*types.ServiceNotActiveException)) {
			return removed, fmt.Errorf("deleting ECS service %s: %w", s.name(), err)
		}
	}
	if err := c.waitInactive(ctx, p.services); err != nil {
		return removed, err
	}
	for _, s := range p.services {
		add("ECS service %s", s.name())
	}
	for _, group := range p.groups {
		_, err := c.ELB.DeleteTargetGroup(ctx, &elb.DeleteTargetGroupInput{TargetGroupArn: group.TargetGroupArn})
		if err != nil && !errors.As(err, new(*elbtypes.TargetGroupNotFoundException)) {
			return removed, fmt.Errorf("deleting target group %s: %w", aws.ToString(group.TargetGroupName), err)
		}
		add("target group %s", aws.ToString(group.TargetGroupName))
	}
	for _, family := range p.families {
		count, err := c.deregister(ctx, family, p.Number)
		if count > 0 {
			add("task definition %s (%s)", family, outcome.Count(count, "revision"))
		}
		if rollout.IsDenied(err) { // IAM cannot limit it to previews, so a role may lack it
			c.Event("", "task definition "+family+" stays, because this role may not deregister it: it costs nothing")
			continue
		}
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}

func (c Client) deleteRule(ctx context.Context, r rule) error {
	_, err := c.ELB.DeleteRule(ctx, &elb.DeleteRuleInput{RuleArn: r.RuleArn})
	if err != nil && !errors.As(err, new(*elbtypes.RuleNotFoundException)) {
		return fmt.Errorf("deleting listener rule %s: %w", aws.ToString(r.RuleArn), err)
	}
	return nil
}

// waitInactive waits until deleted services have no task left: ECS gives their names to
// new services only then.
func (c Client) waitInactive(ctx context.Context, services []service) error {
	byCluster := map[string][]string{}
	for _, s := range services {
		byCluster[s.cluster] = append(byCluster[s.cluster], s.name())
	}
	deadline := c.Clock.Now().Add(drainTimeout)
	for _, cluster := range slices.Sorted(maps.Keys(byCluster)) {
		for {
			described, err := c.describe(ctx, cluster, byCluster[cluster])
			if err != nil {
				return err
			}
			n := slices.IndexFunc(described, func(s service) bool { return aws.ToString(s.Status) != inactive })
			if n < 0 {
				break
			}
			if c.Clock.Now().After(deadline) {
				return fmt.Errorf("ECS service %s is still %s after %s: run the command again later", described[n].name(), aws.ToString(described[n].Status), drainTimeout)
			}
			if err := c.Clock.Sleep(ctx, drainPoll); err != nil {
				return err
			}
		}
	}
	return nil
}

// deregister deregisters the active revisions of a family that have a preview's tag.
func (c Client) deregister(ctx context.Context, family string, number int) (count int, err error) {
	var revisions []string
	pages := ecs.NewListTaskDefinitionsPaginator(c.ECS, &ecs.ListTaskDefinitionsInput{FamilyPrefix: &family, Status: types.TaskDefinitionStatusActive})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return 0, fmt.Errorf("listing revisions of %s: %w", family, err)
		}
		revisions = append(revisions, page.TaskDefinitionArns...)
	}
	for _, revision := range revisions {
		out, err := c.ECS.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: &revision, Include: []types.TaskDefinitionField{types.TaskDefinitionFieldTags}})
		if err != nil {
			return count, fmt.Errorf("describing task definition %s: %w", machine.ShortARN(revision), err)
		}
		if parseTags(out.Tags).number != number || aws.ToString(out.TaskDefinition.Family) != family {
			continue
		}
		if _, err := c.ECS.DeregisterTaskDefinition(ctx, &ecs.DeregisterTaskDefinitionInput{TaskDefinition: &revision}); err != nil {
			return count, fmt.Errorf("deregistering %s: %w", machine.ShortARN(revision), err)
		}
		count++
	}
	return count, nil
}

// WithoutTasks returns the part of a preview that serves no task: services whose
// desired count is 0, and resources that belong to no other service.
func (c Client) WithoutTasks(p Preview) Preview {
	part := Preview{Number: p.Number, tags: p.tags}
	var running, kept []string // names of ECS services and families; of target groups
	for _, s := range p.services {
		if s.DesiredCount == 0 {
			part.services = append(part.services, s)
			continue
		}
		running = append(running, s.name())
		for _, balancer := range s.LoadBalancers {
			kept = append(kept, groupOf(aws.ToString(balancer.TargetGroupArn)))
		}
	}
	part.groups = slices.DeleteFunc(slices.Clone(p.groups), func(g elbtypes.TargetGroup) bool {
		return slices.Contains(kept, aws.ToString(g.TargetGroupName))
	})
	part.rules = slices.DeleteFunc(slices.Clone(p.rules), func(r rule) bool {
		return slices.ContainsFunc(forwardsTo(r.Rule), func(name string) bool { return slices.Contains(kept, name) })
	})
	part.families = slices.DeleteFunc(slices.Clone(p.families), func(family string) bool { return slices.Contains(running, family) })
	return part
}

// HasTasks reports whether a service of the preview is to run tasks.
func (p Preview) HasTasks() bool {
	return slices.ContainsFunc(p.services, func(s service) bool { return s.DesiredCount > 0 })
}
