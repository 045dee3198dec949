// Package ecr logs in to Amazon ECR and finds the images of a commit.
package ecr

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/slipway-cd/slipway/ci/internal/images/registry"
)

// API is the part of the ECR API that is used.
type API interface {
	GetAuthorizationToken(context.Context, *ecr.GetAuthorizationTokenInput, ...func(*ecr.Options)) (*ecr.GetAuthorizationTokenOutput, error)
	DescribeRepositories(context.Context, *ecr.DescribeRepositoriesInput, ...func(*ecr.Options)) (*ecr.DescribeRepositoriesOutput, error)
	DescribeImages(context.Context, *ecr.DescribeImagesInput, ...func(*ecr.Options)) (*ecr.DescribeImagesOutput, error)
}

// Account is the ECR registry of an AWS account and region.
type Account struct {
	API API
	// RegistryID is the AWS account of the registry; empty means that of the credentials.
	RegistryID string
	// Now returns the time; if nil, that of the system clock.
	Now func() time.Time
}

// Login logs in to the registry. The login renews itself, so that the result can be
// kept.
func (a Account) Login(ctx context.Context) (*registry.Registry, error) {
	l, err := a.login(ctx)
	if err != nil {
		return nil, err
	}
	return registry.New(a.host(l.host.Host), registry.Options{
		Auth: l, RateLimits: limits, RepositoryHint: noRepositoryHint,
		LoginHint: "run the command again; if ECR's own token is rejected again, check for a proxy",
	})
}

// host returns the registry's host. A token's is that of the credentials' account, although
// it is valid for any registry that these may use. The host of an emulator names no account.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html
func (a Account) host(own string) string {
	account, rest, ok := strings.Cut(own, ".dkr")
	if a.RegistryID == "" || !ok || strings.Contains(account, ".") {
		return own
	}
	return a.RegistryID + ".dkr" + rest
}

// registryID returns RegistryID for requests.
func (a Account) registryID() *string {
	if a.RegistryID == "" {
		return nil
	}
	return &a.RegistryID
}

func (a Account) login(ctx context.Context) (*login, error) {
	l := &login{api: a.API, now: a.Now}
	if l.now == nil {
		l.now = time.Now
	}
	return l, l.renew(ctx)
}

// limits are ECR's quotas per second in an account and region. Other requests stay
// far below theirs.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html
var limits = registry.RateLimits{StartUploads: 100, FinishUploads: 100, PutManifests: 10}

// noRepositoryHint is how to create a repository.
const noRepositoryHint = "Terraform creates it: run slipway plan, then slipway apply"

// token is an authorization token and the registry that it is for.
type token struct {
	host           *url.URL
	user, password string
	expires        time.Time
}

// requestToken requests an authorization token. Its errors do not contain any part
// of the token.
func requestToken(ctx context.Context, api API) (token, error) {
	out, err := api.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return token{}, fmt.Errorf("logging in to the registry: %w", err)
	}
	if len(out.AuthorizationData) == 0 {
		return token{}, fmt.Errorf("logging in to the registry: AWS returned no token")
	}
	data := out.AuthorizationData[0]
	host, err := url.Parse(aws.ToString(data.ProxyEndpoint))
	if err != nil || host.Host == "" {
		return token{}, fmt.Errorf("logging in to the registry: AWS returned the invalid registry address %q", aws.ToString(data.ProxyEndpoint))
	}
	raw, err := base64.StdEncoding.DecodeString(aws.ToString(data.AuthorizationToken))
	user, password, ok := strings.Cut(string(raw), ":")
	if err != nil || !ok {
		return token{}, fmt.Errorf("logging in to the registry: AWS's token has an undocumented format")
	}
	return token{host: host, user: user, password: password, expires: aws.ToTime(data.ExpiresAt)}, nil
}
