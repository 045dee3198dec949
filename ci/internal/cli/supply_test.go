package cli_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"

	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/delivery"
	"dagger/slipway/internal/image"
	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/provenance"
	"dagger/slipway/internal/registry"
	"dagger/slipway/internal/registry/registrytest"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/sbom"
	"dagger/slipway/internal/signature"
	"dagger/slipway/internal/signature/signaturetest"
	"dagger/slipway/internal/sourcetest"
	"dagger/slipway/internal/vulnerability"
)

// commit changes the site and commits it.
func commit(t *testing.T, dir, title string) {
	t.Helper()
	sourcetest.Write(t, dir, "web/site/index.html", "<!doctype html><title>"+title+"</title>")
	sourcetest.Commit(t, dir, title)
}

// emptyDatabase is a database without a vulnerability.
func emptyDatabase(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"index/db.json": `{"modified": "2026-01-02T00:00:00Z"}`, "index/modules.json": "[]", "index/vulns.json": "[]",
	} {
		sourcetest.Write(t, dir, name, content)
	}
	return "file://" + dir
}

func testSignatures(t *testing.T, dir string) {
	private, public := signaturetest.KeyFiles(t, "ECDSA")
	_, other := signaturetest.KeyFiles(t, "ECDSA")
	with := func(args ...string) (outcome.Code, string, string) {
		return run(t, append(args, "--source", dir, "--output", "json")...)
	}
	commit(t, dir, "unsigned")
	before, _, _ := with("status")
	require.Equal(t, outcome.Done, before)
	differs, _, _ := with("diff")
	require.Equal(t, outcome.Done, differs)
	code, stdout, _ := with("deploy", "--require-signature", "--key", public)
	require.Equal(t, outcome.Refused, code)
	refused := decode[report.Release](t, stdout)
	require.Equal(t, report.Refused, refused.Result)
	require.Contains(t, refused.Error, "it is not signed")
	require.Equal(t, []string{"build", "publish", "verify"}, stageNames(refused), "nothing was released")
	code, stdout, stderr := with("verify", "--key", public)
	require.Equal(t, outcome.Refused, code)
	require.Contains(t, stderr, "it is not signed")
	require.False(t, decode[delivery.Verification](t, stdout).Images[0].Trusted)

	commit(t, dir, "signed")
	code, stdout, stderr = with("deploy", "--sign-key", private, "--require-signature", "--key", public)
	require.Equal(t, outcome.Done, code, stderr)
	released := decode[report.Release](t, stdout)
	require.Equal(t, []string{"build", "publish", "verify", "deploy", "preflight", "smoke"}, stageNames(released))
	require.Contains(t, stdout, "attached sbom, signed sbom, signed provenance, signature")

	code, stdout, stderr = with("verify", "--sha", released.SHA, "--key", public)
	require.Equal(t, outcome.Done, code, stderr)
	checked := decode[delivery.Verification](t, stdout)
	require.Len(t, checked.Images, 2)
	var predicates []string
	for _, said := range checked.Images[1].Statements {
		predicates = append(predicates, said.PredicateType)
	}
	require.ElementsMatch(t, []string{sbom.PredicateType, provenance.PredicateType, signature.PredicateType}, predicates)
	for _, format := range []string{"text", "markdown"} {
		code, stdout, stderr = run(t, "verify", "--source", dir, "--key", public, "--output", format)
		require.Equal(t, outcome.Done, code, stderr)
		require.Contains(t, stdout, "https://slsa.dev/provenance/v1 by the given key")
	}
	for _, format := range []string{"text", "markdown"} {
		code, stdout, stderr = run(t, "verify", "--source", dir, "--key", other, "--output", format)
		require.Equal(t, outcome.Refused, code)
		require.Contains(t, stderr, "the given key has not signed it: another key signed it")
		require.NotEmpty(t, stdout)
	}
	code, _, stderr = with("verify", "--sha", "0123456789012345678901234567890123456789", "--key", public)
	require.Equal(t, outcome.Failed, code)
	require.Contains(t, stderr, "publish it first")

	commit(t, dir, "bare")
	code, stdout, stderr = with("deploy", "--no-attest")
	require.Equal(t, outcome.Done, code, stderr)
	for _, event := range decode[report.Release](t, stdout).Events {
		require.NotContains(t, event.Text, "attached")
	}

	code, stdout, stderr = with("scan", "--sha", released.SHA, "--db", emptyDatabase(t))
	require.Equal(t, outcome.Done, code, stderr)
	found := decode[vulnerability.Report](t, stdout)
	require.Len(t, found.Images, 2)
	require.Positive(t, found.Images[0].Programs)
	require.Contains(t, found.Notes, "repository ecs-microservices-api does not scan on push, so ECR knows nothing of its images")
	code, _, stderr = with("scan", "--sha", "0123456789012345678901234567890123456789", "--db", emptyDatabase(t))
	require.Equal(t, outcome.Failed, code)
	require.Contains(t, stderr, "publish it first")
}

