package signature

import (
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"

	"dagger/slipway/internal/outcome"
)

// GitHubIssuer certifies the identities of jobs of GitHub Actions.
const GitHubIssuer = "https://token.actions.githubusercontent.com"

// Root is what a sigstore's services are known by.
type Root = root.TrustedMaterial

// Identity is whom a certificate must be of.
type Identity struct {
	// Name is the whole name, such as
	// "https://github.com/owner/name/.github/workflows/deliver.yml@refs/heads/main".
	Name string
	// Pattern is a regular expression that the whole name matches; it is there
	// instead of Name or beside it.
	Pattern string
	// Issuer certified the identity to Fulcio; empty means [GitHubIssuer].
	Issuer string
}

// Verifier tells whether a bundle was signed by whom it trusts.
type Verifier struct {
	trusts   string
	inner    *verify.Verifier
	policies []verify.PolicyOption
}

// Verified is what a bundle says that was found good.
type Verified struct {
	// Signer is who signed.
	Signer string `json:"signer"`
	// PredicateType is what kind of statement it is.
	PredicateType string `json:"predicate_type"`
	// At is when it was signed, as far as a log or an authority remembers.
	At time.Time `json:"at,omitzero"`
	// Payload is the statement.
	Payload []byte `json:"-"`
}

// TrustKey trusts whoever has the private half of a key.
func TrustKey(key crypto.PublicKey) (*Verifier, error) {
	checker, err := signature.LoadDefaultVerifier(key)
	if err != nil {
		return nil, outcome.Usagef("the public key cannot be used: %s", line(err))
	}
	held := root.NewExpiringKey(checker, time.Time{}, time.Time{})
	material := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) { return held, nil })
	inner, err := verify.NewVerifier(material, verify.WithNoObserverTimestamps())
	if err != nil {
		return nil, fmt.Errorf("preparing to verify: %w", err)
	}
	return &Verifier{trusts: "the given key", inner: inner, policies: []verify.PolicyOption{verify.WithKey()}}, nil
}

// TrustIdentity trusts an identity, as the services of a trusted root certify it:
// the certificate must be of one of its authorities and have been good when the
// log or the timestamp authority saw the signature, and the signature must be in
// the log. Certificates must be in the root's certificate logs, if it names any.
func TrustIdentity(material Root, id Identity) (*Verifier, error) {
	if id.Name == "" && id.Pattern == "" {
		return nil, outcome.Usagef("whose signature is trusted must be said: give --identity or --identity-regexp")
	}
	if id.Issuer == "" {
		id.Issuer = GitHubIssuer
	}
	pattern := ""
	if id.Pattern != "" {
		pattern = "^(?:" + id.Pattern + ")$" // one that matches a part would trust more than was meant
		if _, err := regexp.Compile(pattern); err != nil {
			return nil, outcome.Usagef("--identity-regexp %q: %w", id.Pattern, err)
		}
	}
	wanted, err := verify.NewShortCertificateIdentity(id.Issuer, "", id.Name, pattern)
	if err != nil {
		return nil, outcome.Usagef("the trusted identity: %s", line(err))
	}
	options := []verify.VerifierOption{verify.WithObserverTimestamps(1)}
	if len(material.RekorLogs()) > 0 {
		options = append(options, verify.WithTransparencyLog(1))
	}
	if len(material.CTLogs()) > 0 {
		options = append(options, verify.WithSignedCertificateTimestamps(1))
	}
	inner, err := verify.NewVerifier(material, options...)
	if err != nil {
		return nil, fmt.Errorf("preparing to verify: %w", err)
	}
	name := id.Name
	if name == "" {
		name = id.Pattern
	}
	return &Verifier{trusts: name, inner: inner, policies: []verify.PolicyOption{verify.WithCertificateIdentity(wanted)}}, nil
}

// Trusts is who is trusted, for people.
func (v *Verifier) Trusts() string { return v.trusts }

// Verify tells whether a bundle is a statement about the image with a digest that
// the trusted signer signed. Its errors are one line.
func (v *Verifier) Verify(data []byte, image v1.Hash) (Verified, error) {
	held := &bundle.Bundle{}
	if err := held.UnmarshalJSON(data); err != nil {
		return Verified{}, fmt.Errorf("it is no sigstore bundle: %s", line(err))
	}
	raw, err := hex.DecodeString(image.Hex)
	if err != nil {
		return Verified{}, fmt.Errorf("%s is no digest", image)
	}
	if envelope := held.GetDsseEnvelope(); envelope == nil || envelope.GetPayloadType() != payloadType {
		return Verified{}, errors.New("what it signs is no in-toto statement")
	}
	result, err := v.inner.Verify(held, verify.NewPolicy(verify.WithArtifactDigest(image.Algorithm, raw), v.policies...))
	if err != nil {
		return Verified{}, explain(err)
	}
	good := Verified{Signer: v.trusts, PredicateType: result.Statement.GetPredicateType(), Payload: held.GetDsseEnvelope().GetPayload()}
	if result.VerifiedIdentity != nil && result.Signature.Certificate != nil {
		good.Signer = result.Signature.Certificate.SubjectAlternativeName
	}
	for _, seen := range result.VerifiedTimestamps {
		good.At = seen.Timestamp.UTC()
	}
	return good, nil
}
