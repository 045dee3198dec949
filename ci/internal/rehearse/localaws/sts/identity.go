package sts

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"
)

// IdentityPath is the path at which a job of GitHub Actions requests its OIDC token. The
// endpoint with this path is the value of ACTIONS_ID_TOKEN_REQUEST_URL. Any bearer token
// is accepted.
const IdentityPath = "/github/identity"

// ServeIdentity responds as GitHub's OIDC issuer does for a workflow run on main. The
// token is not signed: see the package documentation.
// https://docs.github.com/en/actions/reference/security/oidc
func ServeIdentity(w http.ResponseWriter, r *http.Request) {
	const repository, ref = "local/local", "refs/heads/main"
	claims, err := json.Marshal(map[string]any{
		"iss": "https://token.actions.githubusercontent.com", "sub": "repo:" + repository + ":ref:" + ref,
		"aud": r.URL.Query().Get("audience"), "exp": time.Now().Add(5 * time.Minute).Unix(),
		"repository": repository, "ref": ref, "workflow_ref": repository + "/.github/workflows/ci.yml@" + ref,
		"job_workflow_ref": repository + "/.github/workflows/deliver.yml@" + ref,
		"run_id":           "1", "run_attempt": "1", "event_name": "push", "runner_environment": "self-hosted",
	})
	if err != nil || r.Header.Get("Authorization") == "" {
		http.Error(w, "missing Authorization header", http.StatusUnauthorized)
		return
	}
	encode := base64.RawURLEncoding.EncodeToString
	_ = json.NewEncoder(w).Encode(map[string]string{"value": encode([]byte(`{"alg":"none"}`)) + "." + encode(claims) + "." + encode([]byte("none"))})
}
