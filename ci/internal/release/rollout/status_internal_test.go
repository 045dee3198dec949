package rollout

import (
	"context"
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/report"
)

// fakeTarget is a target with its id, port and state.
type fakeTarget struct {
	id    string
	port  int32
	state elbtypes.TargetHealthStateEnum
}

// fakeTargetGroups are target groups by ARN; a nil one cannot be read.
type fakeTargetGroups map[string][]fakeTarget

func (g fakeTargetGroups) DescribeTargetHealth(_ context.Context, in *elb.DescribeTargetHealthInput, _ ...func(*elb.Options)) (*elb.DescribeTargetHealthOutput, error) {
	targets := g[*in.TargetGroupArn]
	if targets == nil {
		return nil, errors.New("denied")
	}
	out := &elb.DescribeTargetHealthOutput{}
	for _, t := range targets {
		out.TargetHealthDescriptions = append(out.TargetHealthDescriptions, elbtypes.TargetHealthDescription{
			Target:       &elbtypes.TargetDescription{Id: aws.String(t.id), Port: aws.Int32(t.port)},
			TargetHealth: &elbtypes.TargetHealth{State: t.state},
		})
	}
	return out, nil
}

// TestHealthCountsTasks checks that tasks are counted, not targets: a task has one per
// target group.
func TestHealthCountsTasks(t *testing.T) {
	const up, down, initial = elbtypes.TargetHealthStateEnumHealthy, elbtypes.TargetHealthStateEnumUnhealthy, elbtypes.TargetHealthStateEnumInitial
	tests := map[string]struct {
		groups             fakeTargetGroups
		healthy, unhealthy int32
	}{
		"one group":               {fakeTargetGroups{"a": {{"10.0.0.1", 8000, up}, {"10.0.0.2", 8000, down}}}, 1, 1},
		"ports of one instance":   {fakeTargetGroups{"a": {{"i-1", 32001, up}, {"i-1", 32002, up}}}, 2, 0},
		"two groups":              {fakeTargetGroups{"a": {{"10.0.0.1", 8000, up}}, "b": {{"10.0.0.1", 8081, up}}}, 1, 0},
		"two groups of one port":  {fakeTargetGroups{"a": {{"10.0.0.1", 8000, up}}, "b": {{"10.0.0.1", 8000, down}}}, 0, 1},
		"healthy in one of two":   {fakeTargetGroups{"a": {{"10.0.0.1", 8000, up}, {"10.0.0.2", 8000, up}}, "b": {{"10.0.0.1", 8081, up}, {"10.0.0.2", 8081, down}}}, 1, 1},
		"not registered in one":   {fakeTargetGroups{"a": {{"10.0.0.1", 8000, up}}, "b": {}}, 0, 0},
		"not yet checked in one":  {fakeTargetGroups{"a": {{"10.0.0.1", 8000, up}}, "b": {{"10.0.0.1", 8081, initial}}}, 0, 0},
		"unhealthy in both":       {fakeTargetGroups{"a": {{"10.0.0.1", 8000, down}}, "b": {{"10.0.0.1", 8081, down}}}, 0, 1},
		"one group is unreadable": {fakeTargetGroups{"a": {{"10.0.0.1", 8000, up}}, "b": nil}, 1, 0},
		"IPv6":                    {fakeTargetGroups{"a": {{"2001:db8::1", 8000, up}}, "b": {{"2001:db8::1", 8081, up}}}, 1, 0},
		"no group":                {fakeTargetGroups{}, 0, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			at := runningService{}
			for group := range tt.groups {
				at.described.LoadBalancers = append(at.described.LoadBalancers, types.LoadBalancer{TargetGroupArn: aws.String(group)})
			}
			var status report.ServiceStatus
			Engine{Health: tt.groups}.addHealth(t.Context(), at, &status)
			require.Equal(t, report.Tasks{Healthy: tt.healthy, Unhealthy: tt.unhealthy}, status.Tasks)
			health := Engine{Health: tt.groups}.targetHealth(t.Context(), at.described)
			if name == "two groups of one port" {
				require.Equal(t, "unhealthy", health["10.0.0.1:8000"].String())
			}
		})
	}
}

// TestHealthOfShiftedGroups checks that two groups between which ECS shifts traffic count as
// one.
func TestHealthOfShiftedGroups(t *testing.T) {
	const up, down = elbtypes.TargetHealthStateEnumHealthy, elbtypes.TargetHealthStateEnumUnhealthy
	for name, groups := range map[string]fakeTargetGroups{
		"before": {"a": {{"10.0.0.1", 8000, up}}, "b": {}},
		"during": {"a": {{"10.0.0.1", 8000, up}}, "b": {{"10.0.0.2", 8000, down}}},
		"after":  {"a": {}, "b": {{"10.0.0.2", 8000, up}}},
		"denied": {"a": nil, "b": {{"10.0.0.2", 8000, up}}},
	} {
		at := runningService{described: types.Service{LoadBalancers: []types.LoadBalancer{{
			TargetGroupArn: aws.String("a"), AdvancedConfiguration: &types.AdvancedConfiguration{AlternateTargetGroupArn: aws.String("b")},
		}}}}
		var status report.ServiceStatus
		Engine{Health: groups}.addHealth(t.Context(), at, &status)
		require.EqualValues(t, 1, status.Tasks.Healthy, name)
		require.EqualValues(t, map[bool]int{true: 1}[name == "during"], status.Tasks.Unhealthy, name)
	}
}
