package cli_test

import (
	"archive/zip"
	"bytes"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/dirhash"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// TestPrivateModule builds a service that needs a module of a proxy with a login.
func TestPrivateModule(t *testing.T) {
	const version, mod = "v1.0.0", "module example.com/private\n\ngo 1.26\n"
	var archive bytes.Buffer
	files := zip.NewWriter(&archive)
	for name, content := range map[string]string{"go.mod": mod, "private.go": "package private\n\nconst Text = \"private\"\n"} {
		file, err := files.Create("example.com/private@" + version + "/" + name)
		require.NoError(t, err)
		_, err = file.Write([]byte(content))
		require.NoError(t, err)
	}
	require.NoError(t, files.Close())
	folder := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		return file
	}
	zipSum, err := dirhash.HashZip(write("module.zip", archive.String()), dirhash.Hash1)
	require.NoError(t, err)
	modSum, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(mod)), nil })
	require.NoError(t, err)
	proxy := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content := map[string]string{".info": `{"Version": "` + version + `"}`, ".mod": mod, ".zip": archive.String()}[filepath.Ext(r.URL.Path)]
		user, password, _ := r.BasicAuth()
		switch {
		case user != "robot" || password != "of-the-netrc":
			http.Error(w, "log in", http.StatusUnauthorized)
		case content == "" || !strings.HasPrefix(r.URL.Path, "/example.com/private/@v/"+version):
			http.NotFound(w, r)
		default:
			_, _ = w.Write([]byte(content))
		}
	}))
	t.Cleanup(proxy.Close)
	for name, value := range map[string]string{
		"SSL_CERT_FILE": write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: proxy.Certificate().Raw}))),
		"GOPROXY":       proxy.URL, "GONOSUMDB": "example.com", "GOFLAGS": "-modcacherw", "GOMODCACHE": t.TempDir(), "NETRC": os.DevNull,
	} {
		t.Setenv(name, value)
	}
	dir := sourcetest.New(t)
	sourcetest.Write(t, dir, "api/go.mod", "module example.com/api\n\ngo 1.26\n\nrequire example.com/private v1.0.0\n")
	sourcetest.Write(t, dir, "api/main.go", "package main\n\nimport \"example.com/private\"\n\nfunc main() { print(private.Text) }\n")
	sourcetest.Write(t, dir, "api/go.sum", "example.com/private v1.0.0 "+zipSum+"\nexample.com/private v1.0.0/go.mod "+modSum+"\n")
	sourcetest.Commit(t, dir, "private")
	build := []string{"build", "--source", dir, "--service", "api", "--platform", "linux/amd64", "--out", t.TempDir()}

	code, _, stderr := run(t, build...)
	require.Equal(t, outcome.Failed, code, stderr)
	require.Contains(t, stderr, "401 Unauthorized")

	code, _, stderr = run(t, append(build, "--netrc", write("netrc", "machine "+strings.TrimPrefix(proxy.URL, "https://")+" login robot password of-the-netrc\n"))...)
	require.Equal(t, outcome.Done, code, stderr)
	require.NotContains(t, stderr, "of-the-netrc")

	code, _, stderr = run(t, append(build, "--netrc", filepath.Join(folder, "none"))...)
	require.Equal(t, outcome.Usage, code)
	require.Contains(t, stderr, `for "--netrc" flag: no such file`)
}
