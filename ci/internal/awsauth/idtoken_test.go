package awsauth_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func TestRequestIDToken(t *testing.T) {
	github := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+plantedToken {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, `{"value": "identity for %s"}`, r.URL.Query().Get("audience"))
	}))
	defer github.Close()
	clean(t, map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": github.URL + "?api-version=2", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": plantedToken})
	require.True(t, awsauth.CanRequestIDToken())
	token, err := awsauth.RequestIDToken(t.Context(), github.URL+"?api-version=2", plantedToken, "sigstore")
	require.NoError(t, err)
	require.Equal(t, "identity for sigstore", token)

	tests := map[string]struct{ url, token, want string }{
		"not encrypted": {"http://example.com", plantedToken, "must be an https URL"},
		"not permitted": {github.URL, plantedToken + "-of-another-job", "it returned 403 Forbidden"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := awsauth.RequestIDToken(t.Context(), tt.url, tt.token, "sigstore")
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), plantedToken)
			require.Equal(t, outcome.Usage, outcome.Of(err))
		})
	}
}
