package awsauth

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// callerDeadline bounds the question whose account it is, retries included.
const callerDeadline = 30 * time.Second

// Caller tells whose account credentials lead to.
type Caller struct {
	Options Options
	// NoRetry asks once, for somebody who would rather hear what is wrong than wait.
	NoRetry bool
}

// Identity asks AWS for the account, which takes no permission, and tells the
// region that the credentials are used in.
func (c Caller) Identity(ctx context.Context) (account, region string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callerDeadline)
	defer cancel()
	caller, err := c.GetCallerIdentity(ctx)
	return caller.Account, caller.Region, err
}

// CallerIdentity is whose credentials they are, and for how long.
type CallerIdentity struct {
	Account, ARN, Region string
	// Endpoint is who answered, where that is not AWS itself.
	Endpoint string
	// Expires is when they end; zero for those that do not.
	Expires time.Time
}

// GetCallerIdentity asks AWS whose the credentials are, which takes no permission.
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
	if credentials, err := cfg.Credentials.Retrieve(ctx); err == nil && credentials.CanExpire { // they are kept: nothing is asked again
		caller.Expires = credentials.Expires
	}
	return caller, nil
}

// Environment is what a tool needs in its environment that reads AWS's
// variables and knows nothing of a job's identity at GitHub, nor of what was handed
// in: a session, the region, the endpoint. It is empty where the tool finds the same
// by itself. Unlike ours, the tool's session is not renewed: that of a job's role ends
// after an hour.
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
