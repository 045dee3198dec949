package awsauth

import (
	"cmp"
	"context"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// stsEndpoint sets the endpoint of the STS clients in the SDK's credential chain.
// The SDK creates them before it reads AWS_ENDPOINT_URL, and would request a
// session from the real STS for use with another AWS.
type stsEndpoint struct {
	endpoint *string // set when the configuration is loaded
}

// settings returns the SDK's options. A web identity token file without a role uses
// the given role.
func (c *stsEndpoint) settings(role string) []func(*config.LoadOptions) error {
	return []func(*config.LoadOptions) error{
		config.WithWebIdentityRoleCredentialOptions(func(o *stscreds.WebIdentityRoleOptions) {
			o.RoleARN = cmp.Or(o.RoleARN, role)
			if o.Client != nil { // the SDK calls this once for the role alone
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

// redirect sets the endpoint of a call, unless STS has its own.
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
