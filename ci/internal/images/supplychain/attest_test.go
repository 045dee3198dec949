package supplychain_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain/supplychaintest"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func host(t *testing.T) supplychain.Tools {
	return supplychain.Tools{Exec: step.Host{Source: t.TempDir()}, Image: func(string) string { return "" }}
}

// attached returns the types and contents of an image's referrers.
func attached(t *testing.T, from *registry.Registry, s supplychain.Subject) map[string][]string {
	t.Helper()
	digest, err := s.Index.Digest()
	require.NoError(t, err)
	artifacts, err := from.Referrers(t.Context(), s.Repository, digest, "")
	require.NoError(t, err)
	all := map[string][]string{}
	for _, artifact := range artifacts {
		require.NoError(t, validate.Image(artifact, validate.Fast))
		manifest, err := artifact.Manifest()
		require.NoError(t, err)
		require.Equal(t, digest, manifest.Subject.Digest)
		require.NotEmpty(t, manifest.Layers[0].Annotations["org.opencontainers.image.title"])
		layers, err := artifact.Layers()
		require.NoError(t, err)
		stream, err := layers[0].Compressed()
		require.NoError(t, err)
		content, err := io.ReadAll(stream)
		require.NoError(t, err)
		require.NoError(t, stream.Close())
		name := manifest.ArtifactType + " " + manifest.Annotations["in-toto.io/predicate-type"]
		all[name] = append(all[name], string(content))
	}
	return all
}

func TestUnsigned(t *testing.T) {
	tools := supplychaintest.Install(t)
	to := embedded(t)
	subject := publish(t, to)
	a := supplychain.Attestor{Tools: host(t), Registry: to}
	require.NoError(t, a.Require(t.Context()))
	said, err := a.Attest(t.Context(), subject, build)
	require.NoError(t, err)
	require.Equal(t, []string{"sbom of linux/amd64", "sbom of linux/arm64", "provenance"}, said)
	for _, line := range tools.Commands() {
		require.Regexp(t, "^syft (version|scan oci-dir:.* --source-name=backend --source-version=linux/...64)$", line)
	}
	found := attached(t, to, subject)
	require.Len(t, found, 2)
	require.JSONEq(t, `{"spdxVersion":"SPDX-2.3"}`, found["application/spdx+json https://spdx.dev/Document"][0])
	var statement struct {
		Subject       []struct{ Digest map[string]string }
		PredicateType string
		Predicate     struct {
			BuildDefinition struct{ ExternalParameters struct{ Platforms []string } }
		}
	}
	provenance := found["application/vnd.in-toto+json https://slsa.dev/provenance/v1"]
	require.Len(t, provenance, 1)
	require.NoError(t, json.Unmarshal([]byte(provenance[0]), &statement))
	digest, err := subject.Index.Digest()
	require.NoError(t, err)
	require.Equal(t, digest.Hex, statement.Subject[0].Digest["sha256"])
	require.Equal(t, []string{"linux/amd64", "linux/arm64"}, statement.Predicate.BuildDefinition.ExternalParameters.Platforms)

	again, err := a.Attest(t.Context(), subject, build)
	require.NoError(t, err)
	require.Empty(t, again, "what is there stays as it is")
	require.Equal(t, found, attached(t, to, subject))

	broken := embedded(t) // an attestation that ended after its first document
	_, err = broken.Publish(t.Context(), registry.Publication{Repository: "app", Tag: "v1", Index: subject.Index})
	require.NoError(t, err)
	bills, err := to.Referrers(t.Context(), "app", digest, "application/spdx+json")
	require.NoError(t, err)
	_, err = broken.Attach(t.Context(), "app", bills[0])
	require.NoError(t, err)
	a.Registry = broken
	said, err = a.Attest(t.Context(), subject, build)
	require.NoError(t, err)
	require.Len(t, said, 2, "the other bill of materials, and the provenance")
	require.Len(t, attached(t, broken, subject)["application/spdx+json https://spdx.dev/Document"], 2)
}

