package preview

import (
	"cmp"
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

	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
)

// Batch limits of the APIs.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServices.html
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTags.html
const (
	servicesLimit = 10
	tagsLimit     = 20
	listLimit     = 100
)

// Preview holds the existing resources of a preview.
type Preview struct {
	Number   int
	services []service
	groups   []elbtypes.TargetGroup
	rules    []rule
	families []string
	tags     tags
}

type service struct {
	types.Service
	cluster string
}

func (s service) name() string { return aws.ToString(s.ServiceName) }

type rule struct {
	elbtypes.Rule
	listener string // ARN
}

// SHA returns the commit of the last successful release.
func (p Preview) SHA() string { return p.tags.sha }

// Expires returns when the preview expires; zero if its tag is not a time.
func (p Preview) Expires() time.Time {
	at, _ := time.Parse(time.RFC3339, p.tags.expires)
	return at
}

// Created returns when the first service of the preview was created; zero without one.
func (p Preview) Created() time.Time { return p.tags.created }

// Services returns the preview's ECS services.
func (p Preview) Services() []types.Service {
	var all []types.Service
	for _, s := range p.services {
		all = append(all, s.Service)
	}
	return all
}

// Find returns all previews of the environment by their number, without their task
// definitions: a role may be unable to deregister those, which cost nothing.
func (c Client) Find(ctx context.Context) (map[int]*Preview, error) { return c.find(ctx, 0) }

// FindOne returns what exists of a preview, nil if nothing does.
func (c Client) FindOne(ctx context.Context, number int) (*Preview, error) {
	found, err := c.find(ctx, number)
	return found[number], err
}

// find returns the preview with a number, or all for 0.
func (c Client) find(ctx context.Context, number int) (map[int]*Preview, error) {
	f := finder{Client: c, wanted: number, found: map[int]*Preview{}}
	steps := []func(context.Context) error{f.findServices, f.findGroups, f.findRules}
	if number != 0 {
		steps = append(steps, f.findFamilies)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return f.found, nil
}

// finder collects the resources of previews.
type finder struct {
	Client
	wanted int
	found  map[int]*Preview
}

// matches reports whether a name may be of a wanted preview. Its tag decides.
func (f finder) matches(name string) bool {
	number := f.numberOf(name)
	return number != 0 && (f.wanted == 0 || number == f.wanted)
}

// of returns the preview that a resource belongs to by its name and its tags, or nil.
func (f finder) of(name string, t tags) *Preview {
	if t.number == 0 || t.number != f.numberOf(name) {
		return nil
	}
	p := f.found[t.number]
	if p == nil {
		p = &Preview{Number: t.number}
		f.found[t.number] = p
	}
	p.tags.number, p.tags.sha, p.tags.expires = t.number, cmp.Or(p.tags.sha, t.sha), cmp.Or(p.tags.expires, t.expires)
	return p
}

func (f finder) findServices(ctx context.Context) error {
	for _, cluster := range f.Clusters {
		var names []string
		pages := ecs.NewListServicesPaginator(f.ECS, &ecs.ListServicesInput{Cluster: &cluster, MaxResults: aws.Int32(listLimit)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if errors.As(err, new(*types.ClusterNotFoundException)) {
				break
			}
			if err != nil {
				return fmt.Errorf("listing services of cluster %s: %w", cluster, err)
			}
			for _, arn := range page.ServiceArns {
				if name := machine.ShortARN(arn); f.matches(name) {
					names = append(names, name)
				}
			}
		}
		slices.Sort(names)
		described, err := f.describe(ctx, cluster, names)
		if err != nil {
			return err
		}
		for _, s := range described {
			if p := f.of(s.name(), parseTags(s.Tags)); p != nil && aws.ToString(s.Status) != inactive {
				p.services = append(p.services, s)
				if at := aws.ToTime(s.CreatedAt); p.tags.created.IsZero() || at.Before(p.tags.created) {
					p.tags.created = at
				}
			}
		}
	}
	return nil
}

// Statuses of an ECS service.
const (
	active   = "ACTIVE"
	inactive = "INACTIVE"
)

// describe returns services with their tags, those that exist.
func (c Client) describe(ctx context.Context, cluster string, names []string) ([]service, error) {
	var all []service
	for batch := range slices.Chunk(names, servicesLimit) {
		out, err := c.ECS.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: &cluster, Services: batch, Include: []types.ServiceField{types.ServiceFieldTags}})
		if err != nil {
			return nil, fmt.Errorf("describing services of cluster %s: %w", cluster, err)
		}
		for _, s := range out.Services {
			all = append(all, service{s, cluster})
		}
	}
	return all, nil
}

func (f finder) findGroups(ctx context.Context) error {
	candidates := map[string]elbtypes.TargetGroup{}
	var arns []string
	pages := elb.NewDescribeTargetGroupsPaginator(f.ELB, &elb.DescribeTargetGroupsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("describing target groups: %w", err)
		}
		for _, group := range page.TargetGroups {
			if arn := aws.ToString(group.TargetGroupArn); f.matches(aws.ToString(group.TargetGroupName)) {
				candidates[arn], arns = group, append(arns, arn)
			}
		}
	}
	slices.Sort(arns)
	return f.eachTagged(ctx, arns, func(arn string, t tags) {
		if p := f.of(aws.ToString(candidates[arn].TargetGroupName), t); p != nil {
			p.groups = append(p.groups, candidates[arn])
		}
	})
}

