package awsauth_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

const role = "arn:aws:iam::000000000000:role/ci/deploy"

// jwt returns a token that expires after life.
func jwt(t *testing.T, life time.Duration) string {
	t.Helper()
	claims := fmt.Sprintf(`{"iss":"https://token.actions.githubusercontent.com","sub":"repo:o/r","aud":"sts.amazonaws.com","exp":%d}`, time.Now().Add(life).Unix())
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

// github serves OIDC tokens: one response per attempt, then the last one again. It
// checks the requests.
func github(t *testing.T, answers ...func(http.ResponseWriter)) (url string, asked *atomic.Int32) {
	t.Helper()
	asked = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(asked.Add(1))
		if r.Header.Get("Authorization") != "Bearer "+plantedToken || r.URL.Query().Get("audience") != "sts.amazonaws.com" || r.URL.Query().Get("api-version") != "2.0" {
			http.Error(w, "asked wrongly", http.StatusBadRequest)
			return
		}
		answers[min(n, len(answers))-1](w)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/idtoken?api-version=2.0", asked
}

func tokenResponse(token string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { fmt.Fprintf(w, `{"count":1,"value":%q}`, token) }
}

func statusResponse(code int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { http.Error(w, "leaks "+plantedToken, code) }
}

func TestGitHub(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	url, _ := github(t, tokenResponse(jwt(t, time.Minute)))
	actions := map[string]string{
		"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "42", "AWS_ENDPOINT_URL": p.Server.Endpoint(),
		"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": plantedToken,
	}
	tests := map[string]struct {
		env     map[string]string
		options awsauth.Options
		want    string
	}{
		"SLIPWAY_ROLE_ARN":   {map[string]string{"SLIPWAY_ROLE_ARN": role, "AWS_ROLE_ARN": "other"}, awsauth.Options{}, "assumed-role/deploy/slipway-42"},
		"AWS_ROLE_ARN":       {map[string]string{"AWS_ROLE_ARN": role, "GITHUB_RUN_ID": "x y"}, awsauth.Options{}, "assumed-role/deploy/slipway"},
		"the option":         {map[string]string{"AWS_ROLE_ARN": "other"}, awsauth.Options{Role: role}, "assumed-role/deploy/slipway-42"},
		"permission by hand": {map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": "", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": ""}, awsauth.Options{Role: role, TokenURL: url, Token: plantedToken}, "assumed-role/deploy/slipway-42"},
		"keys come first":    {map[string]string{"AWS_ROLE_ARN": role, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}, awsauth.Options{}, "user/local"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			clean(t, actions)
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			out, err := call(t, tt.options)
			require.NoError(t, err)
			require.Regexp(t, tt.want+"$", *out.Arn)
		})
	}
}

func TestIncompleteOIDCSettings(t *testing.T) {
	const url, token, in = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "GITHUB_ACTIONS"
	tests := map[string]struct {
		env  map[string]string
		want string
	}{
		"role alone":     {map[string]string{in: "true", "AWS_ROLE_ARN": role}, role + " cannot be assumed without the job's OIDC token, and ACTIONS_ID_TOKEN_REQUEST_URL is not set: add `permissions: id-token: write`"},
		"URL alone":      {map[string]string{"AWS_ROLE_ARN": role, url: "https://x"}, "ACTIONS_ID_TOKEN_REQUEST_TOKEN is not"},
		"token alone":    {map[string]string{"AWS_ROLE_ARN": role, token: plantedToken}, "ACTIONS_ID_TOKEN_REQUEST_URL is not"},
		"no role":        {map[string]string{url: "https://x", token: plantedToken}, "no role to assume is set: set SLIPWAY_ROLE_ARN"},
		"malformed role": {map[string]string{url: "https://x", token: plantedToken, "AWS_ROLE_ARN": plantedKey}, "AWS_ROLE_ARN is not a role ARN"},
		"malformed, own": {map[string]string{url: "https://x", token: plantedToken, "SLIPWAY_ROLE_ARN": "arn:aws:iam::1:role/x"}, "SLIPWAY_ROLE_ARN is not a role ARN"},
		"no URL":         {map[string]string{url: "%zz" + plantedToken, token: plantedToken, "AWS_ROLE_ARN": role}, "ACTIONS_ID_TOKEN_REQUEST_URL is not a URL"},
		"unencrypted":    {map[string]string{url: "http://example.com/", token: plantedToken, "AWS_ROLE_ARN": role}, "must be an https URL"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			clean(t, tt.env)
			_, err := awsauth.Load(t.Context(), awsauth.Options{})
			requireUsage(t, err, tt.want)
		})
	}
	t.Run("the option", func(t *testing.T) {
		clean(t, nil)
		_, err := awsauth.Load(t.Context(), awsauth.Options{Role: "deploy", TokenURL: "https://x", Token: plantedToken})
		requireUsage(t, err, "the given role is not a role ARN")
	})
	t.Run("other credentials need no role", func(t *testing.T) {
		clean(t, map[string]string{url: "https://x", token: plantedToken, "AWS_PROFILE": "a"})
		awsFiles(t, "[profile a]\naws_access_key_id=x\naws_secret_access_key=y\n")
		cfg, err := awsauth.Load(t.Context(), awsauth.Options{})
		require.NoError(t, err)
		credentials, err := cfg.Credentials.Retrieve(t.Context())
		require.NoError(t, err)
		require.Equal(t, "x", credentials.AccessKeyID)
	})
	t.Run("a role on a laptop is for another program", func(t *testing.T) {
		clean(t, map[string]string{"AWS_ROLE_ARN": role})
		_, err := call(t, awsauth.Options{})
		requireUsage(t, err, "no AWS credentials: set AWS_PROFILE")
	})
}

