// Package awsauth finds the credentials that the pipeline talks to AWS with,
// wherever it runs: a laptop's profile or SSO session, a job of GitHub Actions,
// a secret that was handed in. It also says in one line what keeps AWS from
// answering.
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

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/report/outcome"
)

// appID is what the pipeline is called in AWS's logs (CloudTrail's userAgent).
const appID = "slipway"

// Options say where credentials come from. The zero value takes what the
// environment has, as the AWS CLI does.
type Options struct {
	// Region comes before AWS_REGION, AWS_DEFAULT_REGION and the profile's;
	// [platform.DefaultRegion] comes last.
	Region string
	// Role is the ARN of the role to assume with the identity of a job of
	// GitHub Actions; SLIPWAY_ROLE_ARN or AWS_ROLE_ARN by default. It is not
	// used where the environment has keys or AWS_WEB_IDENTITY_TOKEN_FILE.
	Role string
	// TokenURL and Token are GitHub's permission to ask for that identity, by
	// default the runner's ACTIONS_ID_TOKEN_REQUEST_URL and _TOKEN. Dagger
	// functions, which see no environment, hand them in.
	TokenURL, Token string
	// Run is the number of the workflow's run, by default GITHUB_RUN_ID. CloudTrail
	// shows it in the session's name.
	Run string
	// CredentialsJSON is what `aws configure export-credentials --format
	// process` prints. It comes before everything else.
	CredentialsJSON string
	// Endpoint comes before AWS_ENDPOINT_URL and the profile's endpoint_url.
	Endpoint string
	// IMDS asks the EC2 instance, too, that the pipeline runs on. Elsewhere
	// that costs seconds to find out that nobody answers.
	IMDS bool
}

// Load makes the configuration of all AWS clients. It asks the network for
// nothing: credentials are fetched when the first call needs them, kept, and
// renewed before they expire. What is missing, half there or malformed is a
// usage error; no error repeats a secret.
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
		return aws.Config{}, outcome.Usagef("%q is no AWS region: set one such as %s (--region, AWS_REGION or the profile's)", cfg.Region, platform.DefaultRegion)
	}
	if given == nil && !environmentHasCredentials() {
		noOther := !o.IMDS && aws.IsCredentialsProvider(cfg.Credentials, (*ec2rolecreds.Provider)(nil))
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

// regionName is what can stand in a host's name. It is wider than AWS's own
// names, because emulators have theirs.
var regionName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// settings are the SDK's options.
func (o Options) settings(given aws.CredentialsProvider) []func(*config.LoadOptions) error {
	settings := []func(*config.LoadOptions) error{
		config.WithAppID(appID),
		config.WithHTTPClient(httpClient()),
		config.WithRetryer(configuredRetryer),
		config.WithLogger(logging.Nop{}), // what goes wrong is an error; the rest is nobody's business
		config.WithAPIOptions([]func(*middleware.Stack) error{addCallTimeout}),
		config.WithDefaultRegion(platform.DefaultRegion),
	}
	if o.Region != "" {
		settings = append(settings, config.WithRegion(o.Region))
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

// role is the role to assume; Slipway's own variable comes first, because the
// SDK's may be there for another program.
func (o Options) role() string {
	return cmp.Or(o.Role, os.Getenv("SLIPWAY_ROLE_ARN"), os.Getenv("AWS_ROLE_ARN"))
}

// check finds what the SDK would pass over in silence, and then fail for want
// of any credentials.
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
		return outcome.Usagef("AWS_WEB_IDENTITY_TOKEN_FILE is set and no role to assume with it: set AWS_ROLE_ARN")
	}
	return nil
}

// environmentHasCredentials tells whether the environment has keys, or a web
// identity in a file. They come before GitHub's identity.
func environmentHasCredentials() bool {
	return os.Getenv("AWS_ACCESS_KEY_ID") != "" || os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != ""
}
