package signature_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/provenance"
	"dagger/slipway/internal/signature"
	"dagger/slipway/internal/signature/signaturetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	image = v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("ab", 32)}
	other = v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("cd", 32)}
)

func statement(t *testing.T, digest v1.Hash) []byte {
	t.Helper()
	made, err := provenance.Statement("backend", digest, signature.PredicateType, []byte("{}"))
	require.NoError(t, err)
	return made
}

// keys makes a signer of a kind, and a verifier that trusts it.
func keys(t *testing.T, kind string) (signature.Signer, *signature.Verifier) {
	t.Helper()
	private, public := signaturetest.KeyFiles(t, kind)
	key, warning, err := signature.ReadKey(private)
	require.NoError(t, err)
	require.Empty(t, warning)
	half, err := signature.ReadPublicKey(public)
	require.NoError(t, err)
	verifier, err := signature.TrustKey(half)
	require.NoError(t, err)
	return signature.NewKeySigner(key), verifier
}

func sign(t *testing.T, signer signature.Signer, digest v1.Hash) []byte {
	t.Helper()
	made, err := signer.Sign(t.Context(), statement(t, digest))
	require.NoError(t, err)
	return made
}

// change changes a bundle's JSON: path names the fields on the way.
func change(t *testing.T, bundle []byte, value func(any) any, path ...string) []byte {
	t.Helper()
	var content map[string]any
	require.NoError(t, json.Unmarshal(bundle, &content))
	at := content
	for _, field := range path[:len(path)-1] {
		switch next := at[field].(type) {
		case map[string]any:
			at = next
		case []any:
			at = next[0].(map[string]any)
		default:
			require.Fail(t, "no such field", "%s in %s", field, bundle)
		}
	}
	last := path[len(path)-1]
	if made := value(at[last]); made == nil {
		delete(at, last)
	} else {
		at[last] = made
	}
	changed, err := json.Marshal(content)
	require.NoError(t, err)
	return changed
}

func to(value any) func(any) any { return func(any) any { return value } }

func TestKeys(t *testing.T) {
	for _, kind := range []string{"ECDSA", "Ed25519"} {
		t.Run(kind, func(t *testing.T) {
			signer, verifier := keys(t, kind)
			bundle := sign(t, signer, image)
			good, err := verifier.Verify(bundle, image)
			require.NoError(t, err)
			require.Equal(t, signature.PredicateType, good.PredicateType)
			require.JSONEq(t, string(statement(t, image)), string(good.Payload))
			require.Equal(t, "the given key", good.Signer)
			require.Zero(t, good.At, "nobody but the signer saw it")

			own, err := signer.Verifier(t.Context())
			require.NoError(t, err)
			_, err = own.Verify(bundle, image)
			require.NoError(t, err)
		})
	}
}

func TestKeyless(t *testing.T) {
	sigstore := signaturetest.New(t)
	bundle := sign(t, sigstore.Keyless(), image)
	for name, id := range map[string]signature.Identity{
		"by name":    {Name: signaturetest.Workflow},
		"by pattern": {Pattern: `https://github\.com/owner/name/.*`, Issuer: signature.GitHubIssuer},
	} {
		t.Run(name, func(t *testing.T) {
			verifier, err := signature.TrustIdentity(sigstore.Trusted, id)
			require.NoError(t, err)
			good, err := verifier.Verify(bundle, image)
			require.NoError(t, err)
			require.Equal(t, signaturetest.Workflow, good.Signer)
			require.WithinDuration(t, time.Now(), good.At, time.Minute, "the log remembers when")
		})
	}
	own, err := sigstore.Keyless().Verifier(t.Context())
	require.NoError(t, err)
	require.Equal(t, signaturetest.Workflow, own.Trusts())
	_, err = own.Verify(bundle, image)
	require.NoError(t, err)
}

