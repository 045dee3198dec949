package doctor

import (
	"context"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"dagger/slipway/internal/awsauth"
)

// soon is when credentials are as good as gone: a release takes that long.
const soon = 15 * time.Minute

// Credentials are those that the pipeline talks to AWS with.
type Credentials struct {
	Caller interface {
		Who(ctx context.Context) (awsauth.Who, error)
	}
	Now func() time.Time
}

// Name fits Probe.
func (Credentials) Name() string { return "credentials" }

// Look asks AWS whose they are. Why there are none is said by awsauth, with the
// mend.
func (c Credentials) Look(ctx context.Context) Finding {
	who, err := c.Caller.Who(ctx)
	if err != nil {
		return missing("", "%s", oneLine(err.Error()))
	}
	whose := who.ARN + " in " + who.Region
	if who.Endpoint != "" {
		whose += " at " + who.Endpoint
	}
	if who.Expires.IsZero() {
		return ok("%s", whose)
	}
	left := who.Expires.Sub(c.Now()).Round(time.Minute)
	if left < soon {
		return limited("renew them before you release", "%s, for %s more", whose, left)
	}
	return ok("%s, for %s more", whose, left)
}

// ECR is the account's container registry.
type ECR struct {
	Load func(ctx context.Context) (aws.Config, error)
	// Carrier asks the registry itself.
	Carrier http.RoundTripper
}

// Name fits Probe.
func (ECR) Name() string { return "ecr" }

// Look asks for a login, which it forgets, and knocks at the registry that it is
// for.
func (e ECR) Look(ctx context.Context) Finding {
	cfg, err := e.Load(ctx)
	if err == nil {
		_, err = cfg.Credentials.Retrieve(ctx)
	}
	if err != nil {
		return missing("", "not asked, for want of credentials")
	}
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	out, err := ecr.NewFromConfig(cfg).GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return missing("", "%s", oneLine(awsauth.Explain(err).Error()))
	}
	if len(out.AuthorizationData) == 0 || out.AuthorizationData[0].ProxyEndpoint == nil {
		return missing("", "it gives no login, and does not say why")
	}
	endpoint := *out.AuthorizationData[0].ProxyEndpoint
	if err := knock(ctx, e.Carrier, endpoint+"/v2/"); err != nil {
		return missing("is the network, or its proxy, there?", "%s cannot be reached: %s", endpoint, reason(err))
	}
	return ok("%s gives a login", endpoint)
}
