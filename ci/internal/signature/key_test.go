package signature_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	prototrustroot "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/signature"
	"dagger/slipway/internal/signature/signaturetest"
)

// pemFile writes a PEM file with one block.
func pemFile(t *testing.T, kind string, der []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return file
}

func pkcs8(t *testing.T, kind string) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(signaturetest.NewKey(t, kind))
	require.NoError(t, err)
	return der
}

func TestReadKey(t *testing.T) {
	sec1, err := x509.MarshalECPrivateKey(signaturetest.NewKey(t, "ECDSA").(*ecdsa.PrivateKey))
	require.NoError(t, err)
	locked, err := encrypted.Encrypt(pkcs8(t, "ECDSA"), []byte("planted-password"))
	require.NoError(t, err)
	t.Setenv(signature.PasswordVariable, "planted-password")
	for name, file := range map[string]string{
		"SEC 1":            pemFile(t, "EC PRIVATE KEY", sec1),
		"PKCS #8":          pemFile(t, "PRIVATE KEY", pkcs8(t, "ECDSA")),
		"Ed25519":          pemFile(t, "PRIVATE KEY", pkcs8(t, "Ed25519")),
		"cosign's":         pemFile(t, "ENCRYPTED SIGSTORE PRIVATE KEY", locked),
		"cosign's old one": pemFile(t, "ENCRYPTED COSIGN PRIVATE KEY", locked),
	} {
		t.Run(name, func(t *testing.T) {
			key, warning, err := signature.ReadKey(file)
			require.NoError(t, err)
			require.Empty(t, warning)
			verifier, err := signature.TrustKey(key.Public())
			require.NoError(t, err)
			_, err = verifier.Verify(sign(t, signature.NewKeySigner(key), image), image)
			require.NoError(t, err)
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
				require.Equal(t, "private key", fmt.Sprintf(verb, key))
			}
		})
	}
}

func TestReadKeyFails(t *testing.T) {
	locked, err := encrypted.Encrypt(pkcs8(t, "ECDSA"), []byte("planted-password"))
	require.NoError(t, err)
	t.Setenv(signature.PasswordVariable, "wrong-password")
	text := filepath.Join(t.TempDir(), "key.txt")
	require.NoError(t, os.WriteFile(text, []byte("planted-secret"), 0o600))
	_, public := signaturetest.KeyFiles(t, "ECDSA")
	tests := map[string]struct{ file, want string }{
		"no file":                {filepath.Join(t.TempDir(), "nope"), "reading the signing key"},
		"a folder":               {t.TempDir(), "reading the signing key"},
		"not PEM":                {text, "it is no PEM file"},
		"a wrong password":       {pemFile(t, "ENCRYPTED SIGSTORE PRIVATE KEY", locked), "its password is not the one in COSIGN_PASSWORD"},
		"the public half":        {public, "it is the public half"},
		"a certificate":          {pemFile(t, "CERTIFICATE", []byte("planted-secret")), `a PEM block "CERTIFICATE" cannot be used`},
		"encrypted by openssl":   {pemFile(t, "ENCRYPTED PRIVATE KEY", []byte("planted-secret")), "openssl pkcs8"},
		"RSA":                    {pemFile(t, "PRIVATE KEY", pkcs8(t, "RSA")), "neither an ECDSA nor an Ed25519 key"},
		"a curve for other uses": {pemFile(t, "PRIVATE KEY", pkcs8(t, "P-224")), "its curve is not used for signatures"},
		"broken PKCS #8":         {pemFile(t, "PRIVATE KEY", []byte("planted-secret")), "no PKCS #8 private key"},
		"broken SEC 1":           {pemFile(t, "EC PRIVATE KEY", []byte("planted-secret")), "no EC private key"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, _, err := signature.ReadKey(tt.file)
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), "planted")
			require.NotContains(t, err.Error(), "wrong-password")
			require.NotContains(t, err.Error(), "\n")
			require.Equal(t, outcome.Usage, outcome.Of(err))
		})
	}
}

func TestOthersMayReadTheKey(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no permission bits: run this on another system")
	}
	private, _ := signaturetest.KeyFiles(t, "ECDSA")
	require.NoError(t, os.Chmod(private, 0o644))
	key, warning, err := signature.ReadKey(private)
	require.NoError(t, err)
	require.NotNil(t, key)
	require.Contains(t, warning, "chmod 600 "+private)
}

func TestReadPublicKeyFails(t *testing.T) {
	private, _ := signaturetest.KeyFiles(t, "ECDSA")
	weak, err := x509.MarshalPKIXPublicKey(signaturetest.NewKey(t, "P-224").Public())
	require.NoError(t, err)
	text := filepath.Join(t.TempDir(), "key.txt")
	require.NoError(t, os.WriteFile(text, []byte("text"), 0o600))
	for want, file := range map[string]string{
		"reading the public key":           filepath.Join(t.TempDir(), "nope"),
		"openssl pkey -in PRIVATE -pubout": private,
		"it is no PEM file with":           text,
		"unsupported public key type":      pemFile(t, "PUBLIC KEY", weak),
	} {
		_, err := signature.ReadPublicKey(file)
		require.ErrorContains(t, err, want)
		require.Equal(t, outcome.Usage, outcome.Of(err))
	}
}

