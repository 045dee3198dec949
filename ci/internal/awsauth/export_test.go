package awsauth

import (
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// NewWebIdentity returns a provider with another STS and clock.
func NewWebIdentity(role, tokenURL, token string, s stsAPI, clock sleeper) aws.CredentialsProvider {
	address, err := url.Parse(tokenURL)
	if err != nil {
		panic(err)
	}
	return &webIdentity{
		role: role, session: sessionName("1"), sts: s, clock: clock,
		tokens: &tokenSource{url: address, token: token, http: httpClient(), clock: clock},
	}
}
