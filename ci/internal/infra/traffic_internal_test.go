package infra

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/infra/guard"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// TestGuardTraffic plans that an entry goes back to the strategy rolling.
func TestGuardTraffic(t *testing.T) {
	const (
		group   = `{"address": "aws_lb_target_group.service[\"api alternate\"]", "type": "aws_lb_target_group", "change": {"actions": ["delete"], "before": {"arn": "arn:group-2"}}}`
		rule    = `{"address": "aws_lb_listener_rule.test[\"api\"]", "type": "aws_lb_listener_rule", "change": {"actions": ["create", "delete"], "before": {"arn": "arn:test-rule"}, "after": {}}}`
		role    = `{"address": "aws_iam_role.infrastructure[0]", "type": "aws_iam_role", "change": {"actions": ["delete"], "before": {"arn": "arn:role"}}}`
		other   = `{"address": "aws_lb_target_group.other", "type": "aws_lb_target_group", "change": {"actions": ["delete"], "before": {"arn": "arn:other"}}}`
		stays   = `{"address": "aws_ecs_service.service[\"api\"]", "type": "aws_ecs_service", "change": {"actions": ["no-op"], "before": {"id": "arn:service"}, "after": {}}}`
		goes    = `{"address": "aws_ecs_service.service[\"api\"]", "type": "aws_ecs_service", "change": {"actions": ["delete"], "before": {"id": "arn:service"}}}`
		created = `{"address": "aws_ecs_service.service[\"new\"]", "type": "aws_ecs_service", "change": {"actions": ["create"], "before": null, "after": {}}}`
	)
	shifted := map[string]string{"arn:group-2": "ecs-api-service", "arn:test-rule": "ecs-api-service", "arn:role": "ecs-api-service", "": "ecs-api-service"}
	for name, tt := range map[string]struct {
		changes string
		shifts  map[string]string
		err     error
		code    outcome.Code
		want    string
		called  bool
	}{
		"before the release": {
			changes: group + "," + rule + "," + role + "," + stays, shifts: shifted, called: true, code: outcome.Refused,
			want: `release ecs-api-service with the strategy rolling first (slipway deploy --force), then plan again: the plan would `,
		},
		"after the release":      {changes: group + "," + rule + "," + stays, called: true},
		"another target group":   {changes: other + "," + stays, shifts: shifted, called: true},
		"the service goes too":   {changes: group + "," + goes, shifts: shifted, code: outcome.Refused, want: "(lost: a service, and all of its tasks)"},
		"no target group":        {changes: role + "," + stays, shifts: shifted, code: outcome.Refused, want: "(lost: a role that may be in use)"},
		"a service that is new":  {changes: group + "," + created, shifts: shifted},
		"ECS cannot be read":     {changes: group + "," + stays, err: errors.New("no access"), called: true, code: outcome.Failed, want: "no access"},
		"nothing is destroyed":   {changes: stays, shifts: shifted},
		"a change without facts": {changes: `null, {"type": "aws_ecs_service"}, ` + group, shifts: shifted},
	} {
		t.Run(name, func(t *testing.T) {
			called := false
			s := Stage{Shifts: func(_ context.Context, services []string) (map[string]string, error) {
				require.Equal(t, []string{"arn:service"}, services)
				called = true
				return tt.shifts, tt.err
			}}
			shown, err := newShownPlan([]byte(`{"format_version": "1.2", "resource_changes": [`+tt.changes+`]}`), false)
			require.NoError(t, err)
			if err = s.guardTraffic(t.Context(), shown.plan, &shown.summary); err == nil {
				err = guard.Check(shown.summary.Destroyed(), nil)
			}
			require.Equal(t, tt.called, called)
			require.Equal(t, tt.code, outcome.Of(err), "%v", err)
			if tt.want != "" {
				require.ErrorContains(t, err, tt.want)
			}
			require.NoError(t, Stage{}.guardTraffic(t.Context(), shown.plan, &shown.summary))
		})
	}
}
