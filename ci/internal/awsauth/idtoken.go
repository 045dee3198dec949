package awsauth

import (
	"context"
	"os"

	"dagger/slipway/internal/clock"
)

// CanRequestIDToken tells whether the job may ask GitHub for its identity.
// https://docs.github.com/en/actions/reference/security/oidc
func CanRequestIDToken() bool {
	return os.Getenv("ACTIONS_ID_TOKEN_REQUEST_URL") != "" && os.Getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN") != ""
}

// RequestIDToken asks GitHub for a job's identity, a JWT, for somebody other than AWS, with
// the job's permission. It is good for minutes. No error repeats a token.
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
