package signature

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"

	"dagger/slipway/internal/outcome"
)

// Audience is whom the identity token of a signer is for.
// https://docs.sigstore.dev/certificate_authority/oidc-in-fulcio/
const Audience = "sigstore"

// Keyless signs as whoever it is, with a key that is thrown away: Fulcio certifies
// that the key was the identity's at the time, and a public log remembers it.
type Keyless struct {
	// Token gives an identity token for [Audience].
	Token func(context.Context) (string, error)
	// Trusted is what is known of the services that sign along; Services says where
	// they are. nil means sigstore's public ones.
	Trusted  root.TrustedMaterial
	Services *root.SigningConfig
}

// Sign implements Signer.
func (k Keyless) Sign(ctx context.Context, statement []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, signLimit)
	defer cancel()
	token, err := k.Token(ctx)
	if err != nil {
		return nil, fmt.Errorf("signing as this job: %w", err)
	}
	options, err := k.options(ctx)
	if err != nil {
		return nil, err
	}
	options.CertificateProviderOptions = &sign.CertificateProviderOptions{IDToken: token}
	keys, err := sign.NewEphemeralKeypair(nil)
	if err != nil {
		return nil, fmt.Errorf("making a key to sign with: %w", err)
	}
	made, err := bundleOf(ctx, statement, keys, options)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("signing as this job: %w", context.Cause(ctx))
	}
	if err != nil { // a service may have answered with what it was sent
		return nil, errors.New(strings.ReplaceAll(err.Error(), token, "***"))
	}
	return made, nil
}

// options picks the services.
func (k Keyless) options(ctx context.Context) (sign.BundleOptions, error) {
	trusted, services, err := k.material(ctx)
	if err != nil {
		return sign.BundleOptions{}, err
	}
	o := sign.BundleOptions{TrustedRoot: trusted}
	now := time.Now()
	fulcio, err := root.SelectService(services.FulcioCertificateAuthorityURLs(), sign.FulcioAPIVersions, now)
	if err != nil {
		return o, outcome.Usagef("signing as this job: sigstore's signing configuration has no certificate authority for today: %s", line(err))
	}
	o.CertificateProvider = sign.NewFulcio(&sign.FulcioOptions{BaseURL: fulcio.URL, Timeout: callTimeout, Retries: callRetries})
	if len(services.TimestampAuthorityURLs()) > 0 {
		found, err := root.SelectServices(services.TimestampAuthorityURLs(), services.TimestampAuthorityURLsConfig(), sign.TimestampAuthorityAPIVersions, now)
		if err != nil {
			return o, outcome.Usagef("signing as this job: sigstore's signing configuration has no timestamp authority for today: %s", line(err))
		}
		for _, s := range found {
			o.TimestampAuthorities = append(o.TimestampAuthorities, sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{
				URL: s.URL, Timeout: callTimeout, Retries: callRetries,
			}))
		}
	}
	if len(services.RekorLogURLs()) > 0 {
		found, err := root.SelectServices(services.RekorLogURLs(), services.RekorLogURLsConfig(), sign.RekorAPIVersions, now)
		if err != nil {
			return o, outcome.Usagef("signing as this job: sigstore's signing configuration has no transparency log for today: %s", line(err))
		}
		for _, s := range found {
			o.TransparencyLogs = append(o.TransparencyLogs, sign.NewRekor(&sign.RekorOptions{
				BaseURL: s.URL, Timeout: callTimeout, Retries: callRetries, Version: s.MajorAPIVersion,
			}))
		}
	}
	return o, nil
}

func (k Keyless) material(ctx context.Context) (root.TrustedMaterial, *root.SigningConfig, error) {
	if k.Trusted != nil && k.Services != nil {
		return k.Trusted, k.Services, nil
	}
	if k.Trusted != nil || k.Services != nil {
		return nil, nil, outcome.Usagef("signing with another sigstore needs both its trusted root and its signing configuration: give --trusted-root and --signing-config")
	}
	client, err := public(ctx)
	if err != nil {
		return nil, nil, err
	}
	trusted, err := root.GetTrustedRoot(client)
	if err != nil {
		return nil, nil, fmt.Errorf("reading sigstore's trusted root: %s", line(err))
	}
	services, err := root.GetSigningConfig(client)
	if err != nil {
		return nil, nil, fmt.Errorf("reading sigstore's signing configuration: %s", line(err))
	}
	return trusted, services, nil
}

// Verifier implements Signer: it trusts the identity that the job has now.
func (k Keyless) Verifier(ctx context.Context) (*Verifier, error) {
	token, err := k.Token(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking who this job is: %w", err)
	}
	identity, err := identityOf(token)
	if err != nil {
		return nil, err
	}
	trusted := k.Trusted
	if trusted == nil {
		if trusted, err = PublicRoot(ctx); err != nil {
			return nil, err
		}
	}
	return TrustIdentity(trusted, identity)
}

// claims of an identity token that decide what Fulcio certifies.
// https://github.com/sigstore/fulcio/blob/main/docs/oidc.md
type claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Email    string `json:"email"`
	Workflow string `json:"job_workflow_ref"` // GitHub's
	Server   string `json:"server_url"`
}

// identityOf is the identity that Fulcio certifies for a token. Whether the token
// is genuine is Fulcio's business.
func identityOf(token string) (Identity, error) {
	unreadable := errors.New("asking who this job is: its identity token is not in the form that OpenID Connect documents")
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return Identity{}, unreadable
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return Identity{}, unreadable
	}
	var c claims
	if json.Unmarshal(raw, &c) != nil || c.Issuer == "" {
		return Identity{}, unreadable
	}
	name := cmp.Or(c.Email, c.Subject)
	if c.Workflow != "" {
		name = cmp.Or(c.Server, "https://github.com") + "/" + c.Workflow
	}
	return Identity{Name: name, Issuer: c.Issuer}, nil
}
