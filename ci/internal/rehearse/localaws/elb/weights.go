package elb

import (
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// RuleExists reports whether a listener has a rule; a default rule counts.
func (b *Balancer) RuleExists(rule string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, _, err := b.rule(rule)
	return err == nil
}

// SetWeights makes a rule forward to target groups by weight. Stickiness stays as it is.
func (b *Balancer) SetWeights(rule string, groups []types.TargetGroupTuple) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.setForward(rule, func([]types.TargetGroupTuple) []types.TargetGroupTuple { return groups })
}

// Attach adds a target group with weight 0 to a rule that does not forward to it, so that
// its targets are checked. The weights of the others stay as they are.
func (b *Balancer) Attach(rule, group string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.setForward(rule, func(tuples []types.TargetGroupTuple) []types.TargetGroupTuple {
		if slices.ContainsFunc(tuples, func(t types.TargetGroupTuple) bool { return aws.ToString(t.TargetGroupArn) == group }) {
			return tuples
		}
		return append(slices.Clone(tuples), types.TargetGroupTuple{TargetGroupArn: &group, Weight: new(int32(0))})
	})
}

// setForward replaces the target groups of a rule's forward action. The lock is held.
func (b *Balancer) setForward(arn string, change func([]types.TargetGroupTuple) []types.TargetGroupTuple) error {
	l, r, err := b.rule(arn)
	if err != nil {
		return err
	}
	old := routingAction(r.Actions)
	config := types.ForwardActionConfig{TargetGroups: change(forwardTargetGroups(old))}
	if old.ForwardConfig != nil {
		config.TargetGroupStickinessConfig = old.ForwardConfig.TargetGroupStickinessConfig
	}
	actions := slices.Clone(r.Actions)
	actions = append(actions[:max(len(actions)-1, 0)], types.Action{Type: types.ActionTypeEnumForward, Order: old.Order, ForwardConfig: &config})
	if err := b.validateActions(actions); err != nil {
		return err
	}
	if r == &l.defaultRule {
		l.setDefault(b, actions)
	} else {
		r.Actions = normalizeActions(actions)
		delete(b.currentWeights, arn)
	}
	b.wakeHealthChecks()
	return nil
}
