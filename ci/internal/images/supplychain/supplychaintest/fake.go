// Package supplychaintest has fakes of syft, cosign and Trivy: shell scripts on
// PATH.
package supplychaintest

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// scripts are the fakes. An image's signature is a line with its digest and the
// second line of the key; a job signs with the name of its workflow, its repository and ref.
var scripts = map[string]string{
	"syft": `
file="${4#--output=spdx-json=}"
test -f "${2#oci-dir:}/index.json" || { echo "no layout" >&2; exit 1; }
echo '{"spdxVersion":"SPDX-2.3"}' > "$file"`,
	"trivy": `
for arg; do case "$arg" in --output=*) file="${arg#--output=}";; --input=*) arg="${arg#--input=}"; test -f "${arg%@sha256:*}/index.json" || exit 1;; esac; done
test -f "$FAKE/trivy.json" || { echo "FATAL  failed to download vulnerability DB" >&2; exit 1; }
cp "$FAKE/trivy.json" "$file"`,
	"cosign": `
fail() { echo "Error: $2
error during command execution: $2" >&2; exit "$1"; }
who="$GITHUB_SERVER_URL/${FAKE_JOB_WORKFLOW_REF:-$GITHUB_WORKFLOW_REF}" repository= ref=
for arg; do case "$arg" in
--key=*) key="${arg#--key=}"; test -f "$key" || fail 1 "no key $key"; who=$(sed -n 2p "$key");;
--certificate-identity=*) who="${arg#--certificate-identity=}";;
--certificate-github-workflow-repository=*) repository="${arg#--certificate-github-workflow-repository=}";;
--certificate-github-workflow-ref=*) ref="${arg#--certificate-github-workflow-ref=}";;
--output-key-prefix=*) prefix="${arg#--output-key-prefix=}";;
--outfile=*) prefix="${arg#--outfile=}"; prefix="${prefix%.pub}";;
esac; image="${arg##*/}"; done
case "$1" in
import-key-pair) cp "$key" "$prefix.key"; cp "$key" "$prefix.pub";;
public-key) test "$COSIGN_PASSWORD" = right || fail 1 "decrypt: encrypted: decryption failed"; cp "$key" "$prefix.pub";;
attest) test -n "$FAKE_BROKEN" && fail 1 "the registry fails"; true;;
sign) test -n "$FAKE_FORGETS" || echo "$image $who ${GITHUB_REPOSITORY:--} ${GITHUB_REF:--}" >> "$FAKE/signatures";;
verify)
  test -n "$FAKE_BROKEN" && fail 1 "GET https://registry: 503"
  grep -q "^$image " "$FAKE/signatures" || fail 10 "no signatures found"
  while read -r i w r f; do
    test "$i $w" = "$image $who" && test "${repository:-$r}" = "$r" && test "${ref:-$f}" = "$f" && exit 0
  done < "$FAKE/signatures"
  fail 1 "no matching attestations: failed to verify signature";;
esac`,
}

// Tools are the installed fakes of a test.
type Tools struct {
	testing.TB
	dir string
}

// Install puts fakes of the tools first on PATH, by default all of them.
func Install(t testing.TB, names ...string) Tools {
	t.Helper()
	tools := Tools{t, t.TempDir()}
	if len(names) == 0 {
		names = []string{"syft", "cosign", "trivy"}
	}
	for _, name := range names {
		script := "#!/bin/sh\necho \"" + name + " $*\" >> \"$FAKE/log\"\ntest \"$1\" = version && exit 0\n" + scripts[name] + "\n"
		require.NoError(t, os.WriteFile(filepath.Join(tools.dir, name), []byte(script), 0o755))
	}
	require.NoError(t, os.WriteFile(filepath.Join(tools.dir, "signatures"), nil, 0o600))
	t.Setenv("FAKE", tools.dir)
	t.Setenv("PATH", os.ExpandEnv(tools.dir+string(os.PathListSeparator)+"$PATH"))
	return tools
}

// SetTrivyReport sets Trivy's JSON report.
func (f Tools) SetTrivyReport(report string) {
	require.NoError(f, os.WriteFile(filepath.Join(f.dir, "trivy.json"), []byte(report), 0o600))
}

// Commands returns the command lines since the last call.
func (f Tools) Commands() []string {
	file := filepath.Join(f.dir, "log")
	log, _ := os.ReadFile(file) // absent if nothing ran
	_ = os.Remove(file)
	if len(log) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(log)), "\n")
}

// Keys creates a key pair for the fakes: both files have the same content.
func Keys(t testing.TB, content string) (private, public string) {
	t.Helper()
	dir := t.TempDir()
	private, public = filepath.Join(dir, "cosign.key"), filepath.Join(dir, "cosign.pub")
	for file, kind := range map[string]string{private: "PRIVATE KEY", public: "PUBLIC KEY"} {
		require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte(content)}), 0o600))
	}
	return private, public
}
