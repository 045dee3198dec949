package guard_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/infra/guard"
	"dagger/slipway/internal/outcome"
)

func TestCheck(t *testing.T) {
	vpc := guard.Doomed{Address: "aws_vpc.main", Type: "aws_vpc"}
	repository := guard.Doomed{Address: `aws_ecr_repository.service["backend"]`, Type: "aws_ecr_repository", Replaced: true}
	rule := guard.Doomed{Address: "aws_lb_listener_rule.api", Type: "aws_lb_listener_rule"}
	tests := map[string]struct {
		doomed  []guard.Doomed
		allowed []string
		code    outcome.Code
		want    string
	}{
		"nothing destroyed":            {code: outcome.Done},
		"nothing guarded":              {doomed: []guard.Doomed{rule}, code: outcome.Done},
		"a guarded one":                {[]guard.Doomed{rule, vpc}, nil, outcome.Refused, "the plan would destroy aws_vpc.main (lost: the network, with everything in it): if that is meant, say so with --allow-destroy aws_vpc.main"},
		"a guarded one, allowed":       {[]guard.Doomed{vpc}, []string{"aws_vpc.main"}, outcome.Done, ""},
		"two, one of them allowed":     {[]guard.Doomed{vpc, repository}, []string{"aws_vpc.main"}, outcome.Refused, `replace aws_ecr_repository.service["backend"] (lost: every image in it, those to roll back to included): if that is meant, say so with --allow-destroy 'aws_ecr_repository.service["backend"]'`},
		"an unguarded one, allowed":    {[]guard.Doomed{rule}, []string{rule.Address}, outcome.Done, ""},
		"a type instead of an address": {[]guard.Doomed{vpc}, []string{"aws_vpc"}, outcome.Usage, "--allow-destroy aws_vpc: the plan does not destroy it: did you mean aws_vpc.main?"},
		"another address":              {[]guard.Doomed{vpc}, []string{"aws_lb.main.xyz"}, outcome.Usage, "--allow-destroy aws_lb.main.xyz: the plan does not destroy it (it destroys aws_vpc.main)"},
		"an address, and no change":    {nil, []string{"aws_vpc.main"}, outcome.Usage, "(it destroys nothing)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := guard.Check(tt.doomed, tt.allowed)
			require.Equal(t, tt.code, outcome.Of(err), "%v", err)
			if tt.want != "" {
				require.ErrorContains(t, err, tt.want)
			}
		})
	}
}

func TestLoss(t *testing.T) {
	for _, kind := range []string{"aws_vpc", "aws_subnet", "aws_lb", "aws_ecs_cluster", "aws_ecr_repository", "aws_cloudwatch_log_group", "aws_s3_bucket", "aws_dynamodb_table", "aws_kms_key", "aws_iam_role"} {
		require.NotEmpty(t, guard.Loss(kind), kind)
	}
	require.Empty(t, guard.Loss("aws_security_group"))
}
