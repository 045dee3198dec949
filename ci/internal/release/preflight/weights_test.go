package preflight_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/preflight"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// resolvedRevisions has the target group that each service revision is in.
type resolvedRevisions struct {
	preflight.ECS
	groups map[string]string
	err    error
}

func (r resolvedRevisions) DescribeServiceRevisions(_ context.Context, in *ecs.DescribeServiceRevisionsInput, _ ...func(*ecs.Options)) (*ecs.DescribeServiceRevisionsOutput, error) {
	out := &ecs.DescribeServiceRevisionsOutput{}
	for _, arn := range in.ServiceRevisionArns {
		revision := ecstypes.ServiceRevision{ServiceRevisionArn: &arn}
		if group, ok := r.groups[arn]; ok {
			revision.ResolvedConfiguration = &ecstypes.ResolvedConfiguration{LoadBalancers: []ecstypes.ServiceRevisionLoadBalancer{{TargetGroupArn: &group}}}
		}
		out.ServiceRevisions = append(out.ServiceRevisions, revision)
	}
	return out, r.err
}

// TestWeights: before a release, a production rule sends all traffic to the version that
// runs.
func TestWeights(t *testing.T) {
	w := newFixture(t)
	balancers, err := w.ELB.DescribeLoadBalancers(t.Context(), &elbv2.DescribeLoadBalancersInput{})
	require.NoError(t, err)
	listeners, err := w.ELB.DescribeListeners(t.Context(), &elbv2.DescribeListenersInput{LoadBalancerArn: balancers.LoadBalancers[0].LoadBalancerArn})
	require.NoError(t, err)
	blue, green := w.Group, w.other
	actions := func(weights ...int32) []elbtypes.Action {
		config := &elbtypes.ForwardActionConfig{}
		for n, weight := range weights {
			config.TargetGroups = append(config.TargetGroups, elbtypes.TargetGroupTuple{TargetGroupArn: &[]string{blue, green}[n], Weight: &weight})
		}
		return []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, ForwardConfig: config}}
	}
	made, err := w.ELB.CreateRule(t.Context(), &elbv2.CreateRuleInput{
		ListenerArn: listeners.Listeners[0].ListenerArn, Priority: aws.Int32(1), Actions: actions(100, 0),
		Conditions: []elbtypes.RuleCondition{{Field: aws.String("path-pattern"), Values: []string{"/api/*"}}},
	})
	require.NoError(t, err)
	rule := *made.Rules[0].RuleArn
	s := &w.changes[0].ECSService
	s.LoadBalancers[0].AdvancedConfiguration = &ecstypes.AdvancedConfiguration{AlternateTargetGroupArn: &green, ProductionListenerRule: &rule}
	s.CurrentServiceRevisions = []ecstypes.ServiceCurrentRevisionSummary{{Arn: aws.String("old")}, {Arn: aws.String("running"), RunningTaskCount: 1}}

	mend := func(blueWeight, greenWeight int) string {
		return fmt.Sprintf("aws elbv2 modify-rule --rule-arn %s --actions 'Type=forward,ForwardConfig={TargetGroups=[{TargetGroupArn=%s,Weight=%d},{TargetGroupArn=%s,Weight=%d}]}'", rule, blue, blueWeight, green, greenWeight)
	}
	rolling := func() {
		s.LoadBalancers[0].AdvancedConfiguration, s.CurrentServiceRevisions = nil, nil
	}
	for name, tt := range map[string]struct {
		weights []int32
		running string // target group
		change  func()
		code    outcome.Code
		want    string
		note    string
	}{
		"all to the first":           {weights: []int32{100, 0}, running: blue},
		"all to the second":          {weights: []int32{0, 100}, running: green},
		"all in other numbers":       {weights: []int32{1, 0}, running: blue},
		"a rule without the other":   {weights: []int32{1}, running: blue},
		"divided":                    {weights: []int32{60, 20}, running: blue, code: outcome.Refused, want: "service api: production rule " + rule + " sends 75 % of its traffic to target group app and 25 % of its traffic to target group lone, but the version that runs is in app, which must get all of it before a release: " + mend(100, 0)},
		"to the other":               {weights: []int32{0, 100}, running: blue, code: outcome.Refused, want: "sends 100 % of its traffic to target group lone, but the version that runs is in app, which must get all of it before a release: " + mend(100, 0)},
		"to the first, and it moved": {weights: []int32{100}, running: green, code: outcome.Refused, want: mend(0, 100)},
		"to none":                    {weights: []int32{0, 0}, running: blue, code: outcome.Refused, want: "sends traffic to no target group, but the version that runs is in app"},
		"where it runs is unknown":   {weights: []int32{0, 100}},
		"divided, and unknown":       {weights: []int32{1, 999}, code: outcome.Refused, want: "sends 0.1 % of its traffic to target group app and 99.9 % of its traffic to target group lone: before a release, the version that runs must get all of it: set the weights of the others to 0 (aws elbv2 modify-rule)"},
		"of a deployment": {weights: []int32{60, 20}, running: blue, change: func() {
			s.Deployments = []ecstypes.Deployment{{RolloutState: ecstypes.DeploymentRolloutStateInProgress}}
		}},
		"the rule is gone": {weights: []int32{1}, running: blue, change: func() {
			s.LoadBalancers[0].AdvancedConfiguration.ProductionListenerRule = aws.String(rule + "0")
		}, code: outcome.Failed, want: "service api: production rule " + rule + "0 does not exist: create it with Terraform (slipway plan, slipway apply)"},
		"the rule is gone, and the service rolls": {weights: []int32{1}, running: blue, change: func() {
			s.LoadBalancers[0].AdvancedConfiguration.ProductionListenerRule = aws.String(rule + "0")
			w.changes[0].Service.Strategy = &platform.Strategy{Type: platform.Rolling}
		}},
		"the rule is new": {weights: []int32{50, 50}, running: blue, change: func() {
			s.LoadBalancers[0].AdvancedConfiguration.ProductionListenerRule = aws.String(rule + "0")
			w.changes[0].Configure = &rollout.Shift{ProductionRule: rule}
		}, code: outcome.Refused, want: "sends 50 % of its traffic to target group app and 50 %"},
		"rolling":                {weights: []int32{50, 50}, change: rolling},
		"rolling until now":      {weights: []int32{100, 0}, change: func() { rolling(); w.changes[0].Configure = &rollout.Shift{ProductionRule: rule} }},
		"rolling, to the other":  {weights: []int32{0, 100}, change: func() { rolling(); w.changes[0].Configure = &rollout.Shift{ProductionRule: rule} }, code: outcome.Refused, want: mend(100, 0)},
		"rules may not be read":  {weights: []int32{50, 50}, change: func() { w.checker.ELB = noRules{w.ELB} }, note: "not checked: weights of the production rule of api: the caller lacks elasticloadbalancing:DescribeRules"},
		"revisions may not read": {weights: []int32{0, 100}, change: func() { w.checker.ECS = resolvedRevisions{w.ECS, nil, errAccessDenied} }, note: "not checked: target group of running: the caller lacks ecs:DescribeServiceRevisions"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.ELB.ModifyRule(t.Context(), &elbv2.ModifyRuleInput{RuleArn: &rule, Actions: actions(tt.weights...)})
			require.NoError(t, err)
			advanced := *w.changes[0].ECSService.LoadBalancers[0].AdvancedConfiguration
			before, checker := *s, w.checker
			defer func() { w.changes[0].Service.Strategy, w.changes[0].Configure = nil, nil }()
			defer func() { *s, w.checker = before, checker; s.LoadBalancers[0].AdvancedConfiguration = &advanced }()
			groups := map[string]string{"old": green}
			if tt.running != "" {
				groups["running"] = tt.running
			}
			w.checker.ECS = resolvedRevisions{w.ECS, groups, nil}
			if tt.change != nil {
				tt.change()
			}
			notes, err := w.check(t)
			if tt.note != "" {
				require.Contains(t, notes, tt.note)
			} else {
				require.Empty(t, notes)
			}
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, tt.code, outcome.Of(err))
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

var errAccessDenied = &smithy.GenericAPIError{Code: "AccessDenied"}

// noRules may not describe rules.
type noRules struct{ preflight.ELB }

func (noRules) DescribeRules(context.Context, *elbv2.DescribeRulesInput, ...func(*elbv2.Options)) (*elbv2.DescribeRulesOutput, error) {
	return nil, errAccessDenied
}
