package awsauth

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// explainingProvider explains failures where credentials come from, while that is known:
// the SDK repeats what a credential process printed, keys and all.
type explainingProvider struct{ aws.CredentialsProvider }

// Retrieve fits aws.CredentialsProvider.
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

// ProviderSources tells the SDK, for its user agent, where credentials come from.
func (g *explainingProvider) ProviderSources() []aws.CredentialSource {
	if from, ok := g.CredentialsProvider.(aws.CredentialProviderSource); ok {
		return from.ProviderSources()
	}
	return nil
}

// IsCredentialsProvider tells the SDK what kind of provider is behind this one.
func (g *explainingProvider) IsCredentialsProvider(target aws.CredentialsProvider) bool {
	return aws.IsCredentialsProvider(g.CredentialsProvider, target)
}

// redactSecrets replaces secrets in the text of an error.
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

// Invalidate drops the credentials that are kept, so that the next call fetches
// new ones.
func (g *explainingProvider) Invalidate() {
	if kept, ok := g.CredentialsProvider.(*aws.CredentialsCache); ok {
		kept.Invalidate()
	}
}

// InvalidateCredentials makes the next call with cfg fetch its credentials anew: AWS may call
// them expired before their time has come, when clocks differ or a session was
// ended.
func InvalidateCredentials(cfg aws.Config) {
	if kept, ok := cfg.Credentials.(interface{ Invalidate() }); ok {
		kept.Invalidate()
	}
}