// TestPublishSigned: what is attached is there before the tag is, and whoever
// publishes again attaches nothing more.
func TestPublishSigned(t *testing.T) {
	private, public := signaturetest.KeyFiles(t, "Ed25519")
	p := inAccount(t, ecrtypes.ImageTagMutabilityImmutable, "api")
	dir := sourcetest.New(t)
	gate := registrytest.NewGate(t, p.Server.Registry())
	dockerLogin(t, p, gate.Host)
	publish := []string{
		"publish", "--source", dir, "--service", "api", "--platform", "linux/amd64", "--output", "json", "--sign-key", private, "--registry", gate.Host,
	}
	tag := "/v2/ecs-microservices-api/manifests/" + head(t, dir)

	gate.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut {
			return false
		}
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if !bytes.Contains(body, []byte(`"subject"`)) {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		return true
	}
	code, _, stderr := run(t, publish...)
	require.Equal(t, outcome.Failed, code)
	require.Contains(t, stderr, "publishing api: attesting api: ")
	require.Zero(t, gate.Count(http.MethodPut, tag), "what cannot be attested has no tag")

	gate.Reset()
	attached := 0 // manifests that were written before the tag
	gate.Before = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && r.URL.Path == tag {
			attached = gate.Count(http.MethodPut, "/manifests/sha256:")
		}
		return false
	}
	code, stdout, stderr := run(t, publish...)
	require.Equal(t, outcome.Done, code, stderr)
	require.True(t, decode[delivery.Published](t, stdout).Images[0].Pushed)
	require.Contains(t, stderr, "attached sbom, signed sbom, signed provenance, signature")
	require.Equal(t, 1, gate.Count(http.MethodPut, tag))
	require.GreaterOrEqual(t, attached, 4, "each of them was there before the tag")
	require.Equal(t, attached, gate.Count(http.MethodPut, "/manifests/sha256:"), "and none after it")

	gate.Reset()
	code, stdout, stderr = run(t, publish...)
	require.Equal(t, outcome.Done, code, stderr)
	require.Zero(t, decode[delivery.Published](t, stdout).Images[0].Sent)
	require.NotContains(t, stderr, "attached")
	require.Zero(t, gate.Writes(), "nothing is there twice")

	code, _, stderr = run(t, "verify", "--source", dir, "--service", "api", "--key", public)
	require.Equal(t, outcome.Done, code, stderr)
}

// TestProvenanceNamesTheBase: a site is made of its base, too.
func TestProvenanceNamesTheBase(t *testing.T) {
	p := inAccount(t, ecrtypes.ImageTagMutabilityImmutable, "web")
	dir, all := sourcetest.New(t), newBases(t)
	base := image.Pin{Reference: all.host + "/nginx:stable", Digest: all.push(t, "nginx:stable", "one", "linux/amd64")}
	lockFile(t, dir, map[string]image.Pin{"go": {Reference: "golang:1"}, "nginx": base})
	sourcetest.Commit(t, dir, "locked")
	code, stdout, stderr := run(t, "publish", "--source", dir, "--service", "web", "--platform", "linux/amd64", "--output", "json")
	require.Equal(t, outcome.Done, code, stderr)
	published := decode[delivery.Published](t, stdout).Images[0]
	require.Empty(t, published.Baseless)

	r, err := registry.New(p.Server.Registry(), registry.Options{Auth: p.Auth()})
	require.NoError(t, err)
	defer r.Close()
	subject, err := v1.NewHash(published.Digest)
	require.NoError(t, err)
	found, err := r.Referrers(t.Context(), published.Repository, subject, provenance.MediaType)
	require.NoError(t, err)
	require.Len(t, found, 1)
	layers, err := found[0].Layers()
	require.NoError(t, err)
	content, err := layers[0].Compressed()
	require.NoError(t, err)
	defer content.Close()
	statement, err := io.ReadAll(content)
	require.NoError(t, err)
	require.Contains(t, string(statement), `"uri":"pkg:oci/nginx@`+base.Digest+`?`)
}

