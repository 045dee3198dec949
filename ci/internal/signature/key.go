package signature

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"runtime"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"

	"dagger/slipway/internal/outcome"
)

// PasswordVariable is the environment variable with the password of an encrypted
// key; it is cosign's.
const PasswordVariable = "COSIGN_PASSWORD"

// makeKey is how to make a key that is taken here.
const makeKey = "make one with openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE, or with cosign generate-key-pair"

// Key is a private key that signs: ECDSA or Ed25519. Printed, it shows nothing of
// itself.
type Key struct {
	signer  crypto.Signer
	details signature.AlgorithmDetails
}

// Format implements fmt.Formatter.
func (*Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, "private key") }

// ReadKey reads a private key from a PEM file: PKCS #8, SEC 1 or cosign's own
// encrypted form, whose password is in the environment. warning is set if others
// than the owner can read the file. What cannot be used is a usage error that
// repeats nothing of the file.
func ReadKey(file string) (key *Key, warning string, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, "", outcome.Usagef("reading the signing key: %w: name a PEM file; %s", err, makeKey)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		warning = fmt.Sprintf("others than its owner may read the signing key %s (%s): chmod 600 %s", file, info.Mode().Perm(), file)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, warning, outcome.Usagef("reading the signing key: %w", err)
	}
	key, err = parseKey(data)
	if err != nil {
		return nil, warning, outcome.Usagef("signing key %s: %w", file, err)
	}
	return key, warning, nil
}

func parseKey(data []byte) (*Key, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("it is no PEM file: %s", makeKey)
	}
	der := block.Bytes
	switch block.Type {
	case "PRIVATE KEY":
	case "EC PRIVATE KEY":
		parsed, err := x509.ParseECPrivateKey(der)
		if err != nil {
			return nil, fmt.Errorf("its content is no EC private key: %s", makeKey)
		}
		return newKey(parsed)
	case "ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY":
		var err error
		if der, err = encrypted.Decrypt(der, []byte(os.Getenv(PasswordVariable))); err != nil {
			return nil, fmt.Errorf("its password is not the one in %s", PasswordVariable)
		}
	case "PUBLIC KEY":
		return nil, fmt.Errorf("it is the public half: name the private key")
	default:
		return nil, fmt.Errorf("a PEM block %q cannot be used: convert it with openssl pkcs8 -topk8 -nocrypt", block.Type)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("its content is no PKCS #8 private key: %s", makeKey)
	}
	return newKey(parsed)
}

func newKey(parsed any) (*Key, error) {
	switch parsed.(type) {
	case *ecdsa.PrivateKey, ed25519.PrivateKey:
	default:
		return nil, fmt.Errorf("it is neither an ECDSA nor an Ed25519 key: %s", makeKey)
	}
	signer := parsed.(crypto.Signer)
	details, err := signature.GetDefaultAlgorithmDetails(signer.Public())
	if err != nil {
		return nil, fmt.Errorf("its curve is not used for signatures: %s", makeKey)
	}
	return &Key{signer: signer, details: details}, nil
}

// ReadPublicKey reads a public key from a PEM file.
func ReadPublicKey(file string) (crypto.PublicKey, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, outcome.Usagef("reading the public key: %w", err)
	}
	if block, _ := pem.Decode(data); block != nil && block.Type != "PUBLIC KEY" {
		return nil, outcome.Usagef("public key %s: it has a PEM block %q: extract the public half with openssl pkey -in PRIVATE -pubout", file, block.Type)
	}
	key, err := cryptoutils.UnmarshalPEMToPublicKey(data)
	if err != nil {
		return nil, outcome.Usagef("public key %s: it is no PEM file with a public key, as cosign generate-key-pair and openssl pkey -pubout write it", file)
	}
	if _, err := signature.LoadDefaultVerifier(key); err != nil {
		return nil, outcome.Usagef("public key %s: %s", file, line(err))
	}
	return key, nil
}

// Public is the public half.
func (k *Key) Public() crypto.PublicKey { return k.signer.Public() }

// pair is a key as sigstore-go wants it.
type pair struct{ *Key }

func (p pair) GetHashAlgorithm() protocommon.HashAlgorithm { return p.details.GetProtoHashType() }
func (p pair) GetSigningAlgorithm() protocommon.PublicKeyDetails {
	return p.details.GetSignatureAlgorithm()
}
func (p pair) GetPublicKey() crypto.PublicKey { return p.Public() }

// GetHint is by which a verifier with several keys finds this one.
func (p pair) GetHint() []byte {
	der, err := x509.MarshalPKIXPublicKey(p.Public())
	if err != nil {
		return nil
	}
	sum := sha256.Sum256(der)
	return []byte(base64.StdEncoding.EncodeToString(sum[:]))
}

func (p pair) GetKeyAlgorithm() string {
	if p.details.GetKeyType() == signature.ED25519 {
		return "ED25519"
	}
	return "ECDSA"
}

func (p pair) GetPublicKeyPem() (string, error) {
	encoded, err := cryptoutils.MarshalPublicKeyToPEM(p.Public())
	return string(encoded), err
}

// SignData signs data, and returns with the signature what was signed: a hash,
// other than with Ed25519, which hashes by itself.
func (p pair) SignData(_ context.Context, data []byte) (sig, signed []byte, err error) {
	hash := p.details.GetHashType()
	if hash != crypto.Hash(0) {
		hasher := hash.New()
		hasher.Write(data)
		data = hasher.Sum(nil)
	}
	sig, err = p.signer.Sign(rand.Reader, data, hash)
	return sig, data, err
}