func TestSigned(t *testing.T) {
	tools := supplychaintest.Install(t)
	to := embedded(t)
	subject := publish(t, to)
	digest, err := subject.Index.Digest()
	require.NoError(t, err)
	private, public := supplychaintest.Keys(t, "one")
	_, other := supplychaintest.Keys(t, "two")
	trust := supplychain.Trust{Key: public}
	err = host(t).Verify(t.Context(), to, "app", digest, trust)
	require.Equal(t, outcome.Refused, outcome.Of(err), err)
	require.ErrorContains(t, err, "is not signed: run slipway publish --sign-key")

	a := supplychain.Attestor{Tools: host(t), Registry: to, Signer: &supplychain.Signer{Key: private}}
	require.NoError(t, a.Require(t.Context()))
	tools.Commands()
	said, err := a.Attest(t.Context(), subject, build)
	require.NoError(t, err)
	require.Equal(t, []string{"signed sbom of linux/amd64", "signed sbom of linux/arm64", "signed provenance", "signature"}, said)
	var commands []string
	for _, line := range tools.Commands() {
		commands = append(commands, strings.Join(strings.Fields(line)[:2], " "))
		require.NotContains(t, line, "AWS", "the login is on no command line")
		if strings.HasPrefix(line, "cosign attest") || strings.HasPrefix(line, "cosign sign") {
			require.Contains(t, line, " --use-signing-config=false --tlog-upload=false ", "a key needs no public log")
			require.True(t, strings.HasSuffix(line, " "+to.Reference("app", digest)), line)
		}
	}
	require.Equal(t, []string{
		"cosign import-key-pair", "cosign verify", "syft scan", "syft scan", "cosign attest", "cosign attest", "cosign attest", "cosign sign", "cosign verify",
	}, commands, "the signature comes last")
	require.NoError(t, host(t).Verify(t.Context(), to, "app", digest, trust))
	again, err := a.Attest(t.Context(), subject, build)
	require.NoError(t, err)
	require.Empty(t, again)

	t.Setenv("FAKE_FORGETS", "yes")
	a.Signer = &supplychain.Signer{Key: strings.Replace(other, ".pub", ".key", 1)}
	_, err = a.Attest(t.Context(), subject, build)
	require.ErrorContains(t, err, "cosign cannot verify its own signature with this key: create a key with cosign generate-key-pair")

	err = host(t).Verify(t.Context(), to, "app", digest, supplychain.Trust{Key: other})
	require.Equal(t, outcome.Refused, outcome.Of(err), err)
	require.ErrorContains(t, err, "is not signed by the given key: no matching attestations")
	t.Setenv("FAKE_BROKEN", "yes")
	err = host(t).Verify(t.Context(), to, "app", digest, trust)
	require.Equal(t, outcome.Failed, outcome.Of(err), "a registry that fails refuses nothing")
	require.ErrorContains(t, err, "verifying the signature of "+to.Reference("app", digest)+": cosign verify ended with exit code 1: GET https://registry: 503")
}

