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
