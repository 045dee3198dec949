package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// TestNewService adds a service of each kind and builds both.
func TestNewService(t *testing.T) {
	dir := sourcetest.New(t)
	code, stdout, stderr := run(t, "new", "service", "orders", "--kind", "go", "--route", "/shop/orders/*", "--port", "9000", "--cpu", "512",
		"--memory", "1024", "--desired-count", "0", "--path", "services/orders", "--health-path", "/alive", "--source", dir, "--output", "json")
	require.Equal(t, outcome.Done, code, stderr)
	got := decode[struct {
		Service        string
		Entry          platform.Service
		Files, Changed []string
	}](t, stdout)
	require.Equal(t, "orders", got.Service)
	require.Equal(t, platform.Service{
		Build: platform.Build{Path: "services/orders", Kind: platform.Go}, Port: 9000, HealthPath: "/alive", Routes: []string{"/shop/orders/*"}, CPU: 512, Memory: 1024,
	}, got.Entry)
	require.Contains(t, got.Files, "services/orders/go.mod")
	require.Equal(t, []string{platform.ServicesFile}, got.Changed)

	code, stdout, stderr = run(t, "new", "service", "handbook", "--kind", "nginx", "--source", dir)
	require.Equal(t, outcome.Done, code, stderr)
	require.Contains(t, stdout, "service handbook of kind nginx, on port 8081, for /handbook /handbook/*\n  changed  "+platform.ServicesFile+"\n  new      handbook/README.md\n")
	require.Contains(t, stdout, "slipway rehearse")

	code, stdout, stderr = run(t, "build", "--source", dir, "--out", t.TempDir(), "--platform", "linux/amd64", "--service", "orders", "--service", "handbook")
	require.Equal(t, outcome.Done, code, stderr)
	require.Contains(t, stdout, "orders ")
	require.Contains(t, stdout, "handbook ")

	code, stdout, stderr = run(t, "new", "service", "legacy", "--kind", "dockerfile", "--source", dir)
	require.Equal(t, outcome.Done, code, stderr)
	require.Contains(t, stdout, "service legacy of kind dockerfile, on port 8001, for /legacy /legacy/*\n  changed  "+platform.ServicesFile+"\n  new      legacy/Dockerfile\n")
	require.FileExists(t, filepath.Join(dir, "legacy/site/legacy/index.html"))
	for _, name := range []string{"cache", "again"} { // two services may have the same image
		code, stdout, stderr = run(t, "new", "service", name, "--kind", "image", "--image", "docker.io/library/redis:8", "--worker", "--source", dir)
		require.Equal(t, outcome.Done, code, stderr)
		require.Contains(t, stdout, "service "+name+" of kind image\n  changed  "+platform.ServicesFile+"\nTry it")
	}
	p, err := platform.Load(dir)
	require.NoError(t, err)
	require.NoError(t, p.CheckFolders(dir))

	code, stdout, stderr = run(t, "new", "service", "notes", "--kind", "nginx", "--source", dir, "--output", "markdown")
	require.Equal(t, outcome.Done, code, stderr)
	require.Contains(t, stdout, "Service **notes** of kind nginx, on port 8082, for `/notes`, `/notes/*`.")
	require.Contains(t, stdout, "| notes/nginx/nginx.conf | new |")
}

func TestNewServiceErrors(t *testing.T) {
	dir := sourcetest.New(t)
	tests := map[string]struct {
		args []string
		want string
	}{
		"no name":         {[]string{"--kind", "go"}, "new service takes one name, but got 0: run slipway new service NAME --kind go"},
		"two names":       {[]string{"a1", "b1", "--kind", "go"}, "takes one name, but got 2"},
		"no kind":         {[]string{"orders"}, "service orders has no kind: add --kind go, nginx, dockerfile, image"},
		"no image":        {[]string{"orders", "--kind", "image"}, `kind "image" needs image`},
		"an image of go":  {[]string{"orders", "--kind", "go", "--image", "redis:8"}, `image applies to kind "image" only`},
		"a Go worker":     {[]string{"orders", "--kind", "go", "--worker"}, `the template of kind "go" has a port: a worker is of kind dockerfile or image`},
		"a worker's port": {[]string{"orders", "--kind", "dockerfile", "--worker", "--port", "80"}, "--worker has no port, routes and health path: leave out"},
		"unknown kind":    {[]string{"orders", "--kind", "ngnix"}, `unknown kind "ngnix": did you mean "nginx"?`},
		"a name taken":    {[]string{"api", "--kind", "go"}, `service "api" already exists`},
		"port 0":          {[]string{"orders", "--kind", "go", "--port", "0"}, "routes without port"},
		"port no number":  {[]string{"orders", "--kind", "go", "--port", "http"}, "see slipway new service --help"},
		"unknown flag":    {[]string{"orders", "--kind", "go", "--rout", "/a"}, "unknown flag --rout: did you mean --route?"},
		"folder is there": {[]string{"orders", "--kind", "go", "--path", "web"}, `path "web" is in the folder of service "web"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := run(t, append([]string{"new", "service", "--source", dir}, tt.args...)...)
			require.Equal(t, outcome.Usage, code, stderr)
			require.Empty(t, stdout)
			require.Contains(t, stderr, tt.want)
			require.Equal(t, 1, strings.Count(stderr, "\n"), "one clear line")
			require.Empty(t, sourcetest.Git(t, dir, "status", "--porcelain"), "nothing is written")
		})
	}
	code, _, stderr := run(t, "new", "servce")
	require.Equal(t, outcome.Usage, code)
	require.Contains(t, stderr, `unknown command "servce": did you mean service?`)
	code, stdout, _ := run(t, "new")
	require.Equal(t, outcome.Done, code)
	require.Contains(t, stdout, "slipway new service orders --kind go")

	require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.FromSlash(platform.ServicesFile)), []byte("{"), 0o644))
	code, _, stderr = run(t, "new", "service", "orders", "--kind", "go", "--source", dir)
	require.Equal(t, outcome.Usage, code)
	require.Equal(t, "slipway: "+platform.ServicesFile+": line 1 is not JSON: unexpected end of JSON input\n", stderr)
}
