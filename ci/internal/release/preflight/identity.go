package preflight

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Identity is who the credentials belong to.
type Identity struct {
	Account string // twelve digits
	ARN     string
}

// Identity asks who the credentials belong to. It needs no permission.
func (c Checker) Identity(ctx context.Context) (Identity, error) {
	if c.STS == nil {
		return Identity{}, errors.New("asking who the credentials belong to: there is no STS client")
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.Timeout, DefaultTimeout))
	defer cancel()
	out, err := c.STS.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return Identity{}, fmt.Errorf("asking who the credentials belong to: %w", err)
	}
	return Identity{Account: aws.ToString(out.Account), ARN: aws.ToString(out.Arn)}, nil
}

// checkIdentity compares account and region of the credentials with those that
// the configuration names.
func (r *round) checkIdentity(ctx context.Context) {
	if r.STS == nil {
		r.note("not checked: whose credentials these are: there is no STS client")
	} else if caller, err := r.Identity(ctx); err != nil {
		r.found(r.credentials(err))
	} else {
		r.caller = &caller
	}
	if r.Region == "" {
		r.note("not checked: the region: none was given to compare with")
	}
	for _, place := range r.places() {
		r.compare(place)
	}
}

// credentials makes the finding of credentials that do not answer.
func (r *round) credentials(err error) error {
	switch {
	case isCode(err, "ExpiredToken", "ExpiredTokenException"):
		return fail(err, "credentials: they have expired: get new ones and try again")
	case isCode(err, "InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException", "IncompleteSignature"):
		return usage("credentials: AWS does not know them: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or name a profile with AWS_PROFILE")
	case errors.Is(err, context.DeadlineExceeded):
		return fail(err, "credentials: sts:GetCallerIdentity gave no answer within %s: check the network, and try again", r.Timeout)
	default:
		return fail(err, "credentials: sts:GetCallerIdentity: %s: check AWS_PROFILE, AWS_REGION and the network", reason(err))
	}
}

// place is something that names an account and a region.
type place struct {
	what, account, region string
}

// places lists the places that the configuration names.
func (r *round) places() []place {
	var all []place
	add := func(what, text string) {
		if parsed, err := arn.Parse(text); err == nil {
			all = append(all, place{what, parsed.AccountID, parsed.Region})
		}
	}
	add("cluster "+nameOf(r.cluster), r.cluster)
	for _, s := range r.subjects {
		add("cluster "+nameOf(aws.ToString(s.ECSService.ClusterArn)), aws.ToString(s.ECSService.ClusterArn))
		add("service "+s.Service.Name+": ECS service "+aws.ToString(s.ECSService.ServiceName), aws.ToString(s.ECSService.ServiceArn))
		if host := parseImage(s.Image).host; ecrHost.MatchString(host) {
			m := ecrHost.FindStringSubmatch(host)
			all = append(all, place{"service " + s.Service.Name + ": image registry " + host, m[1], m[2]})
		}
	}
	return all
}

func (r *round) compare(p place) {
	if r.caller != nil && r.caller.Account != p.account {
		r.found(usage("%s is in account %s, and the credentials are of account %s (%s): use credentials of %s",
			p.what, p.account, r.caller.Account, r.caller.ARN, p.account))
	}
	if r.Region != "" && p.region != r.Region {
		r.found(usage("%s is in region %s, and the region in use is %s: set AWS_REGION=%s", p.what, p.region, r.Region, p.region))
	}
}

// nameOf is the last part of an ARN or path.
func nameOf(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }
