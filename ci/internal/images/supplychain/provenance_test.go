package supplychain_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain/supplychaintest"
)

// environment has GitHub's variables, and secrets.
var environment = map[string]string{
	"GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "owner/name",
	"GITHUB_WORKFLOW_REF": "owner/name/.github/workflows/deliver.yml@refs/heads/main", "GITHUB_RUN_ID": "42", "GITHUB_RUN_ATTEMPT": "2",
	"GITHUB_EVENT_NAME": "push", "GITHUB_REPOSITORY_ID": "7", "GITHUB_REPOSITORY_OWNER_ID": "8", "RUNNER_ENVIRONMENT": "github-hosted",
	"GITHUB_REF": "refs/heads/main", "GITHUB_TOKEN": "planted-secret", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "planted-secret",
	"AWS_SECRET_ACCESS_KEY": "planted-secret", "ACTIONS_ID_TOKEN_REQUEST_URL": "https://planted-secret",
}

// TestProvenance: a statement has SLSA's format, and contains neither secrets nor
// values that differ between runs.
func TestProvenance(t *testing.T) {
	supplychaintest.Install(t)
	run := supplychain.RunFromEnv(func(name string) string { return environment[name] })
	base := "sha256:abab"
	tests := map[string]struct {
		build supplychain.Build
		want  string
	}{
		"a workflow": {
			supplychain.Build{
				Repository: run.Source(), Ref: run.Ref, Commit: "1111", Run: run,
				Bases: []image.Pin{{Reference: "docker.io/nginxinc/nginx-unprivileged:stable-alpine", Digest: base}},
			},
			`{"buildDefinition": {"buildType": "https://slipway.dev/build/image/v1",
			   "externalParameters": {"repository": "https://github.com/owner/name", "ref": "refs/heads/main", "commit": "1111", "service": "backend", "platforms": ["linux/amd64", "linux/arm64"]},
			   "internalParameters": {"github": {"event_name": "push", "repository_id": "7", "repository_owner_id": "8", "runner_environment": "github-hosted"}},
			   "resolvedDependencies": [
			    {"name": "source", "uri": "git+https://github.com/owner/name@refs/heads/main", "digest": {"gitCommit": "1111"}},
			    {"name": "base", "uri": "pkg:oci/nginx-unprivileged@sha256:abab?repository_url=docker.io%2Fnginxinc%2Fnginx-unprivileged&tag=stable-alpine", "digest": {"sha256": "abab"}}]},
			  "runDetails": {"builder": {"id": "https://github.com/owner/name/.github/workflows/deliver.yml@refs/heads/main"},
			   "metadata": {"invocationId": "https://github.com/owner/name/actions/runs/42/attempts/2"}}}`,
		},
		"by hand": {
			supplychain.Build{Commit: "2222", Bases: []image.Pin{{Reference: "127.0.0.1:5000/base"}}},
			`{"buildDefinition": {"buildType": "https://slipway.dev/build/image/v1",
			   "externalParameters": {"commit": "2222", "service": "backend", "platforms": ["linux/amd64", "linux/arm64"]},
			   "resolvedDependencies": [{"name": "source", "digest": {"gitCommit": "2222"}}, {"name": "base", "uri": "pkg:oci/base?repository_url=127.0.0.1%3A5000%2Fbase"}]},
			  "runDetails": {"builder": {"id": "https://slipway.dev/builder/local"}, "metadata": {}}}`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			to := embedded(t)
			subject := publish(t, to)
			_, err := supplychain.Attestor{Tools: host(t), Registry: to, NoSBOM: true}.Attest(t.Context(), subject, tt.build)
			require.NoError(t, err)
			said := attached(t, to, subject)["application/vnd.in-toto+json https://slsa.dev/provenance/v1"][0]
			require.NotContains(t, said, "planted-secret")
			var statement struct {
				Type      string `json:"_type"`
				Predicate json.RawMessage
			}
			require.NoError(t, json.Unmarshal([]byte(said), &statement))
			require.Equal(t, "https://in-toto.io/Statement/v1", statement.Type)
			require.JSONEq(t, tt.want, string(statement.Predicate))
		})
	}
	require.Zero(t, supplychain.RunFromEnv(func(name string) string { return map[string]string{"GITHUB_REPOSITORY": "left/behind"}[name] }))
}
