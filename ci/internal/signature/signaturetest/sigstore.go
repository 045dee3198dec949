// Package signaturetest is a sigstore for tests, without a network: a certificate
// authority and a transparency log on this machine, and keys.
package signaturetest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	prototrustroot "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"

	"dagger/slipway/internal/signature"
)

// Sigstore is a certificate authority (Fulcio) and a transparency log (Rekor).
type Sigstore struct {
	// Trusted and Services are what clients know of it.
	Trusted  *root.TrustedRoot
	Services *root.SigningConfig
	// Late is how much later than now the log says that it saw a signature.
	Late time.Duration
	// Broken, if not 0, is the status that the authority answers with, repeating
	// what it was sent.
	Broken int

	t            testing.TB
	log          *ca.VirtualSigstore
	intermediate *x509.Certificate
	key          *ecdsa.PrivateKey
}

// New starts a sigstore for the time of a test.
func New(t testing.TB) *Sigstore {
	t.Helper()
	s := &Sigstore{t: t}
	rootCert, rootKey, err := ca.GenerateRootCa()
	require.NoError(t, err)
	s.intermediate, s.key, err = ca.GenerateFulcioIntermediate(rootCert, rootKey)
	require.NoError(t, err)
	s.log, err = ca.NewVirtualSigstore()
	require.NoError(t, err)

	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v2/signingCert", s.certify)
	mux.HandleFunc("POST /api/v1/log/entries", s.remember)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)

	authority := &root.FulcioCertificateAuthority{
		Root: rootCert, Intermediates: []*x509.Certificate{s.intermediate}, URI: server.URL,
		ValidityPeriodStart: time.Now().Add(-time.Hour), ValidityPeriodEnd: time.Now().Add(24 * time.Hour),
	}
	logs := s.log.RekorLogs()
	for id, log := range logs {
		log.ID, err = hex.DecodeString(id)
		require.NoError(t, err)
	}
	s.Trusted, err = root.NewTrustedRoot(root.TrustedRootMediaType01, []root.CertificateAuthority{authority}, nil, nil, logs)
	require.NoError(t, err)
	service := []root.Service{{URL: server.URL, MajorAPIVersion: 1, ValidityPeriodStart: time.Now().Add(-time.Hour)}}
	s.Services, err = root.NewSigningConfig(root.SigningConfigMediaType02, service, nil, service,
		root.ServiceConfiguration{Selector: prototrustroot.ServiceSelector_ANY}, nil, root.ServiceConfiguration{})
	require.NoError(t, err)
	return s
}

// Workflow is the identity of a job.
const Workflow = "https://github.com/owner/name/.github/workflows/deliver.yml@refs/heads/main"

// Token is an identity token of a job.
func Token() string {
	claims, _ := json.Marshal(map[string]string{ // strings can always be encoded
		"iss": signature.GitHubIssuer, "sub": "repo:owner/name:ref:refs/heads/main", "aud": signature.Audience,
		"job_workflow_ref": strings.TrimPrefix(Workflow, "https://github.com/"),
	})
	return "e30." + base64.RawURLEncoding.EncodeToString(claims) + ".c2lnbmF0dXJl"
}

// Keyless signs as the job.
func (s *Sigstore) Keyless() signature.Keyless {
	return signature.Keyless{
		Token: func(context.Context) (string, error) { return Token(), nil }, Trusted: s.Trusted, Services: s.Services,
	}
}

// Unchecked signs as the job and does not look at what comes out.
func (s *Sigstore) Unchecked(statement []byte) []byte {
	s.t.Helper()
	address := s.Services.FulcioCertificateAuthorityURLs()[0].URL
	keys, err := sign.NewEphemeralKeypair(nil)
	require.NoError(s.t, err)
	made, err := sign.Bundle(&sign.DSSEData{Data: statement, PayloadType: "application/vnd.in-toto+json"}, keys, sign.BundleOptions{
		CertificateProvider:        sign.NewFulcio(&sign.FulcioOptions{BaseURL: address}),
		CertificateProviderOptions: &sign.CertificateProviderOptions{IDToken: Token()},
		TransparencyLogs:           []sign.Transparency{sign.NewRekor(&sign.RekorOptions{BaseURL: address, Version: 1})},
	})
	require.NoError(s.t, err)
	data, err := protojson.Marshal(made)
	require.NoError(s.t, err)
	return data
}

// Files writes what clients know of the sigstore.
func (s *Sigstore) Files() (trustedRoot, signingConfig string) {
	s.t.Helper()
	dir := s.t.TempDir()
	trustedRoot, signingConfig = filepath.Join(dir, "trusted_root.json"), filepath.Join(dir, "signing_config.json")
	for file, content := range map[string]json.Marshaler{trustedRoot: s.Trusted, signingConfig: s.Services} {
		data, err := content.MarshalJSON()
		require.NoError(s.t, err)
		require.NoError(s.t, os.WriteFile(file, data, 0o600))
	}
	return trustedRoot, signingConfig
}

