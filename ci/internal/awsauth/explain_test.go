package awsauth_test

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/smithy-go/middleware"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// describe calls ECS at an endpoint.
func describe(t *testing.T, endpoint string) error {
	t.Helper()
	cfg, err := awsauth.Load(t.Context(), awsauth.Options{Endpoint: endpoint})
	require.NoError(t, err)
	_, err = ecs.NewFromConfig(cfg).DescribeServices(t.Context(), &ecs.DescribeServicesInput{Services: []string{"s"}})
	require.Error(t, err)
	return fmt.Errorf("reading service s: %w", err)
}

var keys = map[string]string{"AWS_ACCESS_KEY_ID": plantedKey, "AWS_SECRET_ACCESS_KEY": plantedToken, "AWS_SESSION_TOKEN": plantedJWT}

func TestExplainAnswers(t *testing.T) {
	const who = "arn:aws:sts::123456789012:assumed-role/deploy/slipway-42"
	tests := map[string]struct {
		code, message string
		outcome       outcome.Code
		want          string
	}{
		"expired":     {"ExpiredTokenException", "expired " + plantedJWT, outcome.Usage, "reading service s: the AWS credentials have expired (ecs:DescribeServices returned ExpiredTokenException): renew them (aws sso login, or rerun the job)"},
		"unknown":     {"UnrecognizedClientException", plantedKey, outcome.Usage, "reading service s: AWS does not know these credentials"},
		"unknown too": {"InvalidClientTokenId", plantedKey, outcome.Usage, "reading service s: AWS does not know these credentials"},
		"signature":   {"InvalidSignatureException", plantedToken, outcome.Usage, "the secret access key does not belong to the access key, or this machine's clock is wrong"},
		"denied": {
			"AccessDeniedException", "User: " + who + " is not authorized to perform: ecs:DescribeServices on resource: arn:aws:ecs:x:1:service/s because no identity-based policy allows the ecs:DescribeServices action", outcome.Failed,
			"reading service s: AWS denies ecs:DescribeServices on arn:aws:ecs:x:1:service/s to " + who + " (because no identity-based policy allows the ecs:DescribeServices action): allow it in the policy",
		},
		"denied without a resource": {"AccessDeniedException", "User: " + who + " is not authorized to perform: iam:PassRole", outcome.Failed, "AWS denies iam:PassRole to " + who + ": allow it"},
		"denied without a sentence": {"AccessDeniedException", plantedJWT, outcome.Failed, "reading service s: AWS denies ecs:DescribeServices: allow it"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/x-amz-json-1.1")
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprintf(w, `{"__type":%q,"message":%q}`, tt.code, tt.message)
			}))
			defer server.Close()
			clean(t, keys)
			raw := describe(t, server.URL)
			err := awsauth.Explain(raw)
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, tt.outcome, outcome.Of(err))
			require.Equal(t, tt.outcome == outcome.Failed, awsauth.IsAccessDenied(err))
			requireNoSecrets(t, err)
			require.EqualError(t, awsauth.Explain(fmt.Errorf("deploying: %w", err)), "deploying: "+err.Error(), "once is enough")

			coded := awsauth.Explain(outcome.With(outcome.Restored, raw))
			require.EqualError(t, coded, err.Error())
			require.Equal(t, outcome.Restored, outcome.Of(coded), "the release's own code stays")
		})
	}
}

func TestExplainUnknownErrors(t *testing.T) {
	clean(t, keys)
	require.NoError(t, awsauth.Explain(nil))
	other := errors.New("cluster not found")
	require.Equal(t, other, awsauth.Explain(other))
	cancelled := fmt.Errorf("reading: %w", context.Canceled)
	require.Equal(t, cancelled, awsauth.Explain(cancelled))
	require.False(t, awsauth.IsAccessDenied(other))

	joined := awsauth.Explain(errors.Join(other, describe(t, "http://127.0.0.1:1")))
	require.ErrorIs(t, joined, other)
	require.ErrorContains(t, joined, "cluster not found\nreading service s: http://127.0.0.1:1 cannot be reached")

	again := awsauth.Explain(errors.Join(other, errors.Join(describe(t, "http://127.0.0.1:1"), other), fmt.Errorf("listing deployments: %w", describe(t, "http://127.0.0.1:1"))))
	require.Equal(t, 1, strings.Count(again.Error(), "cannot be reached"), "said once: %v", again)
	require.Equal(t, 1, strings.Count(again.Error(), "cluster not found"))
	require.ErrorIs(t, again, other)

	registry := errors.New("HEAD https://r/v2/: 403 Forbidden: User: me is not authorized to perform: ecr:BatchGetImage on resource: r with an explicit deny in a service control policy")
	require.EqualError(t, awsauth.Explain(registry), "AWS denies ecr:BatchGetImage on r to me (with an explicit deny in a service control policy): allow it in the policy")
}

