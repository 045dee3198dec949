package provenance_test

import (
	"encoding/json"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"

	"dagger/slipway/internal/provenance"
)

var (
	digest = v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("ab", 32)}
	sbom   = v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("cd", 32)}
)

// environment is what GitHub sets, with secrets beside it.
var environment = map[string]string{
	"GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "owner/name",
	"GITHUB_WORKFLOW_REF": "owner/name/.github/workflows/deliver.yml@refs/heads/main", "GITHUB_RUN_ID": "42", "GITHUB_RUN_ATTEMPT": "2",
	"GITHUB_EVENT_NAME": "push", "GITHUB_REPOSITORY_ID": "7", "GITHUB_REPOSITORY_OWNER_ID": "8", "RUNNER_ENVIRONMENT": "github-hosted",
	"GITHUB_REF": "refs/heads/main", "GITHUB_TOKEN": "planted-secret", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "planted-secret",
	"AWS_SECRET_ACCESS_KEY": "planted-secret", "ACTIONS_ID_TOKEN_REQUEST_URL": "https://planted-secret",
}

func getenv(name string) string { return environment[name] }

func build() provenance.Build {
	run := provenance.RunOf(getenv)
	return provenance.Build{
		Repository: run.Source(), Ref: run.Ref, Commit: strings.Repeat("1", 40), Service: "frontend", Platforms: []string{"linux/amd64", "linux/arm64"},
		Bases:      []provenance.Base{{Reference: "docker.io/nginxinc/nginx-unprivileged:stable-alpine", Digest: digest.String()}},
		Toolchains: []string{"go1.26.1"}, Run: run,
		Byproducts: []provenance.Byproduct{{Name: "sbom", MediaType: "application/spdx+json", Digest: sbom}},
	}
}

// read reads a statement back with in-toto's own library.
func read(t *testing.T, data []byte) (*intoto.Statement, *slsa.Provenance) {
	t.Helper()
	statement := &intoto.Statement{}
	require.NoError(t, protojson.Unmarshal(data, statement))
	require.NoError(t, statement.Validate())
	content, err := protojson.Marshal(statement.Predicate)
	require.NoError(t, err)
	predicate := &slsa.Provenance{}
	require.NoError(t, protojson.Unmarshal(content, predicate))
	require.NoError(t, predicate.Validate())
	return statement, predicate
}

func TestWorkflow(t *testing.T) {
	data, err := build().Statement("frontend", digest)
	require.NoError(t, err)
	statement, predicate := read(t, data)
	require.Equal(t, "https://slsa.dev/provenance/v1", statement.PredicateType)
	require.Equal(t, digest.Hex, statement.Subject[0].Digest["sha256"])

	definition := predicate.BuildDefinition
	require.Equal(t, provenance.BuildType, definition.BuildType)
	require.Equal(t, map[string]any{
		"repository": "https://github.com/owner/name", "ref": "refs/heads/main", "commit": strings.Repeat("1", 40),
		"service": "frontend", "platforms": []any{"linux/amd64", "linux/arm64"},
	}, definition.ExternalParameters.AsMap())
	require.Equal(t, map[string]any{"github": map[string]any{
		"event_name": "push", "repository_id": "7", "repository_owner_id": "8", "runner_environment": "github-hosted",
	}}, definition.InternalParameters.AsMap())
	var uris []string
	for _, d := range definition.ResolvedDependencies {
		uris = append(uris, d.Uri)
	}
	require.Equal(t, []string{
		"git+https://github.com/owner/name@refs/heads/main",
		"pkg:oci/nginx-unprivileged@" + digest.String() + "?repository_url=docker.io%2Fnginxinc%2Fnginx-unprivileged&tag=stable-alpine",
		"pkg:generic/go@1.26.1",
	}, uris)
	require.Equal(t, strings.Repeat("1", 40), definition.ResolvedDependencies[0].Digest["gitCommit"])
	require.Equal(t, digest.Hex, definition.ResolvedDependencies[1].Digest["sha256"])

	require.Equal(t, "https://github.com/owner/name/.github/workflows/deliver.yml@refs/heads/main", predicate.RunDetails.Builder.Id)
	require.Equal(t, "https://github.com/owner/name/actions/runs/42/attempts/2", predicate.RunDetails.Metadata.InvocationId)
	require.Equal(t, sbom.Hex, predicate.RunDetails.Byproducts[0].Digest["sha256"])
	require.NotContains(t, string(data), "planted-secret")
}

func TestByHand(t *testing.T) {
	run := provenance.RunOf(func(name string) string { return map[string]string{"GITHUB_REPOSITORY": "left/behind"}[name] })
	require.Zero(t, run)
	require.Empty(t, run.Source())
	b := provenance.Build{Service: "backend", Platforms: []string{"linux/amd64"}, Commit: strings.Repeat("2", 40), Bases: []provenance.Base{{Reference: "127.0.0.1:5000/base"}}}
	data, err := b.Statement("backend", digest)
	require.NoError(t, err)
	_, predicate := read(t, data)
	require.Equal(t, "https://slipway.dev/builder/local", predicate.RunDetails.Builder.Id)
	require.Empty(t, predicate.RunDetails.Metadata.InvocationId)
	require.Empty(t, predicate.BuildDefinition.ResolvedDependencies[0].Uri, "nobody knows where the commit is")
	require.Equal(t, "pkg:oci/base?repository_url=127.0.0.1:5000%2Fbase", predicate.BuildDefinition.ResolvedDependencies[1].Uri)
}

func TestTheSameTwice(t *testing.T) {
	first, err := build().Statement("frontend", digest)
	require.NoError(t, err)
	for range 20 { // protojson's spaces come by chance
		again, err := build().Statement("frontend", digest)
		require.NoError(t, err)
		require.Equal(t, string(first), string(again))
	}
	require.True(t, json.Valid(first))
}

func TestStatementFails(t *testing.T) {
	broken := build()
	broken.Byproducts = []provenance.Byproduct{{Digest: v1.Hash{Algorithm: "sha256", Hex: "not hex"}}}
	_, err := broken.Statement("frontend", digest)
	require.ErrorContains(t, err, "writing the provenance of frontend: ")
	broken = build()
	broken.Ref = "\xff"
	_, err = broken.Statement("frontend", digest)
	require.ErrorContains(t, err, "writing the provenance of frontend: ")
	broken = build()
	broken.Run.Event = "\xff"
	_, err = broken.Statement("frontend", digest)
	require.ErrorContains(t, err, "writing the provenance of frontend: ")
	_, err = provenance.Statement("frontend", digest, "", []byte("{}"))
	require.ErrorContains(t, err, "writing a statement about frontend: ")
	_, err = provenance.Statement("frontend", digest, "type", []byte("{"))
	require.ErrorContains(t, err, "writing a statement about frontend: ")
}