// fakeSTS returns the responses of a test.
type fakeSTS struct {
	answer func() (*sts.AssumeRoleWithWebIdentityOutput, error)
	input  *sts.AssumeRoleWithWebIdentityInput
	calls  int
}

func (s *fakeSTS) AssumeRoleWithWebIdentity(_ context.Context, in *sts.AssumeRoleWithWebIdentityInput, options ...func(*sts.Options)) (*sts.AssumeRoleWithWebIdentityOutput, error) {
	for _, option := range options {
		option(&sts.Options{Retryer: awsauth.NewRetryer()})
	}
	s.input = in
	s.calls++
	return s.answer()
}

func refuses(code, message string) func() (*sts.AssumeRoleWithWebIdentityOutput, error) {
	return func() (*sts.AssumeRoleWithWebIdentityOutput, error) {
		return nil, &smithy.OperationError{ServiceID: "STS", OperationName: "AssumeRoleWithWebIdentity", Err: &smithy.GenericAPIError{Code: code, Message: message}}
	}
}

func gives(ends time.Time) func() (*sts.AssumeRoleWithWebIdentityOutput, error) {
	return func() (*sts.AssumeRoleWithWebIdentityOutput, error) {
		return &sts.AssumeRoleWithWebIdentityOutput{Credentials: &types.Credentials{
			AccessKeyId: aws.String("ASIA"), SecretAccessKey: aws.String("s"), SessionToken: aws.String("t"), Expiration: &ends,
		}}, nil
	}
}

func TestRequestToken(t *testing.T) {
	ms := time.Millisecond
	tests := map[string]struct {
		answers []func(http.ResponseWriter)
		slept   []time.Duration
		code    outcome.Code
		want    string
	}{
		"at once":          {[]func(http.ResponseWriter){tokenResponse(plantedJWT)}, nil, outcome.Done, ""},
		"the third time":   {[]func(http.ResponseWriter){statusResponse(503), statusResponse(429), tokenResponse(plantedJWT)}, []time.Duration{500 * ms, 1000 * ms}, outcome.Done, ""},
		"never":            {[]func(http.ResponseWriter){statusResponse(500)}, []time.Duration{500 * ms, 1000 * ms, 2000 * ms, 4000 * ms}, outcome.Failed, "it returned 500 Internal Server Error: rerun the job"},
		"forbidden":        {[]func(http.ResponseWriter){statusResponse(403)}, nil, outcome.Usage, "it returned 403 Forbidden: add `permissions: id-token: write`"},
		"redirected":       {[]func(http.ResponseWriter){statusResponse(302)}, nil, outcome.Usage, "it returned 302 Found"},
		"no token":         {[]func(http.ResponseWriter){tokenResponse(""), tokenResponse(plantedJWT)}, []time.Duration{500 * ms}, outcome.Done, ""},
		"no JSON":          {[]func(http.ResponseWriter){func(w http.ResponseWriter) { fmt.Fprint(w, plantedToken) }, statusResponse(400)}, []time.Duration{500 * ms}, outcome.Usage, "it returned 400 Bad Request"},
		"broken off":       {[]func(http.ResponseWriter){func(w http.ResponseWriter) { w.Header().Set("Content-Length", "9"); fmt.Fprint(w, "x") }, tokenResponse(plantedJWT)}, []time.Duration{500 * ms}, outcome.Done, ""},
		"connection reset": {[]func(http.ResponseWriter){func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, tokenResponse(plantedJWT)}, []time.Duration{500 * ms}, outcome.Done, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			url, asked := github(t, tt.answers...)
			clock := &fakeClock{now: time.Now()}
			fake := &fakeSTS{answer: gives(clock.now.Add(time.Hour))}
			credentials, err := awsauth.NewWebIdentity(role, url, plantedToken, fake, clock).Retrieve(t.Context())
			require.Equal(t, tt.code, outcome.Of(err))
			require.Equal(t, tt.slept, clock.slept)
			require.Equal(t, len(tt.slept)+1, int(asked.Load()))
			if tt.want != "" {
				require.ErrorContains(t, err, tt.want)
				requireNoSecrets(t, err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, plantedJWT, *fake.input.WebIdentityToken)
			require.Equal(t, int32(3600), *fake.input.DurationSeconds)
			require.Equal(t, "slipway-1", *fake.input.RoleSessionName)
			require.Equal(t, clock.now.Add(55*time.Minute-clock.total()), credentials.Expires, "five minutes before the session ends")
			require.Equal(t, "000000000000", credentials.AccountID)
		})
	}
}

