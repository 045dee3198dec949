package image_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// buildWeb builds the site of a tree.
func buildWeb(t *testing.T, dir string) (image.Image, error) {
	t.Helper()
	p, err := platform.Load(dir)
	require.NoError(t, err)
	images, err := builder(t, dir).Build(t.Context(), p.Services[1:])
	return images[0], err
}

// TestIgnoreRules: an image has the tracked files that no pattern excludes, and the
// files that a pattern includes.
func TestIgnoreRules(t *testing.T) {
	const html, conf = "usr/share/nginx/html/", "etc/nginx/"
	tests := map[string]struct {
		ignored string
		files   []string
	}{
		"no patterns":              {"", []string{html + "index.html", html + "draft.html", html + "css/style.css", conf + "nginx.conf"}},
		"comments and empty lines": {"# nothing\n\n", []string{html + "index.html", html + "draft.html", html + "css/style.css", conf + "nginx.conf"}},
		"a file":                   {"site/draft.html", []string{html + "index.html", html + "css/style.css", conf + "nginx.conf"}},
		"a folder":                 {"site/css", []string{html + "index.html", html + "draft.html", conf + "nginx.conf"}},
		"anywhere":                 {"**/*.html\n!**/index.html", []string{html + "index.html", html + "css/style.css", conf + "nginx.conf", html + "app/index.html"}},
		"everything but":           {"*\n!site/index.html", []string{html + "index.html"}},
		"what a tool wrote":        {"!site/app/**", []string{html + "index.html", html + "draft.html", html + "css/style.css", conf + "nginx.conf", html + "app/index.html", html + "app/debug.log"}},
		"some of that":             {"!site/app/**\n**/*.log", []string{html + "index.html", html + "draft.html", html + "css/style.css", conf + "nginx.conf", html + "app/index.html"}},
		"a bundler's folder":       {"site\n!dist/**", []string{html + "bundle.js", conf + "nginx.conf"}},
		"never the environment":    {"!**", []string{html + "index.html", html + "draft.html", html + "css/style.css", conf + "nginx.conf", html + "app/index.html", html + "app/debug.log", html + "bundle.js"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := sourcetest.New(t)
			sourcetest.Write(t, dir, "web/site/draft.html", "draft")
			sourcetest.Write(t, dir, "web/site/.env", "PASSWORD=tracked")
			sourcetest.Commit(t, dir, "draft")
			sourcetest.Write(t, dir, "web/site/app/index.html", "made by a tool")
			sourcetest.Write(t, dir, "web/site/app/debug.log", "ignored by git")
			sourcetest.Write(t, dir, "web/site/app/.env.local", "PASSWORD=x")
			sourcetest.Write(t, dir, "web/site/app/.git/config", "[core]")
			sourcetest.Write(t, dir, "web/dist/bundle.js", "bundle()")
			if tt.ignored != "" {
				sourcetest.Write(t, dir, "web/.dockerignore", tt.ignored)
			}
			web, err := buildWeb(t, dir)
			require.NoError(t, err)
			var files []string
			for name := range entries(t, child(t, web)) {
				if !strings.HasSuffix(name, "/") {
					files = append(files, name)
				}
			}
			require.ElementsMatch(t, tt.files, files)
		})
	}
}

func TestBadPatterns(t *testing.T) {
	for _, pattern := range []string{"!", "site/[", "[\n!site/index.html"} {
		dir := sourcetest.New(t)
		sourcetest.Write(t, dir, "web/.dockerignore", pattern)
		_, err := buildWeb(t, dir)
		require.ErrorContains(t, err, "web/.dockerignore", pattern)
		require.Equal(t, outcome.Usage, outcome.Of(err), pattern)
	}
	dir := sourcetest.New(t)
	sourcetest.Write(t, dir, "web/.dockerignore/file", "a folder in its place")
	_, err := buildWeb(t, dir)
	require.ErrorContains(t, err, "reading web/.dockerignore")
}

