package infra_test

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/infra"
	"github.com/slipway-cd/slipway/ci/internal/infra/mototest"
	"github.com/slipway-cd/slipway/ci/internal/infra/terraform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func put(t *testing.T, method, url string, body []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=any/20260501/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=any")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	require.NoError(t, err)
	answer.Body.Close()
	require.Less(t, answer.StatusCode, 300)
}

func TestStateInS3(t *testing.T) {
	endpoint, _ := mototest.Start(t)
	t.Setenv("AWS_ENDPOINT_URL", endpoint)
	t.Setenv("AWS_ACCESS_KEY_ID", "any")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "any")
	t.Setenv("AWS_REGION", "us-east-1")
	put(t, http.MethodPut, endpoint+"/state", nil)
	tr := newTree(t, map[string]string{"main.tf": "terraform {\n  backend \"s3\" {\n    key          = \"platform.tfstate\"\n    use_lockfile = true\n  }\n}\n\nresource \"terraform_data\" \"a\" {}\n"})
	tr.Backend = terraform.Backend{Config: []string{"bucket=state", "region=us-east-1", "use_path_style=true"}}
	tr.Identity = account{id: "123456789012", region: "us-east-1"}

	planned := tr.mustPlan(t)
	require.Equal(t, "123456789012", planned.Binding.Account)
	require.Equal(t, "s3 bucket=state key=platform.tfstate region=us-east-1 use_lockfile=true use_path_style=true", planned.Binding.Backend.String())

	lock := []byte(`{"ID":"6dc086b4-5561-d072-d81c-1a99ad2b7163","Operation":"OperationTypeApply","Info":"","Who":"ann@laptop","Version":"1.11.4","Created":"2026-05-01T12:00:00Z","Path":"state/platform.tfstate"}`)
	put(t, http.MethodPut, endpoint+"/state/platform.tfstate.tflock", lock)
	applied, err := tr.apply(t)
	require.EqualError(t, err, "the state is locked by ann@laptop since 2026-05-01T12:00:00Z (terraform apply, lock 6dc086b4-5561-d072-d81c-1a99ad2b7163): wait for it (slipway: --lock-timeout) or, if that run has certainly ended, run terraform force-unlock 6dc086b4-5561-d072-d81c-1a99ad2b7163")
	require.Equal(t, outcome.Refused, outcome.Of(err))
	require.Equal(t, infra.Refused, applied.Result)
	require.Len(t, applied.NotReached, 1)
	put(t, http.MethodDelete, endpoint+"/state/platform.tfstate.tflock", nil)

	// Without other settings, the backend's come from the binding.
	tr.Backend = terraform.Backend{}
	tr.mustApply(t)
	_, err = tr.apply(t)
	require.ErrorContains(t, err, "perhaps because this plan was already applied")
	require.Equal(t, outcome.Refused, outcome.Of(err))
}