func TestExplainEndpoints(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	tests := map[string]struct {
		endpoint string
		want     string
	}{
		"connection refused": {"http://127.0.0.1:1", "http://127.0.0.1:1 cannot be reached (connect: connection refused): check that the endpoint of AWS_ENDPOINT_URL or the profile's endpoint_url is correct and running"},
		"no such host":       {"https://ecs.nowhere.invalid", "https://ecs.nowhere.invalid cannot be reached ("},
		"a certificate":      {secure.URL, "its certificate is not trusted: x509: certificate signed by unknown authority; set AWS_CA_BUNDLE"},
		"a region misspelt":  {"http://ecs.us-east-11.amazonaws.com:1", "check the region (AWS_REGION, --region, in Dagger --aws-region) and the network"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			clean(t, keys)
			if name == "a region misspelt" {
				t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // asks no name server
			}
			err := awsauth.Explain(describe(t, tt.endpoint))
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, outcome.Failed, outcome.Of(err))
			requireNoSecrets(t, err)
		})
	}
}

// TestTruncatedResponse: the connection ends in the middle of a response.
func TestTruncatedResponse(t *testing.T) {
	const answer = `{"services":[{"serviceName":"s"}],"failures":[]}`
	var calls atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		if calls.Add(1) == 1 {
			_, _ = io.WriteString(w, answer[:20])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	clean(t, keys)
	t.Setenv("AWS_MAX_ATTEMPTS", "2")
	cfg, err := awsauth.Load(t.Context(), awsauth.Options{Endpoint: server.URL})
	require.NoError(t, err)
	out, err := ecs.NewFromConfig(cfg).DescribeServices(t.Context(), &ecs.DescribeServicesInput{Services: []string{"s"}})
	require.NoError(t, err, "it is asked again")
	require.Len(t, out.Services, 1)
	require.EqualValues(t, 2, calls.Load())
}

func TestExplainTimeout(t *testing.T) {
	clean(t, keys)
	cfg, err := awsauth.Load(t.Context(), awsauth.Options{Endpoint: "http://127.0.0.1:1"})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	_, err = ecs.NewFromConfig(cfg).DescribeServices(ctx, &ecs.DescribeServicesInput{Services: []string{"s"}})
	err = awsauth.Explain(fmt.Errorf("reading service s: %w", err))
	require.EqualError(t, err, "reading service s: AWS did not respond in time (ecs:DescribeServices): check the network, and AWS_ENDPOINT_URL or the profile's endpoint_url")
	require.Equal(t, outcome.Failed, outcome.Of(err))

	deadline, bounded := time.Time{}, false
	cfg.APIOptions = append(cfg.APIOptions, func(stack *middleware.Stack) error {
		return stack.Finalize.Add(middleware.FinalizeMiddlewareFunc("look", func(ctx context.Context, _ middleware.FinalizeInput, _ middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
			deadline, bounded = ctx.Deadline()
			return middleware.FinalizeOutput{}, middleware.Metadata{}, errors.New("seen")
		}), middleware.Before)
	})
	_, err = ecs.NewFromConfig(cfg).DescribeServices(t.Context(), &ecs.DescribeServicesInput{Services: []string{"s"}})
	require.ErrorContains(t, err, "seen")
	require.True(t, bounded, "a call ends by itself, with all its attempts")
	require.LessOrEqual(t, time.Until(deadline), time.Minute)

	other := fmt.Errorf("the release: %w", context.DeadlineExceeded)
	require.Equal(t, other, awsauth.Explain(other), "it was not AWS that was late")
}

func TestExplainSources(t *testing.T) {
	const sso = "[profile work]\nsso_session = corp\nsso_account_id = 1\nsso_role_name = r\n[sso-session corp]\nsso_region = us-east-1\nsso_start_url = https://corp.awsapps.com/start\n"
	const legacy = "[profile work]\nsso_region = us-east-1\nsso_start_url = https://corp.awsapps.com/start\nsso_account_id = 1\nsso_role_name = r\n"
	tests := map[string]struct {
		config string
		env    map[string]string
		want   string
	}{
		"nothing":          {want: "reading service s: no AWS credentials: set AWS_PROFILE to a profile"},
		"SSO never opened": {config: sso, env: map[string]string{"AWS_PROFILE": "work"}, want: "reading service s: the AWS SSO session of profile work has expired or does not exist: aws sso login --profile work"},
		"legacy SSO":       {config: legacy, env: map[string]string{"AWS_PROFILE": "work"}, want: "the AWS SSO session of profile work has expired"},
		"login":            {config: "[default]\nlogin_session = arn:aws:sts::1:x\n", want: "the AWS login of profile default has expired: aws login"},
		"a process that leaks": {
			config: "[default]\ncredential_process = echo " + plantedKey + "\n", want: "reading service s: the credential_process of profile default gives no credentials: run it by hand",
		},
		"no file":          {env: map[string]string{"AWS_WEB_IDENTITY_TOKEN_FILE": "/nope", "AWS_ROLE_ARN": role}, want: "the source of the AWS credentials returned none: test it"},
		"no container":     {env: map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/"}, want: "http://127.0.0.1:1 cannot be reached"},
		"a role's session": {config: "[default]\naws_access_key_id=x\naws_secret_access_key=y\n[profile work]\nrole_arn=arn:aws:iam::1:user/x\nsource_profile=default\n", env: map[string]string{"AWS_PROFILE": "work"}, want: "returned none (sts:AssumeRole returned ValidationError)"},
	}
	p := localawstest.Start(t, localaws.Options{})
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			clean(t, tt.env)
			awsFiles(t, tt.config)
			err := awsauth.Explain(describe(t, p.Server.Endpoint()))
			require.ErrorContains(t, err, tt.want)
			requireNoSecrets(t, err)
		})
	}
	for session, config := range map[string]string{"corp": sso, "https://corp.awsapps.com/start": legacy} {
		t.Run("expired "+session, func(t *testing.T) {
			clean(t, map[string]string{"AWS_PROFILE": "work"})
			awsFiles(t, config)
			cache := filepath.Join(os.Getenv("HOME"), ".aws", "sso", "cache")
			require.NoError(t, os.MkdirAll(cache, 0o700))
			file := filepath.Join(cache, fmt.Sprintf("%x.json", sha1.Sum([]byte(session))))
			require.NoError(t, os.WriteFile(file, []byte(`{"accessToken":"`+plantedToken+`","expiresAt":"2020-01-02T03:04:05Z"}`), 0o600))
			requireUsage(t, awsauth.Explain(describe(t, p.Server.Endpoint())), "has expired or does not exist: aws sso login --profile work")
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		clean(t, nil)
		cfg, err := awsauth.Load(t.Context(), awsauth.Options{})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = cfg.Credentials.Retrieve(ctx)
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestExplainExpiredSession(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	p.Server.Inject(localaws.Fault{Kind: localaws.ExpiredToken})
	clean(t, keys)
	cfg, err := awsauth.Load(t.Context(), awsauth.Options{Endpoint: p.Server.Endpoint()})
	require.NoError(t, err)
	_, err = elb.NewFromConfig(cfg).DescribeLoadBalancers(t.Context(), &elb.DescribeLoadBalancersInput{Names: []string{"x"}})
	requireUsage(t, awsauth.Explain(err), "the AWS credentials have expired (elasticloadbalancing:DescribeLoadBalancers returned ExpiredToken)")
}

func TestProviderSources(t *testing.T) {
	clean(t, keys)
	cfg, err := awsauth.Load(t.Context(), awsauth.Options{})
	require.NoError(t, err)
	require.Equal(t, []aws.CredentialSource{aws.CredentialSourceEnvVars}, cfg.Credentials.(aws.CredentialProviderSource).ProviderSources())
	require.False(t, aws.IsCredentialsProvider(cfg.Credentials, aws.AnonymousCredentials{}))
}
