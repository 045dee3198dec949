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
func (r *run) checkIdentity(ctx context.Context) {
	if r.STS == nil {
		r.note("not checked: whose credentials these are: there is no STS client")
	} else if caller, err := r.Identity(ctx); err != nil {
		r.add(r.credentialsError(err))
	} else {
		r.caller = &caller
	}
	if r.Region == "" {
		r.note("not checked: the region: none was given to compare with")
	}
	for _, place := range r.locations() {
		r.compareLocation(place)
	}
}

// credentialsError makes the finding of credentials that do not answer.
func (r *run) credentialsError(err error) error {
	switch {
	case isCode(err, "ExpiredToken", "ExpiredTokenException"):
		return fail(err, "credentials: they have expired: get new ones and try again")
	case isCode(err, "InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException", "IncompleteSignature"):
		return usage("credentials: AWS does not know them: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or name a profile with AWS_PROFILE")
	case errors.Is(err, context.DeadlineExceeded):
		return fail(err, "credentials: sts:GetCallerIdentity gave no answer within %s: check the network, and try again", r.Timeout)
	default:
		return fail(err, "credentials: sts:GetCallerIdentity: %s: check AWS_PROFILE, AWS_REGION and the network", apiMessage(err))
	}
}

// location is something that names an account and a region.
type location struct {
	what, account, region string
}

// locations lists the places that the configuration names.
func (r *run) locations() []location {
	var all []location
	add := func(what, text string) {
		if parsed, err := arn.Parse(text); err == nil {
			all = append(all, location{what, parsed.AccountID, parsed.Region})
		}
	}
	add("cluster "+lastSegment(r.cluster), r.cluster)
	for _, s := range r.changes {
		add("cluster "+lastSegment(aws.ToString(s.ECSService.ClusterArn)), aws.ToString(s.ECSService.ClusterArn))
		add("service "+s.Service.Name+": ECS service "+aws.ToString(s.ECSService.ServiceName), aws.ToString(s.ECSService.ServiceArn))
		if host := parseImageRef(s.Image).host; ecrHost.MatchString(host) {
			m := ecrHost.FindStringSubmatch(host)
			all = append(all, location{"service " + s.Service.Name + ": image registry " + host, m[1], m[2]})
		}
	}
	return all
}

func (r *run) compareLocation(p location) {
	if r.caller != nil && r.caller.Account != p.account {
		r.add(usage("%s is in account %s, and the credentials are of account %s (%s): use credentials of %s",
			p.what, p.account, r.caller.Account, r.caller.ARN, p.account))
	}
	if r.Region != "" && p.region != r.Region {
		r.add(usage("%s is in region %s, and the region in use is %s: set AWS_REGION=%s", p.what, p.region, r.Region, p.region))
	}
}

// lastSegment is the last part of an ARN or path.
func lastSegment(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }
