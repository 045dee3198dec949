package awsauth_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func TestCaller(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	clean(t, map[string]string{"AWS_ENDPOINT_URL": p.Server.Endpoint(), "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"})
	caller := awsauth.Caller{Options: awsauth.Options{Region: "eu-west-1"}}

	account, region, err := caller.Identity(t.Context())
	require.NoError(t, err)
	require.Equal(t, "000000000000", account)
	require.Equal(t, "eu-west-1", region)
	env, err := caller.Environment(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]string{"AWS_REGION": "eu-west-1"}, env, "the tool finds the rest by itself")
	env, err = awsauth.Caller{}.Environment(t.Context())
	require.NoError(t, err)
	require.Empty(t, env)

	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	_, _, err = caller.Identity(t.Context())
	require.ErrorContains(t, err, "127.0.0.1:1")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	_, _, err = caller.Identity(t.Context())
	require.Equal(t, outcome.Usage, outcome.Of(err))
	_, err = caller.Environment(t.Context())
	require.Equal(t, outcome.Usage, outcome.Of(err))
}

func TestGetCallerIdentity(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	clean(t, map[string]string{"AWS_ENDPOINT_URL": p.Server.Endpoint(), "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"})
	who, err := awsauth.Caller{}.GetCallerIdentity(t.Context())
	require.NoError(t, err)
	require.Equal(t, "000000000000", who.Account)
	require.Contains(t, who.ARN, "arn:aws:")
	require.Equal(t, p.Server.Endpoint(), who.Endpoint)
	require.Zero(t, who.Expires, "keys do not")

	_, err = awsauth.Caller{Options: awsauth.Options{Endpoint: "http://127.0.0.1:1"}, NoRetry: true}.GetCallerIdentity(t.Context())
	require.ErrorContains(t, err, "http://127.0.0.1:1 cannot be reached (connect: connection refused)")

	ends := time.Now().Add(time.Hour).Truncate(time.Second)
	handedIn := `{"Version": 1, "AccessKeyId": "any", "SecretAccessKey": "any", "SessionToken": "any", "Expiration": "` + ends.UTC().Format(time.RFC3339) + `"}`
	who, err = awsauth.Caller{Options: awsauth.Options{CredentialsJSON: handedIn}}.GetCallerIdentity(t.Context())
	require.NoError(t, err)
	require.True(t, ends.Equal(who.Expires), who.Expires)
	env, err := awsauth.Caller{Options: awsauth.Options{CredentialsJSON: handedIn, Endpoint: p.Server.Endpoint()}}.Environment(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_SESSION_TOKEN": "any", "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": p.Server.Endpoint(),
	}, env)
}

func TestJobEnvironment(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	url, _ := github(t, tokenResponse(jwt(t, time.Minute)))
	clean(t, map[string]string{
		"AWS_ENDPOINT_URL": p.Server.Endpoint(), "AWS_ROLE_ARN": role, "GITHUB_ACTIONS": "true",
		"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": plantedToken,
	})
	env, err := awsauth.Caller{}.Environment(t.Context())
	require.NoError(t, err)
	require.Equal(t, "us-east-1", env["AWS_REGION"])
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} {
		require.NotEmpty(t, env[name])
	}

	t.Setenv("ACTIONS_ID_TOKEN_REQUEST_URL", "http://127.0.0.1:1/idtoken")
	_, err = awsauth.Caller{}.Environment(t.Context())
	require.Error(t, err)
	require.NotContains(t, err.Error(), plantedToken)
}
