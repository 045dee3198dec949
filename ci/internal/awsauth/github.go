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

	"dagger/slipway/internal/clock"
	"dagger/slipway/internal/report/outcome"
)

const (
	// sessionDuration is how long a session of the role lasts: what every role
	// allows unless it was told otherwise.
	// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
	sessionDuration = time.Hour
	// renewBefore is how long before its end a session is renewed.
	renewBefore = 5 * time.Minute
	// renewTimeout bounds one renewal: the identity token and the session.
	renewTimeout = time.Minute
	// renewRetry is when a renewal that failed is tried again while the session
	// is still good.
	renewRetry = 30 * time.Second
)

// permissionHint is what a job of GitHub Actions lacks that may not ask for its identity.
// https://docs.github.com/en/actions/how-tos/secure-your-work/security-harden-deployments/oidc-in-aws
const permissionHint = "add `permissions: id-token: write` (and `contents: read`) to the job"

// roleARN is the shape of a role's ARN.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
var roleARN = regexp.MustCompile(`^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$`)

// identity is the job's own identity as credentials, or nil where it is not to
// be used. bare tells that there are no other credentials. What is half there
// is a usage error that names the missing half.
func (o Options) identity(cfg aws.Config, noOther bool) (aws.CredentialsProvider, error) {
	role := o.role()
	tokenURL := cmp.Or(o.TokenURL, os.Getenv("ACTIONS_ID_TOKEN_REQUEST_URL"))
	token := cmp.Or(o.Token, os.Getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN"))
	inActions := os.Getenv("GITHUB_ACTIONS") == "true"
	switch {
	case role == "" && tokenURL == "" && token == "":
		return nil, nil // neither an identity nor a mistake
	case tokenURL == "" && token == "" && (!inActions || !noOther):
		return nil, nil // the role is for another program, or for another time
	case role == "" && !noOther:
		return nil, nil // the permission is for another program
	case role == "":
		return nil, outcome.Usagef("no AWS credentials: the job may ask GitHub for its identity, but no role to assume with it is named: set SLIPWAY_ROLE_ARN (or AWS_ROLE_ARN, or --role) to the role's ARN")
	case !roleARN.MatchString(role):
		return nil, outcome.Usagef("%s is not the ARN of a role: it must be like arn:aws:iam::123456789012:role/slipway-deploy", o.roleSource())
	case tokenURL == "" && token == "":
		return nil, outcome.Usagef("no AWS credentials: %s may not be assumed without the job's identity, and ACTIONS_ID_TOKEN_REQUEST_URL is missing: %s", role, permissionHint)
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

// roleSource is where the role comes from. Its value is not repeated: somebody
// may have put a key there.
func (o Options) roleSource() string {
	switch {
	case o.Role != "":
		return "the role that was given"
	case os.Getenv("SLIPWAY_ROLE_ARN") != "":
		return "SLIPWAY_ROLE_ARN"
	default:
		return "AWS_ROLE_ARN"
	}
}

// parseTokenURL takes no address to which the token would travel unencrypted,
// other than one on this machine.
func parseTokenURL(address string) (*url.URL, error) {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" {
		return nil, outcome.Usagef("ACTIONS_ID_TOKEN_REQUEST_URL is not a URL: pass on the runner's, unchanged")
	}
	local := parsed.Hostname() == "localhost" || net.ParseIP(parsed.Hostname()).IsLoopback()
	if parsed.Scheme != "https" && (parsed.Scheme != "http" || !local) {
		return nil, outcome.Usagef("ACTIONS_ID_TOKEN_REQUEST_URL must be an https URL: pass on the runner's, unchanged")
	}
	return parsed, nil
}

// sessionName is what CloudTrail shows of who acted: the run of the workflow.
func sessionName(run string) string {
	if !regexp.MustCompile(`^\d{1,40}$`).MatchString(run) {
		return appID
	}
	return appID + "-" + run
}

// stsAPI is what a [webIdentity] asks of AWS.
type stsAPI interface {
	AssumeRoleWithWebIdentity(context.Context, *sts.AssumeRoleWithWebIdentityInput, ...func(*sts.Options)) (*sts.AssumeRoleWithWebIdentityOutput, error)
}

// sleeper is a clock that can be waited on.
type sleeper interface {
	Now() time.Time
	Sleep(ctx context.Context, d time.Duration) error
}

// webIdentity makes a session of a role from the job's identity. It is used by
// one goroutine at a time, which aws.CredentialsCache sees to.
type webIdentity struct {
	role, session string
	tokens        *tokenSource
	sts           stsAPI
	clock         sleeper
	expires       time.Time // of the session that was made last
}

// Retrieve fits aws.CredentialsProvider. The credentials expire a while before
// the session does, so that they are renewed in time.
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
		// AWS did not reach GitHub's keys, which may be different in a second.
		o.Retryer = retry.AddWithErrorCodes(o.Retryer, "IDPCommunicationError", "InvalidIdentityToken")
	})
	if err != nil {
		return aws.Credentials{}, redactSecrets(w.explain(err), token, w.tokens.token)
	}
	if out.Credentials == nil {
		return aws.Credentials{}, explained(outcome.Failed, nil, "assuming %s: AWS answers without credentials", w.role)
	}
	w.expires = aws.ToTime(out.Credentials.Expiration)
	return aws.Credentials{
		AccessKeyID: aws.ToString(out.Credentials.AccessKeyId), SecretAccessKey: aws.ToString(out.Credentials.SecretAccessKey),
		SessionToken: aws.ToString(out.Credentials.SessionToken), AccountID: strings.Split(w.role, ":")[4],
		Source: "GitHub OIDC", CanExpire: true, Expires: w.expires.Add(-renewBefore),
	}, nil
}

// HandleFailToRefresh keeps a session that is still good: GitHub or AWS being
// away for a minute shall not break a release that is under way.
func (w *webIdentity) HandleFailToRefresh(_ context.Context, current aws.Credentials, err error) (aws.Credentials, error) {
	now := w.clock.Now()
	if !current.HasKeys() || !now.Before(w.expires) {
		return aws.Credentials{}, err
	}
	current.Expires = now.Add(min(renewRetry, w.expires.Sub(now)))
	return current, nil
}