func TestRefused(t *testing.T) {
	signer, verifier := keys(t, "ECDSA")
	edSigner, edVerifier := keys(t, "Ed25519")
	sigstore, foreign := signaturetest.New(t), signaturetest.New(t)
	trust := func(material root.TrustedMaterial, id signature.Identity) *signature.Verifier {
		made, err := signature.TrustIdentity(material, id)
		require.NoError(t, err)
		return made
	}
	job := signature.Identity{Name: signaturetest.Workflow}
	keyed, edKeyed, keyless := sign(t, signer, image), sign(t, edSigner, image), sign(t, sigstore.Keyless(), image)
	forged := base64.StdEncoding.EncodeToString(statement(t, other))
	expired := signaturetest.New(t)
	expired.Late = 30 * time.Minute // the certificate lasts ten minutes, the log's key an hour
	_, err := expired.Keyless().Sign(t.Context(), statement(t, image))
	require.ErrorContains(t, err, "outside certificate validity", "a signer looks at what it made")

	tests := map[string]struct {
		bundle   []byte
		verifier *signature.Verifier
		digest   v1.Hash
		want     string
	}{
		"a signature of another image":     {keyed, verifier, other, "it is the signature of another image"},
		"of another image, keyless":        {keyless, trust(sigstore.Trusted, job), other, "it is the signature of another image"},
		"another key":                      {keyed, func() *signature.Verifier { _, v := keys(t, "ECDSA"); return v }(), image, "another key signed it, or what it signs was changed"},
		"another kind of key":              {keyed, edVerifier, image, "signature"},
		"and the other way round":          {edKeyed, verifier, image, "signature"},
		"a payload that was replaced":      {change(t, keyed, to(forged), "dsseEnvelope", "payload"), verifier, other, "another key signed it, or what it signs was changed"},
		"replaced, keyless":                {change(t, keyless, to(forged), "dsseEnvelope", "payload"), trust(sigstore.Trusted, job), other, "what it signs was changed"},
		"a certificate that had expired":   {expired.Unchecked(statement(t, image)), trust(expired.Trusted, job), image, "it was signed when its certificate had expired"},
		"a signature that was replaced":    {change(t, keyed, to(base64.StdEncoding.EncodeToString([]byte("no"))), "dsseEnvelope", "signatures", "sig"), verifier, image, "another key signed it, or what it signs was changed"},
		"no signature in the envelope":     {change(t, keyed, to([]any{}), "dsseEnvelope", "signatures"), verifier, image, "signature"},
		"no envelope":                      {change(t, keyed, to(nil), "dsseEnvelope"), verifier, image, "it is no sigstore bundle"},
		"another type of payload":          {change(t, keyed, to("text/plain"), "dsseEnvelope", "payloadType"), verifier, image, "what it signs is no in-toto statement"},
		"not a bundle":                     {[]byte("{}"), verifier, image, "it is no sigstore bundle"},
		"not JSON":                         {[]byte("<html>"), verifier, image, "it is no sigstore bundle"},
		"nothing":                          {nil, verifier, image, "it is no sigstore bundle"},
		"a bundle of times to come":        {change(t, keyed, to("application/vnd.dev.sigstore.bundle.v9.9+json"), "mediaType"), verifier, image, "it is no sigstore bundle"},
		"another job":                      {keyless, trust(sigstore.Trusted, signature.Identity{Name: "https://github.com/evil/fork/.github/workflows/deliver.yml@refs/heads/main"}), image, "another identity signed it"},
		"a pattern that fits a part alone": {keyless, trust(sigstore.Trusted, signature.Identity{Pattern: "github.com/owner/name"}), image, "another identity signed it"},
		"another issuer":                   {keyless, trust(sigstore.Trusted, signature.Identity{Name: signaturetest.Workflow, Issuer: "https://accounts.example.com"}), image, "certified by another issuer"},
		"another sigstore":                 {keyless, trust(foreign.Trusted, job), image, "no transparency log that is trusted has it"},
		"a key where a job is trusted":     {keyed, trust(sigstore.Trusted, job), image, "no transparency log that is trusted has it"},
		"a job where a key is trusted":     {keyless, verifier, image, "an identity signed it, and a key is trusted"},
		"not in the log":                   {change(t, keyless, to(nil), "verificationMaterial", "tlogEntries"), trust(sigstore.Trusted, job), image, "no transparency log that is trusted has it"},
		"a log entry's time was changed": {
			change(t, keyless, to("1000000000"), "verificationMaterial", "tlogEntries", "integratedTime"), trust(sigstore.Trusted, job), image, "log",
		},
		"not a digest": {keyed, verifier, v1.Hash{Algorithm: "sha256", Hex: "xyz"}, "is no digest"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := tt.verifier.Verify(tt.bundle, tt.digest)
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestTrustFails(t *testing.T) {
	sigstore := signaturetest.New(t)
	for want, id := range map[string]signature.Identity{
		"give --identity or --identity-regexp": {},
		`--identity-regexp "("`:                {Pattern: "("},
	} {
		_, err := signature.TrustIdentity(sigstore.Trusted, id)
		require.ErrorContains(t, err, want)
		require.Equal(t, outcome.Usage, outcome.Of(err))
	}
	_, err := signature.TrustKey("not a key")
	require.Equal(t, outcome.Usage, outcome.Of(err))
}
