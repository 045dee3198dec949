package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"dagger/slipway/internal/awsauth"
	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/signature"
)

// trustFlags say whose signature is trusted.
type trustFlags struct{ signature.Trust }

func (f *trustFlags) bind(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.Key, "key", "", "trust what this public key has signed, a PEM file (default no key)")
	cmd.Flags().StringVar(&f.Identity.Name, "identity", "", "trust what this identity has signed, such as https://github.com/OWNER/NAME/.github/workflows/FILE@refs/heads/main (default nobody)")
	cmd.Flags().StringVar(&f.Identity.Pattern, "identity-regexp", "", "trust identities whose whole name this regular expression matches (default nobody)")
	cmd.Flags().StringVar(&f.Identity.Issuer, "issuer", signature.GitHubIssuer, "who must have certified the identity")
	cmd.Flags().StringVar(&f.TrustedRoot, "trusted-root", "", "what sigstore's services are known by, as a file (default asks sigstore's public ones)")
}

// signFlags say how what is published is signed.
type signFlags struct {
	key, trustedRoot, signingConfig string
	keyless, off                    bool
}

// bind adds the flags, other than --trusted-root, which trustFlags have, too.
func (f *signFlags) bind(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.off, "no-attest", false, "attach no bill of materials, provenance or signature to what is published")
	cmd.Flags().StringVar(&f.key, "sign-key", "", "sign what is published with this private key, a PEM file; password in "+signature.PasswordVariable+" (default --keyless)")
	cmd.Flags().BoolVar(&f.keyless, "keyless", true, "sign as this job, where it may ask GitHub for its identity; sigstore's public log remembers its name")
	cmd.Flags().StringVar(&f.signingConfig, "signing-config", "", "where sigstore's services are, as a file (default asks sigstore's public ones)")
}

// signer tells who signs; nil for nobody.
func (a *app) signer(f signFlags) (signature.Signer, error) {
	switch {
	case f.off && f.key != "":
		return nil, outcome.Usagef("--no-attest leaves nothing to sign with --sign-key: leave out one of them")
	case f.off:
		return nil, nil
	case f.key != "":
		key, warning, err := signature.ReadKey(f.key)
		if warning != "" {
			fmt.Fprintf(a.stderr, "slipway: %s\n", warning)
		}
		if err != nil {
			return nil, err
		}
		return signature.NewKeySigner(key), nil
	case !f.keyless || !awsauth.HasIdentity():
		return nil, nil
	}
	signer := signature.Keyless{Token: func(ctx context.Context) (string, error) { return awsauth.Identity(ctx, signature.Audience) }}
	if f.trustedRoot != "" {
		trusted, err := signature.ReadRoot(f.trustedRoot)
		if err != nil {
			return nil, err
		}
		signer.Trusted = trusted
	}
	if f.signingConfig != "" {
		services, err := signature.ReadServices(f.signingConfig)
		if err != nil {
			return nil, err
		}
		signer.Services = services
	}
	return signer, nil
}