func testSignedByAJob(t *testing.T, dir string) {
	sigstore := signaturetest.New(t)
	trusted, services := sigstore.Files()
	github := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("audience") != signature.Audience {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"value": signaturetest.Token()})
	}))
	defer github.Close()
	for name, value := range map[string]string{
		"ACTIONS_ID_TOKEN_REQUEST_URL": github.URL, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "planted-token", "GITHUB_ACTIONS": "true",
		"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "owner/name", "GITHUB_REF": "refs/heads/main",
	} {
		t.Setenv(name, value)
	}
	commit(t, dir, "keyless")
	trust := []string{"--identity", signaturetest.Workflow, "--trusted-root", trusted}
	code, stdout, stderr := run(t, append([]string{"deploy", "--source", dir, "--output", "json", "--require-signature", "--signing-config", services}, trust...)...)
	require.Equal(t, outcome.Done, code, stdout+stderr)
	require.NotContains(t, stdout+stderr, "planted-token")
	require.NotContains(t, stdout+stderr, signaturetest.Token())
	code, stdout, stderr = run(t, append([]string{"verify", "--source", dir}, trust...)...)
	require.Equal(t, outcome.Done, code, stderr)
	require.Contains(t, stdout, "by "+signaturetest.Workflow+" at 20")
	code, _, stderr = run(t, "verify", "--source", dir, "--identity-regexp", "https://github.com/evil/.*", "--trusted-root", trusted)
	require.Equal(t, outcome.Refused, code)
	require.Contains(t, stderr, "another identity signed it")
}

func TestTrustIsSaid(t *testing.T) {
	dir := sourcetest.New(t)
	private, public := signaturetest.KeyFiles(t, "Ed25519")
	text := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(text, []byte("planted-secret"), 0o600))
	tests := map[string]struct {
		args []string
		want string
	}{
		"nobody is trusted":           {[]string{"verify"}, "give --key FILE, or --identity NAME"},
		"two are":                     {[]string{"verify", "--key", public, "--identity", "x"}, "leave out one of them"},
		"a private key":               {[]string{"verify", "--key", private}, "extract the public half"},
		"no key":                      {[]string{"verify", "--key", text}, "it is no PEM file with a public key"},
		"no root":                     {[]string{"verify", "--identity", "x", "--trusted-root", text}, "cosign trusted-root create"},
		"no expression":               {[]string{"verify", "--identity-regexp", "(", "--trusted-root", root(t)}, "error parsing regexp"},
		"signatures of nobody":        {[]string{"deploy", "--require-signature"}, "give --key FILE, or --identity NAME"},
		"a key, and no requirement":   {[]string{"deploy", "--key", public}, "add --require-signature"},
		"a key to sign nothing with":  {[]string{"deploy", "--no-attest", "--sign-key", private}, "leave out one of them"},
		"a text to sign with":         {[]string{"deploy", "--sign-key", text}, "it is no PEM file"},
		"an unknown severity":         {[]string{"scan", "--fail-on", "severe"}, `--fail-on "severe": take critical, high, medium, low or none`},
		"an exceptions file is not":   {[]string{"scan", "--exceptions", filepath.Join(dir, "nope")}, "reading the exceptions"},
		"exceptions nobody can read":  {[]string{"scan", "--exceptions", text}, "it must be like"},
		"layouts that nobody wrote":   {[]string{"sbom", "--from", filepath.Join(dir, "nope")}, "slipway build --out"},
		"a file for a directory":      {[]string{"sbom", "--out", text, "--service", "web"}, "name another directory with --out"},
		"two things to scan":          {[]string{"scan", "--sha", "x", "--from", "y"}, "leave out one of them"},
		"an unknown service to scan":  {[]string{"scan", "--service", "wep"}, `did you mean "web"?`},
		"an unknown service to state": {[]string{"sbom", "--service", "wep"}, `did you mean "web"?`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := run(t, append(tt.args, "--source", dir)...)
			require.Equal(t, outcome.Usage, code, stderr)
			require.Contains(t, stderr, tt.want)
			require.NotContains(t, stderr, "planted-secret")
		})
	}
}

func root(t *testing.T) string {
	t.Helper()
	trusted, _ := signaturetest.New(t).Files()
	return trusted
}

// TestOfLayouts is what is told of images that were built before.
func TestOfLayouts(t *testing.T) {
	dir, layouts := sourcetest.New(t), filepath.Join(t.TempDir(), "build")
	code, _, stderr := run(t, "build", "--source", dir, "--out", layouts)
	require.Equal(t, outcome.Done, code, stderr)
	t.Run("sbom", func(t *testing.T) { testSBOM(t, dir, layouts) })
	t.Run("scan", func(t *testing.T) { testScan(t, dir, layouts) })
}

