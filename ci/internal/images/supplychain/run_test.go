package supplychain_test

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
)

func TestRunOfToken(t *testing.T) {
	claims := `{"repository": "acme/shop", "workflow_ref": "acme/shop/.github/workflows/ci.yml@refs/heads/main", "job_workflow_ref": "slipway-cd/slipway/.github/workflows/deliver.yml@refs/tags/v1.2.3", "run_id": "42", "run_attempt": "2",
		"event_name": "push", "repository_id": "7", "repository_owner_id": "8", "runner_environment": "github-hosted", "ref": "refs/heads/main"}`
	run, err := supplychain.RunFromToken("head." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".sign")
	require.NoError(t, err)
	require.Equal(t, supplychain.Run{
		Server: "https://github.com", Repository: "acme/shop", Workflow: "acme/shop/.github/workflows/ci.yml@refs/heads/main", JobWorkflow: "slipway-cd/slipway/.github/workflows/deliver.yml@refs/tags/v1.2.3", ID: "42", Attempt: "2",
		Event: "push", RepositoryID: "7", OwnerID: "8", Runner: "github-hosted", Ref: "refs/heads/main",
	}, run)
	for name, token := range map[string]string{
		"no token": "planted-secret", "no base64": "a.!!.c", "no JSON": "a." + base64.RawURLEncoding.EncodeToString([]byte("planted-secret")) + ".c",
	} {
		_, err := supplychain.RunFromToken(token)
		require.ErrorContains(t, err, "reading the job's identity", name)
		require.NotContains(t, err.Error(), "planted", name)
	}
}
