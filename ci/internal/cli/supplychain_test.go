package cli_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/images/registry/registrytest"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain/supplychaintest"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// commit changes the site and commits it.
func commit(t *testing.T, dir, title string) {
	t.Helper()
	sourcetest.Write(t, dir, "web/site/index.html", "<!doctype html><title>"+title+"</title>")
	sourcetest.Commit(t, dir, title)
}

func testSignatures(t *testing.T, dir string) {
	tools := supplychaintest.Install(t)
	private, public := supplychaintest.Keys(t, "one")
	_, other := supplychaintest.Keys(t, "two")
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
	require.Contains(t, refused.Error, "is not signed")
	require.Equal(t, []string{"build", "publish", "verify"}, stageNames(refused), "nothing was released")
	code, stdout, stderr := with("verify", "--key", public)
	require.Equal(t, outcome.Refused, code)
	require.Contains(t, stderr, "is not signed")
	require.False(t, decode[delivery.Verification](t, stdout).Images[0].Trusted)

	commit(t, dir, "signed")
	code, stdout, stderr = with("deploy", "--sign-key", private, "--require-signature", "--key", public)
	require.Equal(t, outcome.Done, code, stderr)
	released := decode[report.Release](t, stdout)
	require.Equal(t, []string{"build", "publish", "verify", "deploy", "preflight", "smoke"}, stageNames(released))
	require.Contains(t, stdout, "attached signed sbom of linux/amd64, signed sbom of linux/arm64, signed provenance, signature")

	code, stdout, stderr = with("verify", "--sha", released.SHA, "--key", public)
	require.Equal(t, outcome.Done, code, stderr)
	checked := decode[delivery.Verification](t, stdout)
	require.Len(t, checked.Images, 2)
	require.True(t, checked.Images[1].Trusted)
	code, stdout, stderr = run(t, "verify", "--source", dir, "--key", public)
	require.Equal(t, outcome.Done, code, stderr)
	require.Contains(t, stdout, "signed by the given key")
	for _, format := range []string{"text", "markdown"} {
		code, stdout, stderr = run(t, "verify", "--source", dir, "--key", other, "--output", format)
		require.Equal(t, outcome.Refused, code)
		require.Contains(t, stderr, "is not signed by the given key: no matching attestations")
		require.NotEmpty(t, stdout)
	}
	code, _, stderr = with("verify", "--sha", "0123456789012345678901234567890123456789", "--key", public)
	require.Equal(t, outcome.Failed, code)
	require.Contains(t, stderr, "publish it first")

	t.Setenv("FAKE_BROKEN", "yes")
	code, stdout, stderr = with("verify", "--sha", released.SHA, "--key", public)
	require.Equal(t, outcome.Failed, code)
	require.Contains(t, stderr, "verifying the signature of ")
	require.Empty(t, stdout, "what could not be found out is no refusal")
	t.Setenv("FAKE_BROKEN", "")

	commit(t, dir, "bare")
	tools.Commands()
	code, stdout, stderr = with("deploy", "--no-attest")
	require.Equal(t, outcome.Done, code, stderr)
	for _, event := range decode[report.Release](t, stdout).Events {
		require.NotContains(t, event.Text, "attached")
	}
	require.Empty(t, tools.Commands(), "and no tool is needed")

	tools.SetTrivyReport(`{"SchemaVersion": 2}`)
	code, stdout, stderr = with("scan", "--sha", released.SHA)
	require.Equal(t, outcome.Done, code, stderr)
	found := decode[supplychain.Report](t, stdout)
	require.Len(t, found.Images, 2)
	require.Contains(t, found.Notes, "repository ecs-microservices-api does not scan on push, so ECR has no findings for its images")
	code, _, stderr = with("scan", "--sha", "0123456789012345678901234567890123456789")
	require.Equal(t, outcome.Failed, code)
	require.Contains(t, stderr, "publish it first")
}

// TestMissingTools checks that a missing tool is reported before anything is built, with an
// installation hint. A registry on this machine needs no SBOM.
func TestMissingTools(t *testing.T) {
	private, public := supplychaintest.Keys(t, "one")
	p := inAccount(t, ecrtypes.ImageTagMutabilityImmutable, "api")
	dir := sourcetest.New(t)
	dockerLogin(t, p, p.Server.Registry())
	without(t, "syft", "cosign", "trivy")
	local := []string{"--source", dir, "--service", "api", "--platform", "linux/amd64"}
	tests := map[string]struct {
		args []string
		want string
	}{
		"to describe":                      {[]string{"publish", "--registry", "registry.invalid/team"}, "syft is not on PATH: install it (go install github.com/anchore/syft/cmd/syft@v"},
		"to describe and sign":             {[]string{"publish", "--registry", "registry.invalid/team", "--sign-key", private}, "or publish without SBOM, provenance and signature (slipway publish --no-attest)"},
		"to sign":                          {slices.Concat([]string{"publish", "--sign-key", private}, local), "cosign is not on PATH: install it (go install github.com/sigstore/cosign/v3/cmd/cosign@v"},
		"to sign what a release publishes": {[]string{"deploy", "--service", "api", "--sign-key", private}, "cosign is not on PATH"},
		"to require a signature":           {[]string{"deploy", "--require-signature", "--key", public}, "cosign is not on PATH"},
		"to verify":                        {[]string{"verify", "--key", public}, "cosign is not on PATH"},
		"to scan":                          {[]string{"scan", "--service", "api"}, "trivy is not on PATH"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := run(t, slices.Concat(tt.args, []string{"--source", dir})...)
			require.Equal(t, outcome.Usage, code, stderr)
			require.Contains(t, stdout+stderr, tt.want)
			require.NotContains(t, stderr, "build")
		})
	}
	code, _, stderr := run(t, slices.Concat([]string{"publish"}, local)...)
	require.Equal(t, outcome.Done, code, stderr)
	require.Equal(t, 1, strings.Count(stderr, "no SBOM is attached: syft is not on PATH"), stderr)
	require.Contains(t, stderr, "attached provenance")
}

