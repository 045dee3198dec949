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
	// Once asks once, for somebody who would rather hear what is wrong than wait.
	Once bool
}

// Identity asks AWS for the account, which takes no permission, and tells the
// region that the credentials are used in.
func (c Caller) Identity(ctx context.Context) (account, region string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callerDeadline)
	defer cancel()
	who, err := c.Who(ctx)
	return who.Account, who.Region, err
}

// Who is whose credentials they are, and for how long.
type Who struct {
	Account, ARN, Region string
	// Endpoint is who answered, where that is not AWS itself.
	Endpoint string
	// Expires is when they end; zero for those that do not.
	Expires time.Time
}

// Who asks AWS whose the credentials are, which takes no permission.
func (c Caller) Who(ctx context.Context) (Who, error) {
	cfg, err := Load(ctx, c.Options)
	if err != nil {
		return Who{}, err
	}
	if c.Once {
		cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	}
	out, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return Who{}, Explain(err)
	}
	who := Who{Account: aws.ToString(out.Account), ARN: aws.ToString(out.Arn), Region: cfg.Region, Endpoint: aws.ToString(cfg.BaseEndpoint)}
	if held, err := cfg.Credentials.Retrieve(ctx); err == nil && held.CanExpire { // they are kept: nothing is asked again
		who.Expires = held.Expires
	}
	return who, nil
}

// Environment is what a tool needs in its environment that reads AWS's
// variables and knows nothing of a job's identity at GitHub: a session of the
// job's role. It is nil where the tool finds the same credentials by itself.
// Unlike ours, the tool's session is not renewed: it ends after an hour.
func (c Caller) Environment(ctx context.Context) (map[string]string, error) {
	cfg, err := Load(ctx, c.Options)
	if err != nil || !aws.IsCredentialsProvider(cfg.Credentials, (*webIdentity)(nil)) {
		return nil, err
	}
	session, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, Explain(err)
	}
	return map[string]string{
		"AWS_ACCESS_KEY_ID": session.AccessKeyID, "AWS_SECRET_ACCESS_KEY": session.SecretAccessKey,
		"AWS_SESSION_TOKEN": session.SessionToken, "AWS_REGION": cfg.Region,
	}, nil
}
