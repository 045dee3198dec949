package supplychain_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/exec/tool"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// requireTools skips a test if a tool is not installed.
func requireTools(t *testing.T, tools ...tool.Tool) supplychain.Tools {
	t.Helper()
	for _, one := range tools {
		if _, err := exec.LookPath(one.Name); err != nil {
			t.Skipf("%s is not on PATH: %s", one.Name, one.Install)
		}
	}
	return supplychain.Tools{Exec: step.Host{Source: t.TempDir()}, Image: func(string) string { return "" }}
}

// openssl creates a key pair.
func openssl(t *testing.T) (private, public string) {
	t.Helper()
	dir := t.TempDir()
	private, public = filepath.Join(dir, "key.pem"), filepath.Join(dir, "key.pub")
	for _, args := range [][]string{{"genpkey", "-out", private, "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"}, {"pkey", "-in", private, "-pubout", "-out", public}} {
		out, err := exec.CommandContext(t.Context(), "openssl", args...).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	return private, public
}

// TestRealTools: the real tools find what they attached to an image, and no other
// signature. It takes seconds: other tests use fakes.
func TestRealTools(t *testing.T) {
	tools := requireTools(t, tool.Cosign, tool.Syft, tool.Tool{Name: "openssl", Install: "install it (apt-get install openssl)"})
	to := embedded(t)
	program, err := os.Executable()
	require.NoError(t, err)
	subject := publish(t, to, layerOf(t, program))
	digest, err := subject.Index.Digest()
	require.NoError(t, err)
	private, public := openssl(t)
	_, other := openssl(t)
	trust := supplychain.Trust{Key: public}
	err = tools.Verify(t.Context(), to, "app", digest, trust)
	require.Equal(t, outcome.Refused, outcome.Of(err), err)
	require.ErrorContains(t, err, "is not signed")

	a := supplychain.Attestor{Tools: tools, Registry: to}
	said, err := a.Attest(t.Context(), subject, build)
	require.NoError(t, err)
	require.Equal(t, []string{"sbom of linux/amd64", "sbom of linux/arm64", "provenance"}, said)
	bill := attached(t, to, subject)["application/spdx+json https://spdx.dev/Document"][0]
	require.Contains(t, bill, `"spdxVersion":"SPDX-2.3"`)
	require.Contains(t, bill, `"name":"stdlib"`, "what the program was built with")

	a.Signer = &supplychain.Signer{Key: private}
	require.NoError(t, a.Signer.Check())
	require.NoError(t, a.Require(t.Context()))
	said, err = a.Attest(t.Context(), subject, build)
	require.NoError(t, err)
	require.Equal(t, []string{"signed sbom of linux/amd64", "signed sbom of linux/arm64", "signed provenance", "signature"}, said)
	require.NoError(t, tools.Verify(t.Context(), to, "app", digest, trust))
	again, err := a.Attest(t.Context(), subject, build)
	require.NoError(t, err)
	require.Empty(t, again)

	root := filepath.Join(t.TempDir(), "root.json")
	require.NoError(t, os.WriteFile(root, []byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`), 0o600))
	for name, stranger := range map[string]supplychain.Trust{
		"another key": {Key: other}, "an identity": {Identity: "https://github.com/owner/name", TrustedRoot: root}, "a pattern": {Pattern: ".*", TrustedRoot: root},
	} {
		err := tools.Verify(t.Context(), to, "app", digest, stranger)
		require.Equal(t, outcome.Refused, outcome.Of(err), "%s: %v", name, err)
		require.ErrorContains(t, err, "is not signed by ", name)
		t.Log(err)
	}
}

func layerOf(t *testing.T, program string) v1.Layer {
	t.Helper()
	content, err := os.ReadFile(program)
	require.NoError(t, err)
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		var archive bytes.Buffer
		w := tar.NewWriter(&archive)
		err := w.WriteHeader(&tar.Header{Name: "program", Mode: 0o755, Size: int64(len(content))})
		if err == nil {
			_, err = w.Write(content)
		}
		return io.NopCloser(&archive), errors.Join(err, w.Close())
	})
	require.NoError(t, err)
	return layer
}

// TestRealTrivy: without a database the scan fails.
func TestRealTrivy(t *testing.T) {
	tools := requireTools(t, tool.Trivy)
	t.Setenv("TRIVY_CACHE_DIR", t.TempDir())
	t.Setenv("TRIVY_DB_REPOSITORY", "127.0.0.1:1/none")
	subject := publish(t, embedded(t))
	_, err := supplychain.Scanner{Tools: tools, FailOn: supplychain.High}.Scan(t.Context(), supplychain.Subject{Service: "backend", Index: subject.Index})
	require.ErrorContains(t, err, "scanning backend: trivy image ended with exit code 1: ")
	t.Log(err)
}
