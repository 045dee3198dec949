// Package awsauth loads the pipeline's AWS credentials: from a profile or SSO
// session on a laptop, from the OIDC token of a GitHub Actions job, or from a given
// secret. It also explains failed AWS calls in one line.
package awsauth

import (
	"cmp"
	"context"
	"os"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// appID is the application ID in CloudTrail's userAgent.
const appID = "slipway"

// Options specify where credentials come from. The zero value uses the environment,
// as the AWS CLI does.
type Options struct {
	// Region overrides AWS_REGION, AWS_DEFAULT_REGION and the profile's region. The
	// default is [platform.DefaultRegion].
	Region string
	// Role is the ARN of the role to assume with a GitHub Actions job's OIDC token;
	// by default SLIPWAY_ROLE_ARN or AWS_ROLE_ARN. It is not used if the
	// environment has keys or AWS_WEB_IDENTITY_TOKEN_FILE.
	Role string
	// JobRole requires Role to be assumed with the job's OIDC token, whatever other
	// credentials the environment has.
	JobRole bool
	// Profile is a profile of AWS's shared configuration; it overrides AWS_PROFILE and
	// credentials in the environment.
	Profile string
	// TokenURL and Token authorize requests for that OIDC token; by default the
	// runner's ACTIONS_ID_TOKEN_REQUEST_URL and _TOKEN. Dagger functions, which
	// have no environment, set them.
	TokenURL, Token string
	// Run is the ID of the workflow run, by default GITHUB_RUN_ID. It is part of
	// the session name in CloudTrail.
	Run string
	// CredentialsJSON is the output of `aws configure export-credentials --format
	// process`. It overrides all other sources.
	CredentialsJSON string
	// Endpoint overrides AWS_ENDPOINT_URL and the profile's endpoint_url.
	Endpoint string
	// IMDS enables the EC2 instance metadata service. Outside of EC2, it takes
	// seconds to find that it does not respond.
	IMDS bool
}

// Load returns the configuration for AWS clients, without network requests: the
// first call fetches credentials, which are cached and renewed before they expire.
// Missing, incomplete or malformed settings are usage errors. No error contains a
// secret.
func Load(ctx context.Context, o Options) (aws.Config, error) {
	if err := o.check(); err != nil {
		return aws.Config{}, err
	}
	var given aws.CredentialsProvider
	if o.CredentialsJSON != "" {
		var err error
		if given, err = parseCredentialsJSON(o.CredentialsJSON); err != nil {
			return aws.Config{}, err
		}
	}
	chain := new(stsEndpoint)
	cfg, err := config.LoadDefaultConfig(ctx, append(o.settings(given), chain.settings(o.role())...)...)
	if err != nil {
		return aws.Config{}, explainConfig(err)
	}
	if err := checkEndpoint(aws.ToString(cfg.BaseEndpoint)); err != nil {
		return aws.Config{}, err
	}
	chain.endpoint = cfg.BaseEndpoint
	if !regionName.MatchString(cfg.Region) {
		return aws.Config{}, outcome.Usagef("invalid AWS region %q: set one such as %s (--region, AWS_REGION or the profile's, in Dagger --aws-region)", cfg.Region, platform.DefaultRegion)
	}
	if o.Profile == "" && given == nil && (o.JobRole || !environmentHasCredentials()) {
		noOther := o.JobRole || !o.IMDS && aws.IsCredentialsProvider(cfg.Credentials, (*ec2rolecreds.Provider)(nil))
		identity, err := o.identity(cfg, noOther)
		if err != nil {
			return aws.Config{}, err
		}
		if identity != nil {
			cfg.Credentials = aws.NewCredentialsCache(identity)
		}
	}
	cfg.Credentials = &explainingProvider{cfg.Credentials}
	return cfg, nil
}

// regionName matches DNS labels. It is wider than AWS's region names, because
// emulators have their own.
var regionName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// settings returns the SDK's options.
func (o Options) settings(given aws.CredentialsProvider) []func(*config.LoadOptions) error {
	settings := []func(*config.LoadOptions) error{
		config.WithAppID(appID),
		config.WithHTTPClient(httpClient()),
		config.WithRetryer(configuredRetryer),
		config.WithLogger(logging.Nop{}), // failures are returned as errors
		config.WithAPIOptions([]func(*middleware.Stack) error{addCallTimeout}),
		config.WithDefaultRegion(platform.DefaultRegion),
	}
	if o.Region != "" {
		settings = append(settings, config.WithRegion(o.Region))
	}
	if o.Profile != "" {
		settings = append(settings, config.WithSharedConfigProfile(o.Profile))
	}
	if o.Endpoint != "" {
		settings = append(settings, config.WithBaseEndpoint(o.Endpoint))
	}
	if !o.IMDS {
		settings = append(settings, config.WithEC2IMDSClientEnableState(imds.ClientDisabled))
	}
	if given != nil {
		settings = append(settings, config.WithCredentialsProvider(given))
	}
	return settings
}

// role returns the role to assume. Slipway's own variable has precedence, because
// the SDK's may be set for another program.
func (o Options) role() string {
	return cmp.Or(o.Role, os.Getenv("SLIPWAY_ROLE_ARN"), os.Getenv("AWS_ROLE_ARN"))
}

// check finds incomplete settings, which the SDK would ignore and then fail without
// credentials.
func (o Options) check() error {
	if err := o.checkForm(); err != nil {
		return err
	}
	if err := checkFiles(); err != nil {
		return err
	}
	if o.CredentialsJSON != "" {
		return nil
	}
	key, secret := os.Getenv("AWS_ACCESS_KEY_ID") != "", os.Getenv("AWS_SECRET_ACCESS_KEY") != ""
	switch {
	case key && !secret:
		return outcome.Usagef("AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not: set both or neither")
	case secret && !key:
		return outcome.Usagef("AWS_SECRET_ACCESS_KEY is set and AWS_ACCESS_KEY_ID is not: set both or neither")
	case !key && os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != "" && o.role() == "":
		return outcome.Usagef("AWS_WEB_IDENTITY_TOKEN_FILE is set without a role to assume: set AWS_ROLE_ARN")
	}
	return nil
}

// environmentHasCredentials reports whether the environment has keys or a web
// identity token file. They have precedence over a job's OIDC token.
func environmentHasCredentials() bool {
	return os.Getenv("AWS_ACCESS_KEY_ID") != "" || os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != ""
}
