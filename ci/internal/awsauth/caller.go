package awsauth

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// callerDeadline limits GetCallerIdentity, including retries.
const callerDeadline = 30 * time.Second

// Caller finds the account of credentials.
type Caller struct {
	Options Options
	// NoRetry disables retries, to report a problem instead of waiting.
	NoRetry bool
}

// Identity returns the account and the region of the credentials. It needs no
// permission.
func (c Caller) Identity(ctx context.Context) (account, region string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callerDeadline)
	defer cancel()
	caller, err := c.GetCallerIdentity(ctx)
	return caller.Account, caller.Region, err
}

// CallerIdentity describes credentials.
type CallerIdentity struct {
	Account, ARN, Region string
	// Endpoint is the endpoint that responded, if it is not the default one.
	Endpoint string
	// Expires is when the credentials expire; zero if they do not.
	Expires time.Time
}

// GetCallerIdentity returns the account and ARN of the credentials. It needs no
// permission.
func (c Caller) GetCallerIdentity(ctx context.Context) (CallerIdentity, error) {
	cfg, err := Load(ctx, c.Options)
	if err != nil {
		return CallerIdentity{}, err
	}
	if c.NoRetry {
		cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	}
	out, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return CallerIdentity{}, Explain(err)
	}
	caller := CallerIdentity{Account: aws.ToString(out.Account), ARN: aws.ToString(out.Arn), Region: cfg.Region, Endpoint: aws.ToString(cfg.BaseEndpoint)}
	if credentials, err := cfg.Credentials.Retrieve(ctx); err == nil && credentials.CanExpire { // cached: no further request
		caller.Expires = credentials.Expires
	}
	return caller, nil
}

// Environment returns the environment variables for a tool that reads AWS's
// variables but supports neither a job's OIDC token nor given credentials: a
// session, the region, the endpoint. It is empty if the tool finds the same by
// itself. The tool's session is not renewed: that of a job's role expires after an
// hour.
func (c Caller) Environment(ctx context.Context) (map[string]string, error) {
	cfg, err := Load(ctx, c.Options)
	if err != nil {
		return nil, err
	}
	env := map[string]string{}
	if c.Options.Region != "" {
		env["AWS_REGION"] = cfg.Region
	}
	if c.Options.Endpoint != "" {
		env["AWS_ENDPOINT_URL"] = c.Options.Endpoint
	}
	if c.Options.CredentialsJSON == "" && !aws.IsCredentialsProvider(cfg.Credentials, (*webIdentity)(nil)) {
		return env, nil
	}
	session, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, Explain(err)
	}
	env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], env["AWS_REGION"] = session.AccessKeyID, session.SecretAccessKey, cfg.Region
	if session.SessionToken != "" {
		env["AWS_SESSION_TOKEN"] = session.SessionToken
	}
	return env, nil
}