// certify is Fulcio's: a certificate of ten minutes for who the token says.
func (s *Sigstore) certify(w http.ResponseWriter, r *http.Request) {
	if s.Broken != 0 {
		http.Error(w, "no: "+r.Header.Get("Authorization"), s.Broken)
		return
	}
	var asked struct {
		PublicKeyRequest struct {
			PublicKey struct{ Content string }
		}
	}
	err := json.NewDecoder(r.Body).Decode(&asked)
	block, _ := pem.Decode([]byte(asked.PublicKeyRequest.PublicKey.Content))
	if err != nil || block == nil || r.Header.Get("Authorization") != "Bearer "+Token() {
		http.Error(w, "not understood", http.StatusBadRequest)
		return
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	leaf, err := s.leaf(key)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	encoded := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf}))
	_ = json.NewEncoder(w).Encode(map[string]any{"signedCertificateEmbeddedSct": map[string]any{"chain": map[string]any{"certificates": []string{encoded}}}})
}

func (s *Sigstore) leaf(key crypto.PublicKey) ([]byte, error) {
	name, err := url.Parse(Workflow)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), URIs: []*url.URL{name},
		NotBefore: time.Now().Add(-time.Second), NotAfter: time.Now().Add(10 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		// https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte(signature.GitHubIssuer)}},
	}
	return x509.CreateCertificate(rand.Reader, template, s.intermediate, key, s.key)
}

// remember is Rekor's.
func (s *Sigstore) remember(w http.ResponseWriter, r *http.Request) {
	entry, err := s.entry(r)
	if err != nil {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]any{"code": http.StatusBadRequest, "message": err.Error()})
		return
	}
	const id = "00"
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("ETag", id)
	w.Header().Set("Location", "/api/v1/log/entries/"+id)
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{id: entry})
}

func (s *Sigstore) entry(r *http.Request) (map[string]any, error) {
	var proposed struct {
		Kind string
		Spec struct {
			ProposedContent struct {
				Envelope  string
				Verifiers [][]byte
			}
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&proposed); err != nil {
		return nil, err
	}
	content := proposed.Spec.ProposedContent
	var envelope dsse.Envelope
	if err := json.Unmarshal([]byte(content.Envelope), &envelope); err != nil {
		return nil, err
	}
	if proposed.Kind != "dsse" || len(content.Verifiers) == 0 || len(envelope.Signatures) == 0 {
		return nil, fmt.Errorf("an entry of kind %s cannot be remembered", proposed.Kind)
	}
	block, _ := pem.Decode(content.Verifiers[0])
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	sig, err := base64.StdEncoding.DecodeString(envelope.Signatures[0].Sig)
	if err != nil {
		return nil, err
	}
	made, err := s.log.GenerateTlogEntry(leaf, &envelope, sig, time.Now().Add(s.Late).Unix(), true)
	if err != nil {
		return nil, err
	}
	e := made.TransparencyLogEntry()
	hashes := []string{}
	for _, hash := range e.InclusionProof.Hashes {
		hashes = append(hashes, hex.EncodeToString(hash))
	}
	payload := tlog.RekorPayload{
		Body: base64.StdEncoding.EncodeToString(e.CanonicalizedBody), IntegratedTime: e.IntegratedTime,
		LogIndex: e.LogIndex, LogID: hex.EncodeToString(e.LogId.KeyId),
	}
	promise, err := s.log.RekorSignPayload(payload)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"body": payload.Body, "integratedTime": payload.IntegratedTime, "logID": payload.LogID, "logIndex": payload.LogIndex,
		"verification": map[string]any{
			"signedEntryTimestamp": base64.StdEncoding.EncodeToString(promise),
			"inclusionProof": map[string]any{
				"checkpoint": e.InclusionProof.Checkpoint.Envelope, "hashes": hashes, "logIndex": e.InclusionProof.LogIndex,
				"rootHash": hex.EncodeToString(e.InclusionProof.RootHash), "treeSize": e.InclusionProof.TreeSize,
			},
		},
	}, nil
}

// NewKey makes a private key of a kind: "ECDSA", "Ed25519", "RSA" or "P-224".
func NewKey(t testing.TB, kind string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch kind {
	case "ECDSA":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "P-224":
		key, err = ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	case "RSA":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	require.NoError(t, err)
	return key
}

// KeyFiles writes both halves of a new key as PEM files.
func KeyFiles(t testing.TB, kind string) (private, public string) {
	t.Helper()
	key := NewKey(t, kind)
	dir := t.TempDir()
	private, public = filepath.Join(dir, "key.pem"), filepath.Join(dir, "key.pub")
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(private, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	der, err = x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600))
	return private, public
}