// without hides programs of this machine.
func without(t *testing.T, names ...string) {
	t.Helper()
	var dirs []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if !slices.ContainsFunc(names, func(name string) bool { _, err := os.Stat(filepath.Join(dir, name)); return err == nil }) {
			dirs = append(dirs, dir)
		}
	}
	t.Setenv("PATH", strings.Join(dirs, string(os.PathListSeparator)))
}

// TestPublishSigned checks that attestations are attached before the tag is written, and
// that publishing again attaches nothing.
func TestPublishSigned(t *testing.T) {
	tools := supplychaintest.Install(t)
	private, public := supplychaintest.Keys(t, "one")
	p := inAccount(t, ecrtypes.ImageTagMutabilityImmutable, "api")
	dir := sourcetest.New(t)
	gate := registrytest.NewProxy(t, p.Server.Registry())
	dockerLogin(t, p, gate.Host)
	publish := []string{
		"publish", "--source", dir, "--service", "api", "--platform", "linux/amd64", "--output", "json", "--sign-key", private, "--registry", gate.Host,
	}
	tag := "/v2/ecs-microservices-api/manifests/" + head(t, dir)

	t.Setenv("FAKE_BROKEN", "yes")
	code, _, stderr := run(t, publish...)
	require.Equal(t, outcome.Failed, code)
	require.Contains(t, stderr, "publishing api: attesting api: ")
	require.Zero(t, gate.Count(http.MethodPut, tag), "what cannot be attested has no tag")

	t.Setenv("FAKE_BROKEN", "")
	gate.Reset()
	var before []string // what had been attached when the tag was written
	gate.OnRequest = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && r.URL.Path == tag {
			before = tools.Commands()
		}
		return false
	}
	code, stdout, stderr := run(t, publish...)
	require.Equal(t, outcome.Done, code, stderr)
	require.True(t, decode[delivery.Published](t, stdout).Images[0].Pushed)
	require.Contains(t, stderr, "attached signed sbom of linux/amd64, signed provenance, signature")
	require.Equal(t, 1, gate.Count(http.MethodPut, tag))
	require.Contains(t, strings.Join(before, "\n"), "\ncosign sign ", "each of them was there before the tag")
	require.Empty(t, tools.Commands(), "and none after it")

	gate.Reset()
	code, stdout, stderr = run(t, publish...)
	require.Equal(t, outcome.Done, code, stderr)
	require.Zero(t, decode[delivery.Published](t, stdout).Images[0].UploadStats)
	require.NotContains(t, stderr, "attached")
	require.Zero(t, gate.Writes(), "nothing is there twice")

	code, _, stderr = run(t, "verify", "--source", dir, "--service", "api", "--key", public)
	require.Equal(t, outcome.Done, code, stderr)
}

// TestProvenanceNamesTheBase checks that a site's provenance contains its base image.
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
	found, err := r.Referrers(t.Context(), published.Repository, subject, "application/vnd.in-toto+json")
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

func testKeylessSigning(t *testing.T, dir string) {
	tools := supplychaintest.Install(t)
	for name, value := range map[string]string{
		"ACTIONS_ID_TOKEN_REQUEST_URL": "https://github.invalid", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "planted-token", "GITHUB_ACTIONS": "true",
		"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "owner/name", "GITHUB_REF": "refs/heads/main",
		"GITHUB_WORKFLOW_REF": "owner/name/.github/workflows/ci.yml@refs/heads/main",
	} {
		t.Setenv(name, value)
	}
	file := filepath.Join(t.TempDir(), "own.json")
	require.NoError(t, os.WriteFile(file, []byte("{}"), 0o600))
	commit(t, dir, "keyless")
	trust := []string{"--identity", "https://github.com/owner/name/.github/workflows/ci.yml@refs/heads/main", "--trusted-root", file}
	code, stdout, stderr := run(t, append([]string{"deploy", "--source", dir, "--output", "json", "--require-signature", "--signing-config", file}, trust...)...)
	require.Equal(t, outcome.Done, code, stdout+stderr)
	require.NotContains(t, stdout+stderr, "planted-token")
	for _, line := range tools.Commands() {
		require.NotContains(t, line, "planted-token")
		if strings.HasPrefix(line, "cosign sign ") || strings.HasPrefix(line, "cosign attest ") {
			require.Regexp(t, "--signing-config=.*/signing-config.json", line)
			require.Regexp(t, "--trusted-root=.*/trusted-root.json", line)
		}
	}
	code, stdout, stderr = run(t, append([]string{"verify", "--source", dir}, trust...)...)
	require.Equal(t, outcome.Done, code, stderr)
	require.Contains(t, stdout, "signed by https://github.com/owner/name/.github/workflows/ci.yml@refs/heads/main")
	code, _, stderr = run(t, "verify", "--source", dir, "--identity", "https://github.com/evil/name")
	require.Equal(t, outcome.Refused, code)
	require.Contains(t, stderr, "is not signed by")
}

