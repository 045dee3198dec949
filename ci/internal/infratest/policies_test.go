package infratest_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/infratest"
)

func TestPolicies(t *testing.T) {
	t.Parallel()
	grants := infratest.Policies(t, `-var=services=["backend"]`)
	require.Equal(t, map[string][]string{
		"build": {"build"}, "deploy": {"deploy"}, "plan": {"read", "plan-guard"},
		"apply": {"read", "apply-state", "apply-network", "apply-services", "apply-guard"},
	}, grants.Roles)
	for role, names := range grants.Roles {
		require.Contains(t, grants.Policies, "trust-"+role)
		for _, name := range names {
			var policy struct {
				Version   string
				Statement []struct{ Sid, Effect string }
			}
			require.NoError(t, json.Unmarshal([]byte(grants.Policies[name]), &policy))
			require.Equal(t, "2012-10-17", policy.Version)
			require.NotEmpty(t, policy.Statement)
			for _, statement := range policy.Statement {
				require.NotEmpty(t, statement.Sid, "a statement of %s says what it is for", name)
				require.Contains(t, []string{"Allow", "Deny"}, statement.Effect)
			}
		}
	}
	require.Contains(t, grants.Policies["deploy"], "arn:aws:ecs:us-east-1:123456789012:service/ecs-cluster/ecs-backend-service")
}