func testSBOM(t *testing.T, dir, layouts string) {
	out := filepath.Join(t.TempDir(), "deep", "out")
	code, stdout, stderr := run(t, "sbom", "--source", dir, "--out", out, "--from", layouts, "--output", "json")
	require.Equal(t, outcome.Done, code, stderr)
	written := decode[struct {
		Documents []struct {
			Service, Digest, File string
			Packages              int
		}
	}](t, stdout)
	require.Len(t, written.Documents, 2)
	require.Equal(t, 2, written.Documents[0].Packages, "the service's module and the standard library")
	first, err := os.ReadFile(written.Documents[0].File)
	require.NoError(t, err)
	require.Contains(t, string(first), `"spdxVersion":"SPDX-2.3"`)
	require.Contains(t, string(first), written.Documents[0].Digest)

	for format, from := range map[string]string{"text": layouts, "markdown": ""} { // "" builds
		code, stdout, stderr = run(t, "sbom", "--source", dir, "--out", out, "--from", from, "--service", "api", "--output", format)
		require.Equal(t, outcome.Done, code, stderr)
		require.Contains(t, stdout, written.Documents[0].Digest)
	}
	again, err := os.ReadFile(written.Documents[0].File)
	require.NoError(t, err)
	require.Equal(t, string(first), string(again))
}

func testScan(t *testing.T, dir, layouts string) {
	database := t.TempDir()
	for name, content := range map[string]string{
		"index/db.json":      `{"modified": "2026-01-02T00:00:00Z"}`,
		"index/modules.json": `[{"path": "stdlib", "vulns": [{"id": "GO-2026-0002", "modified": "2026-01-02T00:00:00Z"}]}]`,
		"index/vulns.json":   `[{"id": "GO-2026-0002", "modified": "2026-01-02T00:00:00Z", "aliases": ["CVE-2026-0002"]}]`,
		"ID/GO-2026-0002.json": `{"schema_version": "1.3.1", "id": "GO-2026-0002", "modified": "2026-01-02T00:00:00Z", "aliases": ["CVE-2026-0002"],
  "summary": "Serves", "details": "It does.", "affected": [{"package": {"name": "stdlib", "ecosystem": "Go"},
  "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}]}],
  "ecosystem_specific": {"imports": [{"path": "net/http", "symbols": ["ListenAndServe"]}]}}]}`,
	} {
		sourcetest.Write(t, database, name, content)
	}
	from := []string{"--source", dir, "--service", "api", "--from", layouts}
	at := slices.Concat(from, []string{"--db", "file://" + database})
	code, stdout, stderr := run(t, append([]string{"scan", "--output", "json"}, at...)...)
	require.Equal(t, outcome.Failed, code, stderr)
	require.Contains(t, stderr, "1 vulnerability is of severity high or worse, the first GO-2026-0002 in stdlib of api")
	found := decode[vulnerability.Report](t, stdout)
	require.Equal(t, "failed", found.Result)
	require.Equal(t, []string{"linux/amd64", "linux/arm64"}, found.Findings[0].Platforms)

	code, stdout, stderr = run(t, append([]string{"scan", "--fail-on", "critical"}, at...)...)
	require.Equal(t, outcome.Done, code, stderr)
	require.Contains(t, stdout, "ok    unknown")

	sourcetest.Write(t, dir, vulnerability.ExceptionsFile, `{"exceptions": [
  {"id": "CVE-2026-0002", "package": "stdlib", "reason": "behind the load balancer", "expires": "2999-12-31"},
  {"id": "GO-2020-0001", "package": "gone", "reason": "r", "expires": "2999-12-31"}]}`)
	code, stdout, stderr = run(t, append([]string{"scan"}, at...)...)
	require.Equal(t, outcome.Done, code, stderr)
	require.Contains(t, stdout, "accepted: behind the load balancer (until 2999-12-31)")
	require.Contains(t, stdout, "the exception for GO-2020-0001 in gone is not needed any more")

	code, stdout, stderr = run(t, append([]string{"scan", "--db", "http://127.0.0.1:1"}, from...)...)
	require.Equal(t, outcome.Failed, code, "no database is no pass")
	require.Empty(t, stdout)
	require.Contains(t, stderr, "with the database http://127.0.0.1:1: ")
}
