package preflight

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
)

// Identity is the caller identity of the credentials.
type Identity struct {
	Account string // twelve digits
	ARN     string
}

// Identity returns the caller identity. It needs no permission.
func (c Checker) Identity(ctx context.Context) (Identity, error) {
	if c.STS == nil {
		return Identity{}, errors.New("calling sts:GetCallerIdentity: no STS client")
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.Timeout, DefaultTimeout))
	defer cancel()
	out, err := c.STS.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return Identity{}, fmt.Errorf("calling sts:GetCallerIdentity: %w", err)
	}
	return Identity{Account: aws.ToString(out.Account), ARN: aws.ToString(out.Arn)}, nil
}

// checkIdentity compares the account of the credentials and the region with those in
// the configuration.
func (r *run) checkIdentity(ctx context.Context) {
	if r.STS == nil {
		r.note("not checked: caller identity: no STS client")
	} else if caller, err := r.Identity(ctx); err != nil {
		r.add(r.credentialsError(err))
	} else {
		r.caller = &caller
	}
	if r.Region == "" {
		r.note("not checked: region: no region is configured")
	}
	for _, l := range r.locations() {
		r.compareLocation(l)
	}
}

// credentialsError returns the finding for an error of sts:GetCallerIdentity.
func (r *run) credentialsError(err error) error {
	switch {
	case rollout.IsCode(err, "ExpiredToken", "ExpiredTokenException"):
		return fail(err, "credentials: expired: renew them and try again")
	case rollout.IsCode(err, "InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException", "IncompleteSignature"):
		return usage("credentials: not recognized by AWS: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or set a profile with AWS_PROFILE")
	case errors.Is(err, context.DeadlineExceeded):
		return fail(err, "credentials: sts:GetCallerIdentity timed out after %s: check the network and try again", r.Timeout)
	default:
		return fail(err, "credentials: sts:GetCallerIdentity: %s: check AWS_PROFILE, AWS_REGION and the network", apiMessage(err))
	}
}

// location is the account and region of a resource.
type location struct {
	resource, account, region string
}

// locations returns the locations in the configuration.
func (r *run) locations() []location {
	var all []location
	add := func(resource, text string) {
		if parsed, err := arn.Parse(text); err == nil {
			all = append(all, location{resource, parsed.AccountID, parsed.Region})
		}
	}
	for _, s := range r.changes {
		add("cluster "+machine.ShortARN(aws.ToString(s.ECSService.ClusterArn)), aws.ToString(s.ECSService.ClusterArn))
		add("service "+s.Service.Name+": ECS service "+aws.ToString(s.ECSService.ServiceName), aws.ToString(s.ECSService.ServiceArn))
		if s.Schedule != nil && s.Schedule.Target != nil {
			cluster := aws.ToString(s.Schedule.Target.Arn)
			add("service "+s.Service.Name+": cluster "+machine.ShortARN(cluster)+" of its schedule", cluster)
		}
		if host := parseImageRef(s.Image).host; ecrHost.MatchString(host) {
			m := ecrHost.FindStringSubmatch(host)
			all = append(all, location{"service " + s.Service.Name + ": image registry " + host, m[1], m[2]})
		}
	}
	return all
}

func (r *run) compareLocation(l location) {
	if r.caller != nil && r.caller.Account != l.account {
		r.add(usage("%s is in account %s, but the credentials are for account %s (%s): use credentials for %s",
			l.resource, l.account, r.caller.Account, r.caller.ARN, l.account))
	}
	if r.Region != "" && l.region != r.Region {
		r.add(usage("%s is in region %s, but the configured region is %s: set AWS_REGION=%s", l.resource, l.region, r.Region, l.region))
	}
}