// TestBuildRefusesSecrets: no image contains a secret.
func TestBuildRefusesSecrets(t *testing.T) {
	_, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	id := "AKIA" + "IOSFODNN7" + "EXAMPLE"
	tests := map[string]struct {
		file, content string
		service       int
		want          string
	}{
		"a key in a site":                  {"web/site/key.txt", "\n" + key, 1, "web/site/key.txt:2 contains a private key"},
		"an access key in a script":        {"web/site/app.js", "const id = '" + id + "'", 1, "web/site/app.js:1 contains an AWS access key id"},
		"a key in the configuration":       {"web/nginx/tls.key", key, 1, "web/nginx/tls.key:1 contains a private key"},
		"a file whose name breaks lines":   {"web/site/a\nb", key, 1, `"web/site/a\nb":1 contains a private key`},
		"a key that is embedded":           {"api/page.html", key, 0, "api/page.html:1 contains a private key"},
		"an access key in a program":       {"api/id.go", "package main\n\nvar page = \"" + id + "\"\n", 0, "api/id.go:3 contains an AWS access key id"},
		"an access key put together there": {"api/id.go", "package main\n\nvar page = \"" + id[:9] + "\" + \"" + id[9:] + "\"\n", 0, "the binary of api contains an AWS access key id"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := sourcetest.New(t)
			main := "package main\n\nfunc main() { print(page) }\n"
			if strings.HasSuffix(tt.file, "page.html") {
				main = smallServer
			}
			sourcetest.Write(t, dir, "api/main.go", main)
			sourcetest.Write(t, dir, tt.file, tt.content)
			sourcetest.Commit(t, dir, "oops")
			p, err := platform.Load(dir)
			require.NoError(t, err)
			_, err = builder(t, dir).Build(t.Context(), p.Services[tt.service:tt.service+1])
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, outcome.Refused, outcome.Of(err))
			require.NotContains(t, err.Error(), id)
			require.NotContains(t, err.Error(), "\n", "one line")
		})
	}
	t.Run("what does not enter may have any", func(t *testing.T) {
		dir := smallTree(t)
		sourcetest.Write(t, dir, "web/site/key.txt", key)
		sourcetest.Write(t, dir, "api/testdata/key.pem", key)
		_, err := buildWeb(t, dir)
		require.NoError(t, err, "git does not track it")
		sourcetest.Commit(t, dir, "tracked")
		sourcetest.Write(t, dir, "web/.dockerignore", "site/key.txt\n")
		build(t, builder(t, dir))
	})
}

func TestFileNames(t *testing.T) {
	long := strings.Repeat("x", 255)
	names := []string{"line\nbreak.html", "tab\tand \"quotes\"", "ümlaut 漢字", "-dash", long, strings.Repeat(long[:250]+"/", 8) + long}
	dir := sourcetest.New(t)
	for _, name := range names {
		sourcetest.Write(t, dir, "web/site/"+name, "x")
	}
	sourcetest.Commit(t, dir, "names")
	web, err := buildWeb(t, dir)
	require.NoError(t, err)
	found := entries(t, child(t, web))
	for _, name := range names {
		require.Contains(t, found, "usr/share/nginx/html/"+name)
	}

	t.Run("too long for this machine", func(t *testing.T) {
		// Git reads only its index: the tree itself cannot contain the file.
		deep := strings.Repeat(long[:250]+"/", 17) + "x"
		blob := strings.TrimSpace(sourcetest.Git(t, dir, "rev-parse", "HEAD:web/site/index.html"))
		sourcetest.Git(t, dir, "update-index", "--add", "--cacheinfo", "100644,"+blob+",web/site/"+deep)
		_, err := buildWeb(t, dir)
		require.ErrorContains(t, err, "file name too long")
		require.NotContains(t, err.Error(), "\n")
		require.Less(t, len(err.Error()), 500, "the name itself is not repeated in full")
	})
	t.Run("without the right to read", func(t *testing.T) {
		if os.Getuid() == 0 {
			t.Skip("root may read everything: run as another user")
		}
		dir := sourcetest.New(t)
		require.NoError(t, os.Chmod(filepath.Join(dir, "web/site/index.html"), 0))
		_, err := buildWeb(t, dir)
		require.ErrorContains(t, err, "reading web/site/index.html: permission denied")
	})
}

// TestWholeFolder checks a folder whose pages are in it, and not in its folder site.
func TestWholeFolder(t *testing.T) {
	const html, conf = "usr/share/nginx/html/", "etc/nginx/"
	for name, tt := range map[string]struct {
		files map[string]string
		want  []string
		err   string
	}{
		"pages":               {nil, []string{html + "index.html", html + "css/style.css", conf + "nginx.conf"}, ""},
		"its configuration":   {map[string]string{"web/nginx/nginx.conf": "events {}\n", "web/nginx/mime.types": "types {}\n"}, []string{html + "index.html", html + "css/style.css", conf + "nginx.conf", conf + "mime.types"}, ""},
		"what is ignored":     {map[string]string{"web/.dockerignore": "css\n"}, []string{html + "index.html", conf + "nginx.conf"}, ""},
		"not of the site":     {map[string]string{"web/README.md": "x", "web/terraform/main.tf": "x", "web/.github/x.yml": "x", "web/dagger.json": "x", "web/css/.hidden": "x"}, []string{html + "index.html", html + "css/style.css", conf + "nginx.conf"}, ""},
		"a tool builds pages": {map[string]string{"web/package.json": "{}"}, nil, "web/site has no file that git tracks"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := sourcetest.New(t)
			sourcetest.Git(t, dir, "rm", "-rq", "web")
			sourcetest.Write(t, dir, "web/index.html", "<p>")
			sourcetest.Write(t, dir, "web/css/style.css", "p {}")
			for file, content := range tt.files {
				sourcetest.Write(t, dir, file, content)
			}
			sourcetest.Commit(t, dir, "pages")
			web, err := buildWeb(t, dir)
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			var files []string
			for name := range entries(t, child(t, web)) {
				if !strings.HasSuffix(name, "/") {
					files = append(files, name)
				}
			}
			require.ElementsMatch(t, tt.want, files)
		})
	}
}
