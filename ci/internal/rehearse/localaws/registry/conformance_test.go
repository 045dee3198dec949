package registry_test

import (
	"encoding/base64"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
)

// suite is the conformance test suite of the OCI distribution specification.
const suite = "github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111"

// TestConformance runs the specification's test suite for the supported features. Like
// ECR, the registry has no SHA-512, no deletion by this protocol (which the suite skips),
// and no mount without a source repository.
func TestConformance(t *testing.T) {
	program, err := exec.LookPath("conformance")
	if err != nil {
		t.Skip("the conformance suite is not on PATH: go install " + suite)
	}
	p := localawstest.Start(t, localaws.Options{})
	for _, name := range []string{"one", "two"} {
		_, err := p.ECR.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String(name)})
		require.NoError(t, err)
	}
	token, err := p.ECR.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
	require.NoError(t, err)
	login, err := base64.StdEncoding.DecodeString(*token.AuthorizationData[0].AuthorizationToken)
	require.NoError(t, err)
	user, password, _ := strings.Cut(string(login), ":")
	results := t.TempDir()
	run := exec.CommandContext(t.Context(), program)
	run.Dir = results
	run.Env = append(os.Environ(), "OCI_RESULTS_DIR="+results, "OCI_VERSION=1.1", "OCI_REGISTRY="+p.Server.Registry(), "OCI_TLS=disabled",
		"OCI_DATA_SHA512=false", "OCI_REPO1=one", "OCI_REPO2=two", "OCI_USERNAME="+user, "OCI_PASSWORD="+password)
	out, err := run.CombinedOutput()
	_, figures, _ := strings.Cut(string(out), "OCI Conformance Result")
	t.Log(figures)
	require.NoError(t, err, string(out))
}
