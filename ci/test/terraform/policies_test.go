package terraform_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/test/infratest"
	"github.com/slipway-cd/slipway/ci/test/terraform"
)

// TestRender requires Render to return what Terraform renders.
func TestRender(t *testing.T) {
	t.Parallel()
	w := terraform.Bootstrap(t)
	for name, tt := range map[string]struct {
		variables map[string]any
		arguments []string
		policies  int
	}{
		"defaults": {map[string]any{}, nil, 17},
		"all given": {
			map[string]any{
				"services": []string{"frontend", "backend"}, "state_bucket": "other", "github_branch": "trunk",
				"github_workflows": map[string]string{"apply": "apply.yml", "deploy": "o/r/.github/workflows/d.yml@refs/tags/v1.2.3"}, "github_subject_prefix": "repo:acme@1/shop@2",
				"adopted": map[string]any{"services": []string{"team-api"}}, "secrets": []string{"shop/*"}, "task_actions": []string{"s3:GetObject"},
			},
			[]string{
				`-var=services=["frontend","backend"]`, "-var=state_bucket=other", "-var=github_branch=trunk",
				`-var=github_workflows={apply="apply.yml",deploy="o/r/.github/workflows/d.yml@refs/tags/v1.2.3"}`, "-var=github_subject_prefix=repo:acme@1/shop@2",
				`-var=adopted={services=["team-api"]}`, `-var=secrets=["shop/*"]`, `-var=task_actions=["s3:GetObject"]`,
			},
			17,
		},
		"two environments": {
			map[string]any{"environments": map[string]any{
				"production": map[string]any{"promote_from": "staging"},
				"staging":    map[string]any{"name_prefix": "stg", "state_key": "stg", "previews": true, "promoted_by": []string{"live"}, "share_images": true, "registry_account": "111111111111"},
			}},
			[]string{`-var=environments={production={promote_from="staging"},staging={name_prefix="stg",state_key="stg",previews=true,promoted_by=["live"],share_images=true,registry_account="111111111111"}}`},
			36,
		},
	} {
		t.Run(name, func(t *testing.T) {
			tt.variables["account_id"], tt.variables["github_repository"] = infratest.Account, "acme/shop"
			rendered := terraform.Render(t, tt.variables)
			require.Len(t, rendered.Policies, tt.policies)
			require.Equal(t, terraform.Policies(t, w, tt.arguments...), rendered)
		})
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	grants := terraform.Render(t, map[string]any{"account_id": infratest.Account, "github_repository": "acme/shop", "services": []string{"backend"}})
	require.Equal(t, map[string][]string{
		"build": {"build"}, "deploy": {"deploy"}, "plan": {"read", "plan-guard"},
		"apply": {"read", "apply-state", "apply-network", "apply-services", "apply-jobs", "apply-guard"},
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
