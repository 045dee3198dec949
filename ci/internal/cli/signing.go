package cli

import (
	"fmt"
	"os"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// bindTrust adds the flags that select trusted signatures.
func bindTrust(cmd *cobra.Command, t *supplychain.Trust) {
	cmd.Flags().StringVar(&t.Key, "key", "", "trust signatures of this public key, a PEM file (default none)")
	cmd.Flags().StringVar(&t.Identity, "identity", "", "trust signatures of this identity, such as https://github.com/OWNER/REPO/.github/workflows/FILE@refs/heads/main; with ?repository=OWNER/REPO&ref=refs/heads/main after it, if other repositories call that workflow (default none)")
	cmd.Flags().StringVar(&t.Pattern, "identity-regexp", "", "trust signatures of identities that this regular expression matches as a whole (default none)")
	cmd.Flags().StringVar(&t.Issuer, "issuer", supplychain.GitHubIssuer, "OIDC issuer of the identity")
	cmd.Flags().StringVar(&t.TrustedRoot, "trusted-root", "", "file with sigstore's trusted root (default that of the public sigstore instance)")
}

// signFlags are the flags for signing published images.
type signFlags struct {
	supplychain.Signer
	keyless, off bool
}

// bind adds the flags except --trusted-root, which bindTrust adds.
func (f *signFlags) bind(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.off, "no-attest", false, "attach no SBOM, provenance or signature to published images")
	cmd.Flags().StringVar(&f.Key, "sign-key", "", "sign published images with this private key, a PEM file; password in "+supplychain.PasswordEnv+" (default --keyless)")
	cmd.Flags().BoolVar(&f.keyless, "keyless", true, "sign with the identity of the GitHub Actions job, if it has id-token permission; the identity is recorded in sigstore's public log")
	cmd.Flags().StringVar(&f.SigningConfig, "signing-config", "", "file with sigstore's signing configuration (default that of the public sigstore instance)")
}

// signer returns the signer that the flags select, or nil for none.
func (a *app) signer(f signFlags) (*supplychain.Signer, error) {
	switch {
	case f.off && f.Key != "":
		return nil, outcome.Usagef("--no-attest and --sign-key exclude each other: leave out one of them")
	case f.off, f.Key == "" && (!f.keyless || !awsauth.CanRequestIDToken()):
		return nil, nil
	}
	if err := f.Check(); err != nil {
		return nil, err
	}
	if f.Key != "" {
		info, err := os.Stat(f.Key)
		if err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
			fmt.Fprintf(a.stderr, "slipway: warning: the signing key %s is readable by other users (%s): run chmod 600 %s\n", f.Key, info.Mode().Perm(), f.Key)
		}
	}
	return &f.Signer, nil
}