func TestSignedByAJob(t *testing.T) {
	supplychaintest.Install(t)
	t.Setenv("GITHUB_SERVER_URL", "https://github.com")
	t.Setenv("GITHUB_WORKFLOW_REF", "owner/name/.github/workflows/ci.yml@refs/heads/main")
	to := embedded(t)
	subject := publish(t, to)
	build := supplychain.Build{Run: supplychain.Run{Server: "https://github.com", Workflow: "owner/name/.github/workflows/ci.yml@refs/heads/main"}}
	digest, err := subject.Index.Digest()
	require.NoError(t, err)
	a := supplychain.Attestor{Tools: host(t), Registry: to, Signer: &supplychain.Signer{Identity: map[string]string{"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "planted"}}, NoSBOM: true}
	said, err := a.Attest(t.Context(), subject, build)
	require.NoError(t, err)
	require.Equal(t, []string{"signed provenance", "signature"}, said)
	again, err := a.Attest(t.Context(), subject, build)
	require.NoError(t, err)
	require.Empty(t, again, "the same workflow does not sign twice")
	require.NoError(t, host(t).Verify(t.Context(), to, "app", digest, supplychain.Trust{Identity: "https://github.com/owner/name/.github/workflows/ci.yml@refs/heads/main"}))
	err = host(t).Verify(t.Context(), to, "app", digest, supplychain.Trust{Identity: "https://github.com/evil/name"})
	require.Equal(t, outcome.Refused, outcome.Of(err), err)
}

// A called workflow signs with its own name, whoever calls it: the caller is what tells
// signatures apart.
func TestSignedByACalledWorkflow(t *testing.T) {
	supplychaintest.Install(t)
	const called = "slipway-cd/slipway/.github/workflows/deliver.yml@refs/tags/v1.2.3"
	t.Setenv("GITHUB_SERVER_URL", "https://github.com")
	t.Setenv("GITHUB_WORKFLOW_REF", "acme/shop/.github/workflows/ci.yml@refs/heads/main")
	t.Setenv("FAKE_JOB_WORKFLOW_REF", called)
	t.Setenv("GITHUB_REPOSITORY", "acme/shop")
	t.Setenv("GITHUB_REF", "refs/heads/main")
	to := embedded(t)
	subject := publish(t, to)
	digest, err := subject.Index.Digest()
	require.NoError(t, err)
	run := supplychain.Run{
		Server: "https://github.com", Workflow: "acme/shop/.github/workflows/ci.yml@refs/heads/main", JobWorkflow: called, Repository: "acme/shop", Ref: "refs/heads/main",
	}
	a := supplychain.Attestor{Tools: host(t), Registry: to, Signer: &supplychain.Signer{Identity: map[string]string{"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "planted"}}, NoSBOM: true}
	for _, want := range [][]string{{"signed provenance", "signature"}, nil} {
		got, err := a.Attest(t.Context(), subject, supplychain.Build{Run: run})
		require.NoError(t, err)
		require.Equal(t, want, got, "the same workflow does not sign twice")
	}
	for identity, trusted := range map[string]bool{
		"https://github.com/" + called: true,
		"https://github.com/" + called + "?repository=acme/shop&ref=refs/heads/main":                               true,
		"https://github.com/" + called + "?repository=mallory/shop&ref=refs/heads/main":                            false,
		"https://github.com/" + called + "?repository=acme/shop&ref=refs/heads/feature":                            false,
		"https://github.com/acme/shop/.github/workflows/ci.yml@refs/heads/main":                                    false,
		"https://github.com/slipway-cd/slipway/.github/workflows/deliver.yml@refs/tags/v1.2.4?ref=refs/heads/main": false,
	} {
		err := host(t).Verify(t.Context(), to, "app", digest, supplychain.Trust{Identity: identity})
		if trusted {
			require.NoError(t, err, identity)
		} else {
			require.Equal(t, outcome.Refused, outcome.Of(err), identity)
			require.ErrorContains(t, err, "is not signed by "+identity)
		}
	}
	run.Repository = "acme/other"
	again, err := a.Attest(t.Context(), subject, supplychain.Build{Run: run})
	require.NoError(t, err)
	require.NotEmpty(t, again, "the signature of another caller is not the job's own")
}

func TestEncryptedKey(t *testing.T) {
	supplychaintest.Install(t)
	to := embedded(t)
	subject := publish(t, to)
	private := filepath.Join(t.TempDir(), "cosign.key")
	require.NoError(t, os.WriteFile(private, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: []byte("planted")}), 0o600))
	a := supplychain.Attestor{Tools: host(t), Registry: to, Signer: &supplychain.Signer{Key: private}, NoSBOM: true}
	_, err := a.Attest(t.Context(), subject, build)
	require.ErrorContains(t, err, "using the signing key "+private+", with the password in COSIGN_PASSWORD if it has one: cosign public-key ended with exit code 1: decrypt")
	require.Empty(t, attached(t, to, subject))
	t.Setenv("COSIGN_PASSWORD", "right")
	_, err = a.Attest(t.Context(), subject, build)
	require.NoError(t, err)
}

// TestAttestFails: a failure is reported and stops the rest.
func TestAttestFails(t *testing.T) {
	supplychaintest.Install(t, "cosign")
	t.Setenv("PATH", os.Getenv("FAKE")+":/usr/bin:/bin") // syft may be elsewhere on it
	to := embedded(t)
	subject := publish(t, to)
	private, _ := supplychaintest.Keys(t, "one")
	a := supplychain.Attestor{Tools: host(t), Registry: to, Signer: &supplychain.Signer{Key: private}}
	err := a.Require(t.Context())
	require.Equal(t, outcome.Usage, outcome.Of(err))
	require.ErrorContains(t, err, "syft is not on PATH: install it (go install github.com/anchore/syft/cmd/syft@v")
	a.NoSBOM = true
	require.NoError(t, a.Require(t.Context()))
	t.Setenv("FAKE_BROKEN", "yes")
	said, err := a.Attest(t.Context(), subject, build)
	require.ErrorContains(t, err, "attesting backend: ")
	require.Empty(t, said)
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		return file
	}
	private, public := supplychaintest.Keys(t, "one")
	text := write("text", "planted-secret")
	pkcs8 := func(name string, key any) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		require.NoError(t, err)
		return write(name, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	}
	_, edKey, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	p384Key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	p256Key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ed, p384, p256 := pkcs8("ed.pem", edKey), pkcs8("p384.pem", p384Key), pkcs8("p256.pem", p256Key)
	tests := map[string]struct {
		check func() error
		want  string
	}{
		"no trusted signer":        {supplychain.Trust{}.Check, "no trusted signer"},
		"two are":                  {supplychain.Trust{Key: public, Identity: "x"}.Check, "give only one"},
		"a name and a pattern":     {supplychain.Trust{Identity: "x", Pattern: "y"}.Check, "give only one"},
		"a private key to trust":   {supplychain.Trust{Key: private}.Check, "extract the public key"},
		"a text to trust":          {supplychain.Trust{Key: text}.Check, "it is not a PEM file"},
		"no file to trust":         {supplychain.Trust{Key: dir + "/nope"}.Check, "reading the public key"},
		"no expression":            {supplychain.Trust{Pattern: "("}.Check, "error parsing regexp"},
		"an unknown condition":     {supplychain.Trust{Identity: "https://github.com/x?repo=acme/shop"}.Check, `invalid --identity "https://github.com/x?repo=acme/shop": want WORKFLOW or WORKFLOW?repository=OWNER/REPO&ref=REF: "repo"`},
		"an empty condition":       {supplychain.Trust{Identity: "https://github.com/x?repository="}.Check, `ref=REF: "repository"`},
		"two of a condition":       {supplychain.Trust{Identity: "https://github.com/x?ref=a&ref=b"}.Check, `ref=REF: "ref"`},
		"no query":                 {supplychain.Trust{Identity: "https://github.com/x?repository=%zz"}.Check, "invalid URL escape"},
		"no root":                  {supplychain.Trust{Identity: "x", TrustedRoot: text}.Check, "cosign trusted-root create"},
		"no signing configuration": {supplychain.Signer{SigningConfig: dir + "/nope"}.Check, "cosign signing-config create"},
		"a public key to sign":     {supplychain.Signer{Key: public}.Check, "want a private key"},
		"a text to sign with":      {supplychain.Signer{Key: text}.Check, "it is not a PEM file"},
		"an Ed25519 key":           {supplychain.Signer{Key: ed}.Check, "with a key of this type: create a key with cosign generate-key-pair"},
		"a P-384 key":              {supplychain.Signer{Key: p384}.Check, "with a key of this type: create a key with cosign generate-key-pair"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := tt.check()
			require.Equal(t, outcome.Usage, outcome.Of(err), err)
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), "planted")
		})
	}
	require.NoError(t, supplychain.Trust{Key: public}.Check())
	require.NoError(t, supplychain.Trust{Pattern: "https://github.com/owner/.*", TrustedRoot: write("root.json", "{}")}.Check())
	require.NoError(t, supplychain.Signer{Key: private}.Check(), "what cosign alone can read")
	require.NoError(t, supplychain.Signer{Key: p256}.Check())
}

