package cli

import (
	"fmt"
	"os"
	"runtime"

	"github.com/spf13/cobra"

	"dagger/slipway/internal/awsauth"
	"dagger/slipway/internal/images/supplychain"
	"dagger/slipway/internal/report/outcome"
)

// bindTrust adds the flags that say whose signature is trusted.
func bindTrust(cmd *cobra.Command, t *supplychain.Trust) {
	cmd.Flags().StringVar(&t.Key, "key", "", "trust what this public key has signed, a PEM file (default no key)")
	cmd.Flags().StringVar(&t.Identity, "identity", "", "trust what this identity has signed, such as https://github.com/OWNER/NAME/.github/workflows/FILE@refs/heads/main (default nobody)")
	cmd.Flags().StringVar(&t.Pattern, "identity-regexp", "", "trust identities whose whole name this regular expression matches (default nobody)")
	cmd.Flags().StringVar(&t.Issuer, "issuer", supplychain.GitHubIssuer, "who must have certified the identity")
	cmd.Flags().StringVar(&t.TrustedRoot, "trusted-root", "", "what sigstore's services are known by, as a file (default asks sigstore's public ones)")
}

// signFlags say how what is published is signed.
type signFlags struct {
	supplychain.Signer
	keyless, off bool
}

// bind adds the flags, other than --trusted-root, which those of trust have, too.
func (f *signFlags) bind(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.off, "no-attest", false, "attach no bill of materials, provenance or signature to what is published")
	cmd.Flags().StringVar(&f.Key, "sign-key", "", "sign what is published with this private key, a PEM file; password in "+supplychain.PasswordVariable+" (default --keyless)")
	cmd.Flags().BoolVar(&f.keyless, "keyless", true, "sign as this job, where it may ask GitHub for its identity; sigstore's public log remembers its name")
	cmd.Flags().StringVar(&f.SigningConfig, "signing-config", "", "where sigstore's services are, as a file (default asks sigstore's public ones)")
}

// signer tells who signs; nil for nobody.
func (a *app) signer(f signFlags) (*supplychain.Signer, error) {
	switch {
	case f.off && f.Key != "":
		return nil, outcome.Usagef("--no-attest leaves nothing to sign with --sign-key: leave out one of them")
	case f.off, f.Key == "" && (!f.keyless || !awsauth.HasIdentity()):
		return nil, nil
	}
	if err := f.Check(); err != nil {
		return nil, err
	}
	if f.Key != "" {
		info, err := os.Stat(f.Key)
		if err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
			fmt.Fprintf(a.stderr, "slipway: others than its owner may read the signing key %s (%s): chmod 600 %s\n", f.Key, info.Mode().Perm(), f.Key)
		}
	}
	return &f.Signer, nil
}
