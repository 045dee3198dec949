package awsauth

import (
	"cmp"
	"context"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// stsEndpoint is what the SDK's own chain of credentials is to do otherwise. It makes
// its STS clients before it has read AWS_ENDPOINT_URL, and so would ask the real
// STS for a session to be used on another AWS.
type stsEndpoint struct {
	endpoint *string // known only when the configuration is loaded
}

// settings are the SDK's options. A web identity in a file that comes without a
// role is for the given one.
func (c *stsEndpoint) settings(role string) []func(*config.LoadOptions) error {
	return []func(*config.LoadOptions) error{
		config.WithWebIdentityRoleCredentialOptions(func(o *stscreds.WebIdentityRoleOptions) {
			o.RoleARN = cmp.Or(o.RoleARN, role)
			if o.Client != nil { // the SDK asks once for the role alone
				o.Client = webIdentityClient{c, o.Client}
			}
		}),
		config.WithAssumeRoleCredentialOptions(func(o *stscreds.AssumeRoleOptions) {
			if o.Client != nil {
				o.Client = assumeRoleClient{c, o.Client}
			}
		}),
	}
}

// redirect sends a call to the endpoint, unless STS has one of its own.
func (c *stsEndpoint) redirect(o *sts.Options) { o.BaseEndpoint = cmp.Or(o.BaseEndpoint, c.endpoint) }

type webIdentityClient struct {
	endpoint *stsEndpoint
	stscreds.AssumeRoleWithWebIdentityAPIClient
}

func (c webIdentityClient) AssumeRoleWithWebIdentity(ctx context.Context, in *sts.AssumeRoleWithWebIdentityInput, options ...func(*sts.Options)) (*sts.AssumeRoleWithWebIdentityOutput, error) {
	return c.AssumeRoleWithWebIdentityAPIClient.AssumeRoleWithWebIdentity(ctx, in, append(options, c.endpoint.redirect)...)
}

type assumeRoleClient struct {
	endpoint *stsEndpoint
	stscreds.AssumeRoleAPIClient
}

func (c assumeRoleClient) AssumeRole(ctx context.Context, in *sts.AssumeRoleInput, options ...func(*sts.Options)) (*sts.AssumeRoleOutput, error) {
	return c.AssumeRoleAPIClient.AssumeRole(ctx, in, append(options, c.endpoint.redirect)...)
}
