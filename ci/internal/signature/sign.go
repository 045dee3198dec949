package signature

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/sigstore/sigstore-go/pkg/sign"
	"google.golang.org/protobuf/encoding/protojson"
)

// Signer signs in-toto statements.
type Signer interface {
	// Sign returns the bundle of a statement.
	Sign(ctx context.Context, statement []byte) ([]byte, error)
	// Verifier trusts what this signer signs.
	Verifier(ctx context.Context) (*Verifier, error)
}

// keySigner signs with a key that lives long. No log is told: whoever has the
// public key needs none.
type keySigner struct{ key *Key }

// NewKeySigner makes a signer that signs with a key.
func NewKeySigner(key *Key) Signer { return keySigner{key} }

func (s keySigner) Sign(ctx context.Context, statement []byte) ([]byte, error) {
	return bundleOf(ctx, statement, pair{s.key}, sign.BundleOptions{})
}

func (s keySigner) Verifier(context.Context) (*Verifier, error) { return TrustKey(s.key.Public()) }

// bundleOf signs a statement and writes its bundle.
func bundleOf(ctx context.Context, statement []byte, keys sign.Keypair, o sign.BundleOptions) ([]byte, error) {
	o.Context = ctx
	made, err := sign.Bundle(&sign.DSSEData{Data: statement, PayloadType: payloadType}, keys, o)
	if err != nil {
		return nil, fmt.Errorf("signing: %s", line(err))
	}
	data, err := protojson.Marshal(made)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	var out bytes.Buffer // protojson puts in spaces by chance
	err = json.Compact(&out, data)
	return out.Bytes(), err
}
