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
type Caller struct{ Options Options }

// Identity asks AWS for the account, which takes no permission, and tells the
// region that the credentials are used in.
func (c Caller) Identity(ctx context.Context) (account, region string, err error) {
	cfg, err := Load(ctx, c.Options)
	if err != nil {
		return "", "", err
	}
	ctx, cancel := context.WithTimeout(ctx, callerDeadline)
	defer cancel()
	out, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", "", Explain(err)
	}
	return aws.ToString(out.Account), cfg.Region, nil
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
