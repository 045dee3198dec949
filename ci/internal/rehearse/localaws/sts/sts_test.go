package sts_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	localsts "github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/sts"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func token(t *testing.T, claims map[string]any) *string {
	t.Helper()
	raw, err := json.Marshal(claims)
	require.NoError(t, err)
	return aws.String("e30." + base64.RawURLEncoding.EncodeToString(raw) + ".c2ln")
}

// with returns an option to sign a call with other credentials.
func with(c *ststypes.Credentials) func(*sts.Options) {
	return func(o *sts.Options) {
		o.Credentials = credentials.NewStaticCredentialsProvider(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)
	}
}

var role = aws.String("arn:aws:iam::000000000000:role/ci/deploy")

func TestWebIdentity(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	out, err := p.STS.AssumeRoleWithWebIdentity(t.Context(), &sts.AssumeRoleWithWebIdentityInput{
		RoleArn: role, RoleSessionName: aws.String("run-1"),
		WebIdentityToken: token(t, map[string]any{"iss": "https://token.actions.githubusercontent.com", "sub": "repo:o/r:ref:refs/heads/main", "aud": "sts.amazonaws.com", "exp": time.Now().Add(time.Minute).Unix()}),
	})
	require.NoError(t, err)
	require.Equal(t, "repo:o/r:ref:refs/heads/main", *out.SubjectFromWebIdentityToken)
	require.Equal(t, "sts.amazonaws.com", *out.Audience)
	require.Equal(t, "arn:aws:iam::000000000000:oidc-provider/token.actions.githubusercontent.com", *out.Provider)
	require.WithinDuration(t, time.Now().Add(time.Hour), *out.Credentials.Expiration, time.Minute)
	who, err := p.STS.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}, with(out.Credentials))
	require.NoError(t, err)
	require.Equal(t, "arn:aws:sts::000000000000:assumed-role/deploy/run-1", *who.Arn)
	calls := p.Server.Calls()
	require.Equal(t, []string{*role}, calls[0].Resources)
}

// TestIdentityOfAJob is a job of GitHub Actions whose issuer is the embedded AWS.
func TestIdentityOfAJob(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	o := awsauth.Options{Role: *role, Run: "7", Endpoint: p.Server.Endpoint(), TokenURL: p.Server.Endpoint() + localsts.IdentityPath + "?v=1", Token: "any"}
	config, err := awsauth.Load(t.Context(), o)
	require.NoError(t, err)
	_, err = config.Credentials.Retrieve(t.Context())
	require.NoError(t, err)
	last := p.Server.Calls()[0]
	require.Equal(t, "AssumeRoleWithWebIdentity", last.Action)
	require.Empty(t, last.Err)

	answer, err := http.Get(p.Server.Endpoint() + localsts.IdentityPath)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusUnauthorized, answer.StatusCode)
}

func TestAssumeRole(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	who, err := p.STS.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	require.NoError(t, err)
	require.Equal(t, "arn:aws:iam::000000000000:user/local", *who.Arn)
	require.Equal(t, "000000000000", *who.Account)
	out, err := p.STS.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: role, RoleSessionName: aws.String("s"), DurationSeconds: aws.Int32(900)})
	require.NoError(t, err)
	require.Equal(t, "arn:aws:sts::000000000000:assumed-role/deploy/s", *out.AssumedRoleUser.Arn)
}

func TestRefusals(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	good := token(t, map[string]any{"sub": "x", "aud": []string{"a", "b"}})
	tests := map[string]struct {
		in   sts.AssumeRoleWithWebIdentityInput
		code string
	}{
		"expired":           {sts.AssumeRoleWithWebIdentityInput{RoleArn: role, WebIdentityToken: token(t, map[string]any{"exp": 1})}, "ExpiredTokenException"},
		"no JWT":            {sts.AssumeRoleWithWebIdentityInput{RoleArn: role, WebIdentityToken: aws.String("a.b")}, "it is not a JSON Web Token"},
		"no base64":         {sts.AssumeRoleWithWebIdentityInput{RoleArn: role, WebIdentityToken: aws.String("a.?.c")}, "its claims are not in base64"},
		"no claims":         {sts.AssumeRoleWithWebIdentityInput{RoleArn: role, WebIdentityToken: aws.String("a.Yg.c")}, "its claims are not in JSON"},
		"invalid claims":    {sts.AssumeRoleWithWebIdentityInput{RoleArn: role, WebIdentityToken: token(t, map[string]any{"aud": 7})}, "InvalidIdentityToken"},
		"no role":           {sts.AssumeRoleWithWebIdentityInput{RoleArn: aws.String("arn:aws:iam::000000000000:user/x"), WebIdentityToken: good}, "ValidationError"},
		"too short":         {sts.AssumeRoleWithWebIdentityInput{RoleArn: role, WebIdentityToken: good, DurationSeconds: aws.Int32(60)}, "between 900 and 43200"},
		"several audiences": {sts.AssumeRoleWithWebIdentityInput{RoleArn: role, WebIdentityToken: good}, ""},
		"no audience":       {sts.AssumeRoleWithWebIdentityInput{RoleArn: role, WebIdentityToken: token(t, map[string]any{"sub": "x"})}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.in.RoleSessionName = aws.String("s")
			_, err := p.STS.AssumeRoleWithWebIdentity(t.Context(), &test.in)
			if test.code == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.code)
		})
	}
}
