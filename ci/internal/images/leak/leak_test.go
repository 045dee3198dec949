package leak_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/images/leak"
)

// key is a private key as tools write it.
func key(t *testing.T) string {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func TestFind(t *testing.T) {
	pemKey := key(t)
	body := strings.Repeat("MIIEvQIBADANBgkq", 4)
	id := "AKIA" + "ABCDEFGHIJKLMNO7"
	tests := map[string]struct {
		data, kind string
		line       int
	}{
		"nothing":                    {"<!doctype html>", "", 0},
		"empty":                      {"", "", 0},
		"a PKCS #8 key":              {"<p>\n" + pemKey, "a private key", 2},
		"with Windows' line endings": {strings.ReplaceAll(pemKey, "\n", "\r\n"), "a private key", 1},
		"in a JSON string":           {`{"private_key": "` + strings.ReplaceAll(pemKey, "\n", `\n`) + `"}`, "a private key", 1},
		"an RSA key with headers":    {"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n" + body, "a private key", 1}, // gitleaks:allow // a key that is none
		"an OpenSSH key":             {"-----BEGIN OPENSSH PRIVATE KEY-----\n" + body, "a private key", 1},
		"a PGP key":                  {"-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: 1\n\n" + body, "a private key", 1}, // gitleaks:allow // a key that is none
		"a PuTTY key":                {"PuTTY-User-Key-File-3: ssh-ed25519\n", "a private key", 1},
		"a public key":               {"-----BEGIN PUBLIC KEY-----\n" + body, "", 0},
		"a certificate":              {"-----BEGIN CERTIFICATE-----\n" + body, "", 0},
		"a program that reads keys":  {"-----BEGIN RSA PRIVATE KEY-----invalid keyPRIVATE KEY", "", 0},
		"an access key":              {"a\nb\nkey = " + id + "\n", "an AWS access key id", 3},
		"a temporary access key":     {"ASIA" + id[4:], "an AWS access key id", 1},
		"among a program's strings":  {"nosuch" + id + "other", "an AWS access key id", 1},
		"the first of two":           {"x\n" + id + "\n" + pemKey, "an AWS access key id", 2},
		"the second of two markers":  {"AKIA and " + id, "an AWS access key id", 1},
		"a word":                     {"AKIA is the beginning; AKIAabcdefghijklmnop", "", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			found, ok := leak.Find([]byte(tt.data))
			require.Equal(t, tt.kind != "", ok)
			require.Equal(t, leak.Finding{Kind: tt.kind, Line: tt.line}, found)
		})
	}
}

func TestIsPrivateFile(t *testing.T) {
	for _, file := range []string{".env", ".env.local", "site/.env.production", ".git/config", "a/.git/hooks/x", "certs/server.p12", "KEYS.JKS"} {
		require.True(t, leak.IsPrivateFile(file), file)
	}
	for _, file := range []string{"index.html", ".gitignore", "environment.js", "a.envelope/x", "key.pem.html", ".well-known/security.txt"} {
		require.False(t, leak.IsPrivateFile(file), file)
	}
}

func FuzzFind(f *testing.F) {
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAAAAAAAAAAAAAA"))
	f.Add([]byte("AKIA" + "ABCDEFGHIJKLMNOP"))
	f.Fuzz(func(t *testing.T, data []byte) {
		found, ok := leak.Find(data)
		require.Equal(t, ok, found.Kind != "")
		if ok {
			require.LessOrEqual(t, found.Line, 1+strings.Count(string(data), "\n"))
		}
	})
}