// recorder records the steps.
type recorder struct {
	step.Executor
	steps []step.Step
	given []string
}

func (r *recorder) Run(ctx context.Context, s step.Step, dir string) (step.Result, error) {
	r.steps = append(r.steps, s)
	files, err := os.ReadDir(filepath.Join(dir, "cosign"))
	for _, file := range files {
		r.given = append(r.given, file.Name())
	}
	if err != nil {
		return step.Result{}, err
	}
	return r.Executor.Run(ctx, s, dir)
}

// TestLogin: registry credentials for another program are a secret of its step.
func TestLogin(t *testing.T) {
	supplychaintest.Install(t)
	to := embedded(t)
	subject := publish(t, to)
	digest, err := subject.Index.Digest()
	require.NoError(t, err)
	seen := &recorder{Executor: step.Host{Source: t.TempDir()}}
	tools := supplychain.Tools{Exec: seen, Image: func(name string) string { return "image of " + name }}
	_, public := supplychaintest.Keys(t, "one")
	require.Error(t, tools.Verify(t.Context(), to, "app", digest, supplychain.Trust{Key: public}))
	require.Len(t, seen.steps, 1)
	s := seen.steps[0]
	require.Equal(t, "image of cosign", s.Image)
	require.Contains(t, s.Secrets["DOCKER_AUTH_CONFIG"], `{"auths":{"`+to.Host+`":{"auth":"`)
	require.Equal(t, map[string]string{"DOCKER_CONFIG": "@out@/cosign"}, s.Env)
	require.Equal(t, []string{"cosign"}, s.Inputs)
	require.ElementsMatch(t, []string{"config.json", "trusted.pub"}, seen.given)
}
