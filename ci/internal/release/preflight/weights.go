package preflight

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/traffic"
)

// productionRule is the listener rule that ECS shifts the traffic of a service with.
type productionRule struct {
	service string
	arn     string
	// revision is the ARN of the service revision that runs, or "".
	revision string
	// group is the target group of the version that runs, or "" if only the revision has it.
	group string
	// unused is set if the service rolls from now on, so that Terraform may have deleted the rule.
	unused bool
}

// checkWeights checks that the production rule of each service sends all its traffic to the
// version that runs. ECS does not: it would shift the traffic of a group without tasks.
// https://github.com/aws/containers-roadmap/issues/2853
func (r *run) checkWeights(ctx context.Context) {
	var rules []productionRule
	for _, s := range r.changes {
		if rule, ok := r.productionRule(s); ok {
			rules = append(rules, rule)
		}
	}
	if len(rules) == 0 || r.ELB == nil || r.ECS == nil { // others note that
		return
	}
	r.call(ctx, func(ctx context.Context) {
		var arns, revisions []string
		for _, rule := range rules {
			arns = append(arns, rule.arn)
			if rule.revision != "" {
				revisions = append(revisions, rule.revision)
			}
		}
		described, err := traffic.DescribeRules(ctx, r.ELB, arns)
		if err != nil {
			for _, rule := range rules {
				r.skip("weights of the production rule of", rule.service, r.readError(err, apiCall{"elasticloadbalancing:DescribeRules", "*"}))
			}
			return
		}
		groups := r.resolvedGroups(ctx, revisions)
		for _, rule := range rules {
			if group := groups[rule.revision]; group != "" {
				rule.group = group
			}
			if found, ok := described[rule.arn]; ok {
				r.checkRule(rule, traffic.Weights(found))
			} else if !rule.unused {
				r.add(fail(nil, "service %s: production rule %s does not exist: create it with Terraform (slipway plan, slipway apply)", rule.service, rule.arn))
			}
		}
	})
}

// productionRule returns the production rule of a service. ok is false if it has none, or if
// a deployment is moving its weights.
func (r *run) productionRule(s rollout.ServiceChange) (rule productionRule, ok bool) {
	rule.service, rule.unused = s.Service.Name, s.Shift == nil && s.Service.Strategy != nil && !s.Service.Strategy.Progressive()
	for _, d := range s.ECSService.Deployments {
		if d.RolloutState == types.DeploymentRolloutStateInProgress {
			return rule, false
		}
	}
	for _, balancer := range s.ECSService.LoadBalancers {
		if c := balancer.AdvancedConfiguration; c != nil {
			rule.arn = aws.ToString(c.ProductionListenerRule)
		} else {
			rule.group = aws.ToString(balancer.TargetGroupArn)
		}
	}
	if s.Configure != nil {
		rule.arn = s.Configure.ProductionRule
	}
	for _, revision := range s.ECSService.CurrentServiceRevisions {
		if rule.revision = aws.ToString(revision.Arn); revision.RunningTaskCount > 0 {
			break
		}
	}
	return rule, rule.arn != ""
}

// revisionsLimit is how many revisions a call describes.
const revisionsLimit = 20

// resolvedGroups returns the target group that each service revision is in, by ARN. Without
// it, a rule may send its traffic to any one target group.
func (r *run) resolvedGroups(ctx context.Context, revisions []string) map[string]string {
	groups := map[string]string{}
	for batch := range slices.Chunk(revisions, revisionsLimit) {
		out, err := r.ECS.DescribeServiceRevisions(ctx, &ecs.DescribeServiceRevisionsInput{ServiceRevisionArns: batch})
		if err != nil {
			r.skip("target group of", strings.Join(batch, ", "), r.readError(err, apiCall{"ecs:DescribeServiceRevisions", "*"}))
			continue
		}
		for _, revision := range out.ServiceRevisions {
			for _, group := range rollout.ResolvedGroups(revision) {
				groups[aws.ToString(revision.ServiceRevisionArn)] = group
			}
		}
	}
	return groups
}

// checkRule adds a finding unless one target group, that of the version that runs, has all
// the weight.
func (r *run) checkRule(rule productionRule, weights map[string]int32) {
	serving := traffic.Serving(weights)
	if len(serving) == 1 && (rule.group == "" || serving[0] == rule.group) {
		return
	}
	total := int32(0)
	for _, group := range serving {
		total += weights[group]
	}
	var shares, actions []string
	for _, group := range serving {
		shares = append(shares, fmt.Sprintf("%.4g %% of its traffic to target group %s", 100*float64(weights[group])/float64(total), traffic.GroupName(group)))
	}
	if len(shares) == 0 {
		shares = []string{"traffic to no target group"}
	}
	if rule.group == "" {
		r.add(refuse("service %s: production rule %s sends %s: before a release, the version that runs must get all of it: set the weights of the others to 0 (aws elbv2 modify-rule)",
			rule.service, rule.arn, strings.Join(shares, " and ")))
		return
	}
	weights[rule.group] = 0 // it may be none of the rule's
	for _, group := range slices.Sorted(maps.Keys(weights)) {
		weight := 0
		if group == rule.group {
			weight = 100
		}
		actions = append(actions, fmt.Sprintf("{TargetGroupArn=%s,Weight=%d}", group, weight))
	}
	r.add(refuse("service %s: production rule %s sends %s, but the version that runs is in %s, which must get all of it before a release: aws elbv2 modify-rule --rule-arn %s --actions 'Type=forward,ForwardConfig={TargetGroups=[%s]}'",
		rule.service, rule.arn, strings.Join(shares, " and "), traffic.GroupName(rule.group), rule.arn, strings.Join(actions, ",")))
}