func TestFiles(t *testing.T) {
	sigstore := signaturetest.New(t)
	trusted, services := sigstore.Files()
	material, err := signature.ReadRoot(trusted)
	require.NoError(t, err)
	config, err := signature.ReadServices(services)
	require.NoError(t, err)
	signer := sigstore.Keyless()
	signer.Trusted, signer.Services = material, config
	bundle := sign(t, signer, image)
	verifier, err := signature.TrustIdentity(material, signature.Identity{Name: signaturetest.Workflow})
	require.NoError(t, err)
	_, err = verifier.Verify(bundle, image)
	require.NoError(t, err)

	_, err = signature.ReadRoot(services)
	require.ErrorContains(t, err, "cosign trusted-root create")
	require.Equal(t, outcome.Usage, outcome.Of(err))
	_, err = signature.ReadServices(trusted)
	require.ErrorContains(t, err, "cosign signing-config create")
	require.Equal(t, outcome.Usage, outcome.Of(err))
}

func TestKeylessFails(t *testing.T) {
	sigstore := signaturetest.New(t)
	fails := func(change func(*signature.Keyless)) error {
		signer := sigstore.Keyless()
		change(&signer)
		_, err := signer.Sign(t.Context(), statement(t, image))
		require.Error(t, err)
		require.NotContains(t, err.Error(), signaturetest.Token())
		return err
	}
	require.ErrorContains(t, fails(func(k *signature.Keyless) {
		k.Token = func(context.Context) (string, error) { return "", errors.New("GitHub says no") }
	}), "signing as this job: GitHub says no")
	require.ErrorContains(t, fails(func(k *signature.Keyless) {
		k.Token = func(context.Context) (string, error) { return "no token", nil }
	}), "signing: ")
	require.ErrorContains(t, fails(func(k *signature.Keyless) { k.Services = nil }), "give --trusted-root and --signing-config")
	config := func(authority, log, stamp []root.Service) *root.SigningConfig {
		one := root.ServiceConfiguration{Selector: prototrustroot.ServiceSelector_ANY}
		made, err := root.NewSigningConfig(root.SigningConfigMediaType02, authority, nil, log, one, stamp, one)
		require.NoError(t, err)
		return made
	}
	now := sigstore.Services.FulcioCertificateAuthorityURLs()
	past := []root.Service{{URL: now[0].URL, MajorAPIVersion: 1, ValidityPeriodStart: time.Unix(0, 0), ValidityPeriodEnd: time.Unix(1, 0)}}
	for want, services := range map[string]*root.SigningConfig{
		"no certificate authority for today": config(nil, now, nil),
		"no timestamp authority for today":   config(now, now, past),
		"no transparency log for today":      config(now, past, nil),
		"404":                                config(now, now, now), // it has no timestamp authority
	} {
		require.ErrorContains(t, fails(func(k *signature.Keyless) { k.Services = services }), want)
	}

	sigstore.Broken = http.StatusForbidden
	require.ErrorContains(t, fails(func(*signature.Keyless) {}), "Fulcio returned 403: no: Bearer ***")

	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("told to stop"))
	_, err := sigstore.Keyless().Sign(ctx, statement(t, image))
	require.Error(t, err)
}

func TestWhoTheJobIs(t *testing.T) {
	sigstore := signaturetest.New(t)
	for name, token := range map[string]string{
		"no token": "abc", "not base64": "a.*.c", "not JSON": "a.e30x.c", "no issuer": "e30.e30.e30",
	} {
		t.Run(name, func(t *testing.T) {
			signer := sigstore.Keyless()
			signer.Token = func(context.Context) (string, error) { return token, nil }
			_, err := signer.Verifier(t.Context())
			require.ErrorContains(t, err, "not in the form that OpenID Connect documents")
		})
	}
	signer := sigstore.Keyless()
	signer.Token = func(context.Context) (string, error) { return "", errors.New("GitHub says no") }
	_, err := signer.Verifier(t.Context())
	require.ErrorContains(t, err, "asking who this job is: GitHub says no")
}

// offline makes every request to sigstore's public services end on this machine.
func offline(t *testing.T, status int) {
	t.Helper()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	t.Cleanup(proxy.Close)
	carrier := http.DefaultTransport.(*http.Transport)
	before := carrier.Proxy
	carrier.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(proxy.URL) }
	t.Cleanup(func() { carrier.Proxy = before; carrier.CloseIdleConnections() })
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
}

func TestPublicServicesOutOfReach(t *testing.T) {
	offline(t, http.StatusBadGateway)
	_, err := signature.PublicRoot(t.Context())
	require.ErrorContains(t, err, "reading sigstore's trusted root from https://tuf-repo-cdn.sigstore.dev")
	require.ErrorContains(t, err, "--trusted-root")
	require.NotContains(t, err.Error(), "\n")

	signer := signature.Keyless{Token: func(context.Context) (string, error) { return signaturetest.Token(), nil }}
	_, err = signer.Sign(t.Context(), statement(t, image))
	require.ErrorContains(t, err, "reading sigstore's trusted root")
	_, err = signer.Verifier(t.Context())
	require.ErrorContains(t, err, "reading sigstore's trusted root")

	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("told to stop"))
	_, err = signature.PublicRoot(ctx)
	require.ErrorContains(t, err, "told to stop")
}
