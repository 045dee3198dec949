package awsauth

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// explainingProvider explains failures of a credentials provider while its source
// is known: the SDK's error repeats the output of a credential process, including
// keys.
type explainingProvider struct{ aws.CredentialsProvider }

// Retrieve implements aws.CredentialsProvider.
func (g *explainingProvider) Retrieve(ctx context.Context) (aws.Credentials, error) {
	credentials, err := g.CredentialsProvider.Retrieve(ctx)
	if err == nil {
		if err = checkCredentials(credentials); err != nil {
			return aws.Credentials{}, withoutSDKText(err)
		}
		return credentials, nil
	}
	if ctx.Err() != nil {
		return aws.Credentials{}, context.Cause(ctx)
	}
	return aws.Credentials{}, explainCredentials(err, g.ProviderSources())
}

// ProviderSources returns the credentials' sources for the SDK's user agent.
func (g *explainingProvider) ProviderSources() []aws.CredentialSource {
	if from, ok := g.CredentialsProvider.(aws.CredentialProviderSource); ok {
		return from.ProviderSources()
	}
	return nil
}

// IsCredentialsProvider reports whether the wrapped provider has the target's type.
func (g *explainingProvider) IsCredentialsProvider(target aws.CredentialsProvider) bool {
	return aws.IsCredentialsProvider(g.CredentialsProvider, target)
}

// redactSecrets removes secrets from the text of an error.
func redactSecrets(err error, secrets ...string) error {
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

// Invalidate drops the cached credentials, so that the next call fetches new ones.
func (g *explainingProvider) Invalidate() {
	if kept, ok := g.CredentialsProvider.(*aws.CredentialsCache); ok {
		kept.Invalidate()
	}
}

// InvalidateCredentials makes the next call with cfg fetch new credentials. AWS may
// reject credentials as expired early, if clocks differ or a session was revoked.
func InvalidateCredentials(cfg aws.Config) {
	if kept, ok := cfg.Credentials.(interface{ Invalidate() }); ok {
		kept.Invalidate()
	}
}
