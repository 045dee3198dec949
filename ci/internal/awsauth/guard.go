package awsauth

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// guard explains failures where credentials come from, while that is known:
// the SDK repeats what a credential process printed, keys and all.
type guard struct{ aws.CredentialsProvider }

// Retrieve fits aws.CredentialsProvider.
func (g *guard) Retrieve(ctx context.Context) (aws.Credentials, error) {
	credentials, err := g.CredentialsProvider.Retrieve(ctx)
	if err == nil {
		if err = checkCredentials(credentials); err != nil {
			return aws.Credentials{}, unwrapped(err)
		}
		return credentials, nil
	}
	if ctx.Err() != nil {
		return aws.Credentials{}, context.Cause(ctx)
	}
	return aws.Credentials{}, explainCredentials(err, g.ProviderSources())
}

// ProviderSources tells the SDK, for its user agent, where credentials come from.
func (g *guard) ProviderSources() []aws.CredentialSource {
	if from, ok := g.CredentialsProvider.(aws.CredentialProviderSource); ok {
		return from.ProviderSources()
	}
	return nil
}

// IsCredentialsProvider tells the SDK what kind of provider is behind this one.
func (g *guard) IsCredentialsProvider(target aws.CredentialsProvider) bool {
	return aws.IsCredentialsProvider(g.CredentialsProvider, target)
}

// withhold replaces secrets in the text of an error.
func withhold(err error, secrets ...string) error {
	var explained *explainedError
	if !errors.As(err, &explained) {
		return err
	}
	for _, secret := range secrets {
		if secret != "" {
			explained.text = strings.ReplaceAll(explained.text, secret, "***")
		}
	}
	return err
}