func TestSigningFlagErrors(t *testing.T) {
	dir := sourcetest.New(t)
	private, public := supplychaintest.Keys(t, "one")
	text := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(text, []byte("planted-secret"), 0o600))
	tests := map[string]struct {
		args []string
		want string
	}{
		"nobody is trusted":           {[]string{"verify"}, "no trusted signer"},
		"a private key":               {[]string{"verify", "--key", private}, "extract the public key"},
		"signatures of nobody":        {[]string{"deploy", "--require-signature"}, "no trusted signer"},
		"a key, and no requirement":   {[]string{"deploy", "--key", public}, "need --require-signature"},
		"a key to sign nothing with":  {[]string{"deploy", "--no-attest", "--sign-key", private}, "leave out one of them"},
		"a text to sign with":         {[]string{"deploy", "--sign-key", text}, "it is not a PEM file"},
		"an unknown severity":         {[]string{"scan", "--fail-on", "severe"}, `--fail-on "severe": want critical, high, medium, low or none`},
		"an exceptions file is not":   {[]string{"scan", "--exceptions", filepath.Join(dir, "nope")}, "reading the exceptions"},
		"exceptions nobody can read":  {[]string{"scan", "--exceptions", text}, "it must have a list of vulnerabilities"},
		"two things to scan":          {[]string{"scan", "--sha", "x", "--from", "y"}, "leave out one of them"},
		"layouts that nobody wrote":   {[]string{"scan", "--from", filepath.Join(dir, "nope")}, "slipway build --out"},
		"an unknown service to scan":  {[]string{"scan", "--service", "wep"}, `did you mean "web"?`},
		"a database that is gone":     {[]string{"scan", "--db", "file:///x"}, "it was removed: set TRIVY_DB_REPOSITORY"},
		"a bill of materials is gone": {[]string{"sbom", "--service", "api"}, "syft scan oci-dir:"},
		"what is in an image is gone": {[]string{"inspect", "api"}, "crane manifest"},
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

// TestScan scans layouts that were built before, and what the tree builds.
func TestScan(t *testing.T) {
	tools := supplychaintest.Install(t)
	dir, layouts := sourcetest.New(t), filepath.Join(t.TempDir(), "build")
	code, _, stderr := run(t, "build", "--source", dir, "--out", layouts)
	require.Equal(t, outcome.Done, code, stderr)
	from := []string{"--source", dir, "--service", "api", "--from", layouts}
	tools.SetTrivyReport(`{"SchemaVersion": 2, "Results": [{"Vulnerabilities": [{"VulnerabilityID": "CVE-2026-2", "PkgName": "stdlib", "InstalledVersion": "1", "Severity": "UNKNOWN"}]}]}`)
	code, stdout, stderr := run(t, append([]string{"scan", "--output", "json"}, from...)...)
	require.Equal(t, outcome.Failed, code, stderr)
	require.Contains(t, stderr, "1 vulnerability is of severity high or worse, the first CVE-2026-2 in stdlib of api")
	found := decode[supplychain.Report](t, stdout)
	require.Equal(t, "failed", found.Result)
	require.Equal(t, []string{"linux/amd64", "linux/arm64"}, found.Findings[0].Platforms)
	code, stdout, stderr = run(t, "scan", "--fail-on", "critical", "--source", dir, "--service", "api")
	require.Equal(t, outcome.Done, code, stderr)
	require.Contains(t, stdout, "ok    unknown")
	for _, args := range [][]string{{}, {"--from", layouts}} {
		code, _, stderr = run(t, append([]string{"scan", "--source", dir}, args...)...)
		require.Equal(t, outcome.Refused, code, stderr)
		require.Contains(t, stderr, "scanning web: ", "half an image is no image without findings")
	}
	sourcetest.Write(t, dir, supplychain.ExceptionsFile, "vulnerabilities: [{id: CVE-2026-2, statement: s, expired_at: 2999-12-31}]")
	tools.Commands()
	_, _, _ = run(t, append([]string{"scan"}, from...)...)
	require.Contains(t, strings.Join(tools.Commands(), "\n"), "--ignorefile=")
}
