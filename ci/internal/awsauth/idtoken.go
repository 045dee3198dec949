package awsauth

import (
	"context"
	"os"

	"github.com/slipway-cd/slipway/ci/internal/clock"
)

// CanRequestIDToken reports whether the job is allowed to request an OIDC token.
// https://docs.github.com/en/actions/reference/security/oidc
func CanRequestIDToken() bool {
	return os.Getenv("ACTIONS_ID_TOKEN_REQUEST_URL") != "" && os.Getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN") != ""
}

// RequestIDToken requests a job's OIDC token, a JWT, for an audience other than
// AWS. It is valid for minutes. No error contains a token.
func RequestIDToken(ctx context.Context, tokenURL, token, audience string) (string, error) {
	address, err := parseTokenURL(tokenURL)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	client := httpClient()
	defer client.GetTransport().CloseIdleConnections()
	source := tokenSource{url: address, token: token, audience: audience, http: client, clock: clock.Real{}}
	return source.fetch(ctx)
}
