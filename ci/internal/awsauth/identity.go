package awsauth

import (
	"context"
	"os"

	"dagger/slipway/internal/clock"
	"dagger/slipway/internal/outcome"
)

// HasIdentity tells whether the job may ask GitHub for its identity.
// https://docs.github.com/en/actions/reference/security/oidc
func HasIdentity() bool {
	return os.Getenv("ACTIONS_ID_TOKEN_REQUEST_URL") != "" && os.Getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN") != ""
}

// Identity asks GitHub for the job's identity, a JWT, for somebody other than AWS.
// It is good for minutes. A job that may not ask is a usage error; no error
// repeats a token.
func Identity(ctx context.Context, audience string) (string, error) {
	if !HasIdentity() {
		return "", outcome.Usagef("the job has no identity of its own (ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN): %s", permission)
	}
	return IdentityBy(ctx, os.Getenv("ACTIONS_ID_TOKEN_REQUEST_URL"), os.Getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN"), audience)
}

// IdentityBy is Identity for a job's permission that was handed in.
func IdentityBy(ctx context.Context, tokenURL, token, audience string) (string, error) {
	address, err := parseTokenURL(tokenURL)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, renewalLimit)
	defer cancel()
	client := httpClient()
	defer client.GetTransport().CloseIdleConnections()
	source := tokenSource{url: address, token: token, audience: audience, http: client, clock: clock.Real{}}
	return source.fetch(ctx)
}