// total returns the duration of all sleeps.
func (c *fakeClock) total() (sum time.Duration) {
	for _, d := range c.slept {
		sum += d
	}
	return sum
}

func TestGitHubUnreachable(t *testing.T) {
	provider := func(clock *fakeClock) aws.CredentialsProvider {
		return awsauth.NewWebIdentity(role, "http://127.0.0.1:1/"+plantedJWT, plantedToken, &fakeSTS{}, clock)
	}
	_, err := provider(&fakeClock{}).Retrieve(t.Context())
	require.ErrorContains(t, err, "requesting the job's OIDC token from GitHub (127.0.0.1:1): connect: connection refused: rerun the job")
	require.Equal(t, outcome.Failed, outcome.Of(err))
	requireNoSecrets(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = provider(&fakeClock{}).Retrieve(ctx)
	require.Error(t, err)
}

func TestAssumeRole(t *testing.T) {
	tests := map[string]struct {
		answer func() (*sts.AssumeRoleWithWebIdentityOutput, error)
		code   outcome.Code
		want   string
	}{
		"denied":         {refuses("AccessDenied", "Not authorized "+plantedJWT), outcome.Usage, "AWS does not let this job assume " + role + ": the role's trust policy must name token.actions.githubusercontent.com"},
		"no provider":    {refuses("InvalidIdentityToken", "No OpenIDConnect provider "+plantedJWT), outcome.Usage, "(InvalidIdentityToken): the account must have the OIDC provider"},
		"expired":        {refuses("ExpiredTokenException", plantedJWT), outcome.Failed, "the job's OIDC token expired"},
		"something else": {refuses("ValidationError", plantedJWT), outcome.Failed, "AWS returned no session (sts:AssumeRoleWithWebIdentity returned ValidationError)"},
		"no session": {func() (*sts.AssumeRoleWithWebIdentityOutput, error) {
			return &sts.AssumeRoleWithWebIdentityOutput{}, nil
		}, outcome.Failed, "AWS returned no credentials"},
		"an odd failure":  {func() (*sts.AssumeRoleWithWebIdentityOutput, error) { return nil, fmt.Errorf("odd %s", plantedJWT) }, outcome.Failed, "AWS returned no session"},
		"a secret's echo": {refuses(plantedJWT, ""), outcome.Failed, "returned ***)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			url, _ := github(t, tokenResponse(plantedJWT))
			_, err := awsauth.NewWebIdentity(role, url, plantedToken, &fakeSTS{answer: tt.answer}, &fakeClock{}).Retrieve(t.Context())
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, tt.code, outcome.Of(err))
			requireNoSecrets(t, err)
		})
	}
}

func TestRenewal(t *testing.T) {
	url, _ := github(t, tokenResponse(plantedJWT))
	now := time.Now()
	fake := &fakeSTS{answer: gives(now.Add(2 * time.Minute))} // within the five minutes
	clock := &fakeClock{now: now}
	cache := aws.NewCredentialsCache(awsauth.NewWebIdentity(role, url, plantedToken, fake, clock))
	_, err := cache.Retrieve(t.Context())
	require.NoError(t, err)
	_, err = cache.Retrieve(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, fake.calls, "renewed early")

	fake.answer = refuses("InternalFailure", "")
	_, err = cache.Retrieve(t.Context())
	require.NoError(t, err, "what is held is still good")
	_, err = cache.Retrieve(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, fake.calls, "not asked again at once")

	clock.now = now.Add(3 * time.Minute)
	cache.Invalidate()
	_, err = cache.Retrieve(t.Context())
	require.ErrorContains(t, err, "AWS returned no session")
}