// eachTagged calls visit with the tags of each resource of Elastic Load Balancing.
func (c Client) eachTagged(ctx context.Context, arns []string, visit func(arn string, t tags)) error {
	for batch := range slices.Chunk(arns, tagsLimit) {
		out, err := c.ELB.DescribeTags(ctx, &elb.DescribeTagsInput{ResourceArns: batch})
		if err != nil {
			return fmt.Errorf("describing the tags of %s: %w", strings.Join(batch, ", "), err)
		}
		for _, d := range out.TagDescriptions {
			visit(aws.ToString(d.ResourceArn), parseELBTags(d.Tags))
		}
	}
	return nil
}

// findRules finds the rules that forward to the previews' target groups. A rule is of a
// preview if it has the tag and forwards to its groups alone: it has no name.
func (f finder) findRules(ctx context.Context) error {
	var balancers []string
	for _, p := range f.found {
		for _, group := range p.groups {
			balancers = append(balancers, group.LoadBalancerArns...)
		}
	}
	slices.Sort(balancers)
	for _, arn := range slices.Compact(balancers) {
		listeners, err := f.ELB.DescribeListeners(ctx, &elb.DescribeListenersInput{LoadBalancerArn: &arn})
		if err != nil {
			return fmt.Errorf("describing the listeners of %s: %w", arn, err)
		}
		for _, listener := range listeners.Listeners {
			if err := f.findRulesOf(ctx, aws.ToString(listener.ListenerArn)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f finder) findRulesOf(ctx context.Context, listener string) error {
	all, err := f.rulesOf(ctx, listener)
	if err != nil {
		return err
	}
	candidates := map[string]elbtypes.Rule{}
	var arns []string
	for _, r := range all {
		names := forwardsTo(r)
		if arn := aws.ToString(r.RuleArn); len(names) > 0 && !slices.ContainsFunc(names, func(name string) bool { return !f.matches(name) }) {
			candidates[arn], arns = r, append(arns, arn)
		}
	}
	return f.eachTagged(ctx, arns, func(arn string, t tags) {
		if p := f.of(forwardsTo(candidates[arn])[0], t); p != nil {
			p.rules = append(p.rules, rule{candidates[arn], listener})
		}
	})
}

// rulesOf returns the rules of a listener.
func (c Client) rulesOf(ctx context.Context, listener string) ([]elbtypes.Rule, error) {
	var all []elbtypes.Rule
	pages := elb.NewDescribeRulesPaginator(c.ELB, &elb.DescribeRulesInput{ListenerArn: &listener})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("describing the rules of listener %s: %w", listener, err)
		}
		all = append(all, page.Rules...)
	}
	return all, nil
}

// forwardsTo returns the names of the target groups that a rule forwards to.
func forwardsTo(r elbtypes.Rule) []string {
	var names []string
	for _, action := range r.Actions {
		if action.ForwardConfig == nil && action.TargetGroupArn != nil {
			names = append(names, groupOf(*action.TargetGroupArn))
		}
		if action.ForwardConfig != nil {
			for _, tuple := range action.ForwardConfig.TargetGroups {
				names = append(names, groupOf(aws.ToString(tuple.TargetGroupArn)))
			}
		}
	}
	return names
}

// findFamilies finds the families with active revisions. The newest one's tags decide.
func (f finder) findFamilies(ctx context.Context) error {
	prefix := f.name(f.wanted, "")
	pages := ecs.NewListTaskDefinitionFamiliesPaginator(f.ECS, &ecs.ListTaskDefinitionFamiliesInput{FamilyPrefix: &prefix, Status: types.TaskDefinitionFamilyStatusActive})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if rollout.IsDenied(err) {
			f.Event("", "task definitions stay, because this role may not list their families")
			return nil
		}
		if err != nil {
			return fmt.Errorf("listing task definition families %s…: %w", prefix, err)
		}
		for _, family := range page.Families {
			if !f.matches(family) {
				continue
			}
			out, err := f.ECS.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: &family, Include: []types.TaskDefinitionField{types.TaskDefinitionFieldTags}})
			if err != nil {
				return fmt.Errorf("describing task definition %s: %w", family, err)
			}
			if p := f.of(family, parseTags(out.Tags)); p != nil {
				p.families = append(p.families, family)
			}
		}
	}
	return nil
}

// Address returns where a preview answers, by its rules.
func (c Client) Address(ctx context.Context, p Preview) (Address, error) {
	if len(p.rules) == 0 {
		return Address{}, nil
	}
	a := Address{Prefix: pathPrefix(p.Number)}
	for _, condition := range p.rules[0].Conditions {
		if aws.ToString(condition.Field) == hostHeader && condition.HostHeaderConfig != nil && len(condition.HostHeaderConfig.Values) > 0 {
			a.Host, a.Prefix = condition.HostHeaderConfig.Values[0], ""
		}
	}
	for _, group := range p.groups {
		if len(group.LoadBalancerArns) > 0 {
			front, err := c.clientListener(ctx, group.LoadBalancerArns[0])
			a.Base, a.Internal = front.base, front.internal
			return a, err
		}
	}
	return a, nil
}
