package awsauth

import (
	"cmp"
	"context"
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

const (
	// sessionDuration is the duration of a role's session: the default maximum of a
	// role.
	// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
	sessionDuration = time.Hour
	// renewBefore is how long before its expiry a session is renewed.
	renewBefore = 5 * time.Minute
	// renewTimeout limits one renewal: the OIDC token and the session.
	renewTimeout = time.Minute
	// renewRetry is the interval between attempts to renew while the session is
	// still valid.
	renewRetry = 30 * time.Second
)

// permissionHint is how to allow a GitHub Actions job to request its OIDC token.
// https://docs.github.com/en/actions/how-tos/secure-your-work/security-harden-deployments/oidc-in-aws
const permissionHint = "add `permissions: id-token: write` (and `contents: read`) to the job"

// roleARN matches the ARN of a role.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
var roleARN = regexp.MustCompile(`^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$`)

// identity returns credentials from the job's OIDC token, or nil if it is not to be
// used. noOther means that no other credentials exist. Incomplete settings are a
// usage error that names the missing one.
func (o Options) identity(cfg aws.Config, noOther bool) (aws.CredentialsProvider, error) {
	role := o.role()
	tokenURL := cmp.Or(o.TokenURL, os.Getenv("ACTIONS_ID_TOKEN_REQUEST_URL"))
	token := cmp.Or(o.Token, os.Getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN"))
	inActions := os.Getenv("GITHUB_ACTIONS") == "true"
	switch {
	case role == "" && tokenURL == "" && token == "":
		return nil, nil // not configured
	case tokenURL == "" && token == "" && !o.JobRole && (!inActions || !noOther):
		return nil, nil // the role is meant for another program
	case role == "" && !noOther:
		return nil, nil // the permission is for another program
	case role == "":
		return nil, outcome.Usagef("no AWS credentials: the job can request an OIDC token, but no role to assume is set: set SLIPWAY_ROLE_ARN (or AWS_ROLE_ARN, in Dagger --aws-role) to the role's ARN")
	case !roleARN.MatchString(role):
		return nil, outcome.Usagef("%s is not a role ARN: want one such as arn:aws:iam::123456789012:role/slipway-deploy", o.roleSource())
	case tokenURL == "" && token == "":
		return nil, outcome.Usagef("no AWS credentials: %s cannot be assumed without the job's OIDC token, and ACTIONS_ID_TOKEN_REQUEST_URL is not set: %s", role, permissionHint)
	case tokenURL == "":
		return nil, outcome.Usagef("no AWS credentials: ACTIONS_ID_TOKEN_REQUEST_TOKEN is set and ACTIONS_ID_TOKEN_REQUEST_URL is not: pass both on, and %s", permissionHint)
	case token == "":
		return nil, outcome.Usagef("no AWS credentials: ACTIONS_ID_TOKEN_REQUEST_URL is set and ACTIONS_ID_TOKEN_REQUEST_TOKEN is not: pass both on, and %s", permissionHint)
	}
	address, err := parseTokenURL(tokenURL)
	if err != nil {
		return nil, err
	}
	return &webIdentity{
		role: role, session: sessionName(cmp.Or(o.Run, os.Getenv("GITHUB_RUN_ID"))), sts: sts.NewFromConfig(cfg), clock: clock.Real{},
		tokens: &tokenSource{url: address, token: token, http: cfg.HTTPClient, clock: clock.Real{}},
	}, nil
}

// roleSource returns where the role comes from. Its value is not shown, because it
// may be a key by mistake.
func (o Options) roleSource() string {
	switch {
	case o.Role != "":
		return "the given role"
	case os.Getenv("SLIPWAY_ROLE_ARN") != "":
		return "SLIPWAY_ROLE_ARN"
	default:
		return "AWS_ROLE_ARN"
	}
}

// parseTokenURL parses the token URL. It must be HTTPS unless its host is this
// machine, because the request contains a token.
func parseTokenURL(address string) (*url.URL, error) {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" {
		return nil, outcome.Usagef("ACTIONS_ID_TOKEN_REQUEST_URL is not a URL: pass the runner's value unchanged")
	}
	local := parsed.Hostname() == "localhost" || net.ParseIP(parsed.Hostname()).IsLoopback()
	if parsed.Scheme != "https" && (parsed.Scheme != "http" || !local) {
		return nil, outcome.Usagef("ACTIONS_ID_TOKEN_REQUEST_URL must be an https URL: pass the runner's value unchanged")
	}
	return parsed, nil
}

// sessionName returns the role session name in CloudTrail, which has the workflow
// run's ID.
func sessionName(run string) string {
	if !regexp.MustCompile(`^\d{1,40}$`).MatchString(run) {
		return appID
	}
	return appID + "-" + run
}

// stsAPI is the part of the STS API that is used.
type stsAPI interface {
	AssumeRoleWithWebIdentity(context.Context, *sts.AssumeRoleWithWebIdentityInput, ...func(*sts.Options)) (*sts.AssumeRoleWithWebIdentityOutput, error)
}

// sleeper is a clock that can sleep.
type sleeper interface {
	Now() time.Time
	Sleep(ctx context.Context, d time.Duration) error
}

// webIdentity is a credentials provider that assumes a role with the job's OIDC
// token. It is not safe for concurrent use: aws.CredentialsCache serialises the
// calls.
type webIdentity struct {
	role, session string
	tokens        *tokenSource
	sts           stsAPI
	clock         sleeper
	expires       time.Time // expiry of the current session
}

// Retrieve implements aws.CredentialsProvider. The credentials expire before the
// session does, so that they are renewed in time.
func (w *webIdentity) Retrieve(ctx context.Context) (aws.Credentials, error) {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	token, err := w.tokens.fetch(ctx)
	if err != nil {
		return aws.Credentials{}, err
	}
	out, err := w.sts.AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{
		RoleArn: &w.role, RoleSessionName: &w.session, WebIdentityToken: &token,
		DurationSeconds: aws.Int32(int32(sessionDuration / time.Second)),
	}, func(o *sts.Options) {
		// AWS could not fetch GitHub's keys: the next attempt may succeed.
		o.Retryer = retry.AddWithErrorCodes(o.Retryer, "IDPCommunicationError", "InvalidIdentityToken")
	})
	if err != nil {
		return aws.Credentials{}, redactSecrets(w.explain(err), token, w.tokens.token)
	}
	if out.Credentials == nil {
		return aws.Credentials{}, explained(outcome.Failed, nil, "assuming %s: AWS returned no credentials", w.role)
	}
	w.expires = aws.ToTime(out.Credentials.Expiration)
	return aws.Credentials{
		AccessKeyID: aws.ToString(out.Credentials.AccessKeyId), SecretAccessKey: aws.ToString(out.Credentials.SecretAccessKey),
		SessionToken: aws.ToString(out.Credentials.SessionToken), AccountID: strings.Split(w.role, ":")[4],
		Source: "GitHub OIDC", CanExpire: true, Expires: w.expires.Add(-renewBefore),
	}, nil
}

// HandleFailToRefresh keeps a session that is still valid: a short outage of GitHub
// or AWS must not fail a running release.
func (w *webIdentity) HandleFailToRefresh(_ context.Context, current aws.Credentials, err error) (aws.Credentials, error) {
	now := w.clock.Now()
	if !current.HasKeys() || !now.Before(w.expires) {
		return aws.Credentials{}, err
	}
	current.Expires = now.Add(min(renewRetry, w.expires.Sub(now)))
	return current, nil
}
