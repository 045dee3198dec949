package traffic

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// batchSize is how many resources a call describes.
const batchSize = 20

// describe describes resources in batches. Those that do not exist are left out: AWS fails
// a whole call for one of them, so its others are described one by one.
func describe[T any](ids []string, isNotFound func(error) bool, call func(ids []string) ([]T, error)) ([]T, error) {
	var all []T
	for batch := range slices.Chunk(ids, batchSize) {
		found, err := call(batch)
		switch {
		case err == nil:
			all = append(all, found...)
		case isNotFound(err) && len(batch) == 1:
		case isNotFound(err):
			for _, id := range batch {
				found, err := describe([]string{id}, isNotFound, call)
				if err != nil {
					return nil, err
				}
				all = append(all, found...)
			}
		default:
			return nil, err
		}
	}
	return all, nil
}

// targetGroups describes target groups, without those that do not exist.
func targetGroups(ctx context.Context, api ELB, ids []string, input func([]string) *elb.DescribeTargetGroupsInput) ([]types.TargetGroup, error) {
	found, err := describe(ids, isA[*types.TargetGroupNotFoundException], func(batch []string) ([]types.TargetGroup, error) {
		out, err := api.DescribeTargetGroups(ctx, input(batch))
		if err != nil {
			return nil, err
		}
		return out.TargetGroups, nil
	})
	if err != nil {
		return nil, fmt.Errorf("describing target groups: %w", err)
	}
	return found, nil
}

// DescribeRules describes listener rules by ARN, without those that do not exist.
func DescribeRules(ctx context.Context, api Rules, arns []string) (map[string]types.Rule, error) {
	arns = slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(arns))), func(arn string) bool { return arn == "" })
	found, err := describe(arns, isA[*types.RuleNotFoundException], func(batch []string) ([]types.Rule, error) {
		out, err := api.DescribeRules(ctx, &elb.DescribeRulesInput{RuleArns: batch})
		if err != nil {
			return nil, err
		}
		return out.Rules, nil
	})
	if err != nil {
		return nil, fmt.Errorf("describing listener rules: %w", err)
	}
	rules := map[string]types.Rule{}
	for _, rule := range found {
		rules[aws.ToString(rule.RuleArn)] = rule
	}
	return rules, nil
}

// isA reports whether an error is, or wraps, one of type E.
func isA[E error](err error) bool {
	return errors.As(err, new(E))
}
