package signature

import (
	"context"

	"dagger/slipway/internal/outcome"
)

// Trust says whose signature is trusted, as people give it.
type Trust struct {
	// Key is the file of a public key.
	Key string
	// Identity is whom sigstore must have certified.
	Identity Identity
	// TrustedRoot is the file that sigstore's services are known by; empty asks its
	// public ones.
	TrustedRoot string
}

// Given tells whether anybody is named.
func (t Trust) Given() bool { return t.Key != "" || t.byIdentity() }

func (t Trust) byIdentity() bool { return t.Identity.Name != "" || t.Identity.Pattern != "" }

// Verifier makes the verifier of what is trusted.
func (t Trust) Verifier(ctx context.Context) (*Verifier, error) {
	switch {
	case t.Key != "" && t.byIdentity():
		return nil, outcome.Usagef("--key and --identity say two things about who is trusted: leave out one of them")
	case t.Key != "":
		key, err := ReadPublicKey(t.Key)
		if err != nil {
			return nil, err
		}
		return TrustKey(key)
	case !t.byIdentity():
		return nil, outcome.Usagef("whose signature is trusted must be said: give --key FILE, or --identity NAME")
	}
	read := PublicRoot
	if t.TrustedRoot != "" {
		read = func(context.Context) (Root, error) { return ReadRoot(t.TrustedRoot) }
	}
	trusted, err := read(ctx)
	if err != nil {
		return nil, err
	}
	return TrustIdentity(trusted, t.Identity)
}

// Required is the verifier of a release whose images must be signed; nil if they
// need not be.
func (t Trust) Required(ctx context.Context, required bool) (*Verifier, error) {
	if !required && t.Given() {
		return nil, outcome.Usagef("--key and --identity say whose signature is required: add --require-signature")
	}
	if !required {
		return nil, nil
	}
	return t.Verifier(ctx)
}
