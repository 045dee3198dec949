package sts

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"
)

// IdentityPath is where a job of GitHub Actions asks for its identity: with the endpoint
// before it, the value of ACTIONS_ID_TOKEN_REQUEST_URL. Any token is permission.
const IdentityPath = "/github/identity"

// ServeIdentity answers as GitHub's issuer does, for a run of a workflow on main. Nobody
// signs the identity: see the package.
// https://docs.github.com/en/actions/reference/security/oidc
func ServeIdentity(w http.ResponseWriter, r *http.Request) {
	const repository, ref = "local/local", "refs/heads/main"
	claims, err := json.Marshal(map[string]any{
		"iss": "https://token.actions.githubusercontent.com", "sub": "repo:" + repository + ":ref:" + ref,
		"aud": r.URL.Query().Get("audience"), "exp": time.Now().Add(5 * time.Minute).Unix(),
		"repository": repository, "ref": ref, "workflow_ref": repository + "/.github/workflows/ci.yml@" + ref,
		"run_id": "1", "run_attempt": "1", "event_name": "push", "runner_environment": "self-hosted",
	})
	if err != nil || r.Header.Get("Authorization") == "" {
		http.Error(w, "no permission to ask for an identity", http.StatusUnauthorized)
		return
	}
	encode := base64.RawURLEncoding.EncodeToString
	_ = json.NewEncoder(w).Encode(map[string]string{"value": encode([]byte(`{"alg":"none"}`)) + "." + encode(claims) + "." + encode([]byte("none"))})
}
