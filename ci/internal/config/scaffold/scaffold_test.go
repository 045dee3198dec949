package scaffold_test

import (
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/check/coverage"
	"github.com/slipway-cd/slipway/ci/internal/check/gotest"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/scaffold"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// open creates a small tree with changed files and commits it.
func open(t *testing.T, files map[string]string) (source.Tree, platform.Platform) {
	t.Helper()
	dir := sourcetest.New(t)
	for name, content := range files {
		sourcetest.Write(t, dir, name, content)
	}
	if len(files) > 0 {
		sourcetest.Commit(t, dir, "files")
	}
	tree, err := source.Open(t.Context(), dir)
	require.NoError(t, err)
	p, err := platform.Load(dir)
	require.NoError(t, err)
	return tree, p
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	require.NoError(t, err)
	return string(data)
}

const workspace = "go 1.26\n\nuse ./api\n"

func TestAddGo(t *testing.T) {
	tree, p := open(t, map[string]string{"go.work": workspace, "api/go.mod": "module example.com/shop/api\n\ngo 1.25.3\n"})
	added, err := scaffold.Add(t.Context(), tree, scaffold.Default(p, "orders", platform.Go))
	require.NoError(t, err)

	now, err := platform.Load(tree.Dir)
	require.NoError(t, err)
	require.Equal(t, []string{"api", "orders", "web"}, now.Names())
	require.Equal(t, added.Entry, now.Services[1])
	require.Equal(t, platform.Service{
		Name: "orders", Build: platform.Build{Path: "orders", Kind: platform.Go}, Port: 8001, HealthPath: "/health",
		Routes: []string{"/orders", "/orders/*"}, CPU: 256, Memory: 512, DesiredCount: 2,
	}, added.Entry)
	require.Equal(t, []string{platform.ServicesFile, "go.work"}, added.Changed)
	require.Contains(t, added.Files, "orders/cmd/server/main.go")
	require.Equal(t, "module example.com/shop/orders\n\ngo 1.25.3\n", read(t, tree.Dir, "orders/go.mod"), "as the neighbour has it")
	require.Contains(t, read(t, tree.Dir, "go.work"), "./orders")
	require.Contains(t, read(t, tree.Dir, "go.work"), "./api")

	tracked, err := tree.Files(t.Context(), "orders")
	require.NoError(t, err)
	require.Len(t, tracked, len(added.Files), "git knows of them")
	require.Empty(t, sourcetest.Git(t, tree.Dir, "diff", "--cached", "--stat"), "and nothing is staged")
}

func TestAddNginx(t *testing.T) {
	tree, p := open(t, map[string]string{"go.work": workspace})
	service := scaffold.Default(p, "handbook", platform.Nginx)
	require.Equal(t, 8081, service.Port)
	service.Path = "sites/help"
	service.HealthPath = "/alive"
	service.Routes = []string{"/help/pages/*"}
	added, err := scaffold.Add(t.Context(), tree, service)
	require.NoError(t, err)
	require.Equal(t, []string{platform.ServicesFile}, added.Changed, "a site is no module")
	page := read(t, tree.Dir, "sites/help/site/help/pages/index.html")
	require.Contains(t, page, `href="/help/pages/style.css"`)
	require.FileExists(t, filepath.Join(tree.Dir, "sites/help/site/help/pages/style.css"))
	require.FileExists(t, filepath.Join(tree.Dir, "sites/help/site/404.html"))
	configuration := read(t, tree.Dir, "sites/help/nginx/nginx.conf")
	require.Contains(t, configuration, "listen      8081;")
	require.Equal(t, 3, strings.Count(configuration, "/alive"))
}

// TestNginxConfigurationMatchesFrontend checks that the template has the directives of the
// frontend's configuration.
func TestNginxConfigurationMatchesFrontend(t *testing.T) {
	tree, p := open(t, nil)
	service := scaffold.Default(p, "handbook", platform.Nginx)
	service.Port = 9999
	_, err := scaffold.Add(t.Context(), tree, service)
	require.NoError(t, err)
	directives := func(text string) []string {
		var lines []string
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			if line != "" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "listen ") && !strings.HasPrefix(line, "include /etc/nginx/locations.d/") {
				lines = append(lines, line)
			}
		}
		return lines
	}
	require.Equal(t, directives(read(t, sourcetest.Repository("frontend", "nginx", "nginx.conf"))), directives(read(t, tree.Dir, "handbook/nginx/nginx.conf")))
}

// TestGeneratedGoService runs the test stage on generated services with all kinds of routes.
func TestGeneratedGoService(t *testing.T) {
	race, _ := gotest.RaceSupported(t.Context())
	wishes := map[string]func(*platform.Service){
		"default": func(*platform.Service) {},
		"odd": func(s *platform.Service) {
			s.Routes, s.HealthPath, s.Port = []string{"/shop", "/shop/*", "/a-b/c.d/*", "/alive"}, "/alive", 65535
		},
		"all": func(s *platform.Service) { s.Routes = []string{"/*"} },
	}
	for name, wish := range wishes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree, p := open(t, map[string]string{platform.ServicesFile: strings.Replace(sourcetest.Services, `"/*"`, `"/web"`, 1)})
			service := scaffold.Default(p, "orders", platform.Go)
			wish(&service)
			added, err := scaffold.Add(t.Context(), tree, service)
			require.NoError(t, err)
			for _, name := range added.Files {
				if filepath.Ext(name) == ".go" {
					text := read(t, tree.Dir, name)
					formatted, err := format.Source([]byte(text))
					require.NoError(t, err)
					require.Equal(t, string(formatted), text, name)
				}
			}
			summary, err := gotest.Run(t.Context(), tree.Dir, step.Host{Source: tree.Dir}, gotest.Options{
				Modules: []string{"orders"}, Gate: coverage.Gate{Default: 95}, Race: race,
			})
			require.NoError(t, err)
			require.Equal(t, gotest.Succeeded, summary.Result, summary.String())
		})
	}
}

func TestAddErrors(t *testing.T) {
	tests := map[string]struct {
		name string
		kind platform.Kind
		wish func(*platform.Service)
		want string
	}{
		"duplicate name":               {"api", platform.Go, nil, `service "api" already exists: choose another name`},
		"a name in capitals":           {"Orders", platform.Go, nil, `service "Orders": the name must be 2 to 25 lower-case letters`},
		"a name too long":              {strings.Repeat("a", 26), platform.Go, nil, "the name must be 2 to 25"},
		"no name":                      {"", platform.Go, nil, "the name must be 2 to 25"},
		"a name with a quote":          {`o"rders`, platform.Go, nil, "the name must be 2 to 25"},
		"an unknown kind":              {"orders", "python", nil, `kind "python" must be one of go, nginx, dockerfile, image`},
		"a privileged port":            {"orders", platform.Go, func(s *platform.Service) { s.Port = 80 }, "port 80 must be between 1024 and 65535"},
		"port out of range":            {"orders", platform.Go, func(s *platform.Service) { s.Port = 65536 }, "port 65536 must be"},
		"an odd size":                  {"orders", platform.Go, func(s *platform.Service) { s.CPU = 300 }, "cpu 300 is not a Fargate size"},
		"memory for another size":      {"orders", platform.Go, func(s *platform.Service) { s.CPU = 1024 }, "memory 512 is not available with cpu 1024"},
		"fewer than none":              {"orders", platform.Go, func(s *platform.Service) { s.DesiredCount = -1 }, "desired_count -1"},
		"a route that is taken":        {"orders", platform.Go, func(s *platform.Service) { s.Routes = []string{"/api/*"} }, `services "api" and "orders" both have route "/api/*"`},
		"another for all":              {"orders", platform.Go, func(s *platform.Service) { s.Routes = []string{"/*"} }, `services "orders" and "web" both have route "/*"`},
		"a route twice":                {"orders", platform.Go, func(s *platform.Service) { s.Routes = []string{"/o", "/o"} }, `both have route "/o"`},
		"conflicting route":            {"orders", platform.Go, func(s *platform.Service) { s.Routes = []string{"/pages/*"} }, `route "/pages/*" conflicts with "/p*/x" of service "web": both match some paths with the same priority; use a deeper route`},
		"a route without slash":        {"orders", platform.Go, func(s *platform.Service) { s.Routes = []string{"orders"} }, `route "orders" must begin with "/"`},
		"a wildcard elsewhere":         {"orders", platform.Go, func(s *platform.Service) { s.Routes = []string{"/o*/x"} }, `invalid route "/o*/x": want a path, such as /orders, or all paths below one, such as /orders/*`},
		"a route that goes up":         {"orders", platform.Go, func(s *platform.Service) { s.Routes = []string{"/a/../b"} }, `invalid route "/a/../b": want a path`},
		"a route with a bracket":       {"orders", platform.Go, func(s *platform.Service) { s.Routes = []string{"/{x}"} }, `invalid route "/{x}": want a path`},
		"a site without a place":       {"orders", platform.Nginx, func(s *platform.Service) { s.Routes = []string{"/o"} }, `a service of kind "nginx" needs a route that ends in /*, such as /orders/*`},
		"a relative health path":       {"orders", platform.Go, func(s *platform.Service) { s.HealthPath = "health" }, `health_path "health" must begin with "/"`},
		"health path with a semicolon": {"orders", platform.Nginx, func(s *platform.Service) { s.HealthPath = "/a;b" }, `invalid health path "/a;b": want a path without wildcards`},
		"a folder that is there":       {"orders", platform.Go, func(s *platform.Service) { s.Path = "docs" }, "docs already exists: choose another folder with --path, or remove it"},
		"folder of another service":    {"orders", platform.Go, func(s *platform.Service) { s.Path = "api/orders" }, `path "api/orders" is in the folder of service "api"`},
		"the pipeline's folder":        {"orders", platform.Go, func(s *platform.Service) { s.Path = "ci/orders" }, `path "ci/orders" is in ci, which belongs to the pipeline`},
		"a folder outside":             {"orders", platform.Go, func(s *platform.Service) { s.Path = "../orders" }, `path "../orders" must name a folder inside the source tree`},
		"a folder with a space":        {"orders", platform.Go, func(s *platform.Service) { s.Path = "my orders" }, `invalid path "my orders": use letters`},
		"a folder git ignores":         {"orders", platform.Go, func(s *platform.Service) { s.Path = "sub/built.log" }, `git ignores sub/built.log because of a .gitignore file: choose another folder with --path`},
	}
	tree, p := open(t, map[string]string{
		"docs/a.md": "", "go.work": workspace, platform.ServicesFile: strings.Replace(sourcetest.Services, `["/*"]`, `["/*", "/p*/x"]`, 1),
	})
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			service := scaffold.Default(p, tt.name, tt.kind)
			if tt.wish != nil {
				tt.wish(&service)
			}
			_, err := scaffold.Add(t.Context(), tree, service)
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, outcome.Usage, outcome.Of(err))
			require.NotContains(t, err.Error(), "\n", "one line")
			require.Empty(t, sourcetest.Git(t, tree.Dir, "status", "--porcelain", "--ignored"), "nothing is written")
		})
	}
}

func TestAddMalformedFiles(t *testing.T) {
	tests := map[string]struct{ file, content, want string }{
		"services":  {platform.ServicesFile, "{", "line 1 is not JSON"},
		"workspace": {"go.work", "use (", "go.work:1"},
		"module":    {"api/go.mod", "module \"x\ngo", "api/go.mod:1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tree, p := open(t, nil)
			sourcetest.Write(t, tree.Dir, tt.file, tt.content)
			sourcetest.Commit(t, tree.Dir, "broken")
			_, err := scaffold.Add(t.Context(), tree, scaffold.Default(p, "orders", platform.Go))
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, outcome.Usage, outcome.Of(err))
			require.NotContains(t, err.Error(), "\n", "one line")
			require.Empty(t, sourcetest.Git(t, tree.Dir, "status", "--porcelain"))
		})
	}
}

// TestAddRollsBack makes git fail after some files were written.
func TestAddRollsBack(t *testing.T) {
	tree, p := open(t, nil)
	lock := filepath.Join(tree.Dir, ".git", "index.lock")
	require.NoError(t, os.WriteFile(lock, nil, 0o600))
	service := scaffold.Default(p, "orders", platform.Go)
	service.Path = "services/orders"
	_, err := scaffold.Add(t.Context(), tree, service)
	require.ErrorContains(t, err, `adding service "orders": running git add`)
	require.Equal(t, outcome.Failed, outcome.Of(err))
	require.NoError(t, os.Remove(lock))
	require.Empty(t, sourcetest.Git(t, tree.Dir, "status", "--porcelain"))
	require.NoDirExists(t, filepath.Join(tree.Dir, "services"), "folders above it are gone, too")

	_, err = scaffold.Add(t.Context(), tree, service)
	require.NoError(t, err, "and it can be tried again")
}

// TestAddFirstService adds a Go service to a tree without one, with a symbolic link as
// services file.
func TestAddFirstService(t *testing.T) {
	tree, p := open(t, map[string]string{
		platform.ServicesFile: `{"services": {"web": {"path": "web", "kind": "nginx", "port": 8000, "health_path": "/healthz", "routes": ["/*"], "cpu": 256, "memory": 512, "desired_count": 1}}}`,
	})
	file := filepath.Join(tree.Dir, filepath.FromSlash(platform.ServicesFile))
	require.NoError(t, os.Rename(file, filepath.Join(tree.Dir, "services.json")))
	require.NoError(t, os.Symlink("../services.json", file))
	added, err := scaffold.Add(t.Context(), tree, scaffold.Default(p, "orders", platform.Go))
	require.NoError(t, err)
	require.Equal(t, 8001, added.Entry.Port)
	require.Regexp(t, `^module services/orders\n\ngo 1\.\d+`, read(t, tree.Dir, "orders/go.mod"))
	require.Contains(t, read(t, tree.Dir, "services.json"), `, "orders": {"path": "orders", "kind": "go", "port": 8001,`)
	info, err := os.Lstat(file)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&os.ModeSymlink)
}

func TestParseKind(t *testing.T) {
	kind, err := scaffold.ParseKind("nginx")
	require.NoError(t, err)
	require.Equal(t, platform.Nginx, kind)
	_, err = scaffold.ParseKind("ngnix")
	require.EqualError(t, err, `unknown kind "ngnix": did you mean "nginx"?`)
	_, err = scaffold.ParseKind("python")
	require.EqualError(t, err, `unknown kind "python": want one of go, nginx, dockerfile, image`)
	require.Equal(t, outcome.Usage, outcome.Of(err))
}

// TestNginxAcceptsConfiguration runs nginx -t on the generated configuration.
func TestNginxAcceptsConfiguration(t *testing.T) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		if nginx, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			t.Skip("nginx is not installed: apt-get install -y nginx-light")
		}
	}
	tree, p := open(t, nil)
	_, err = scaffold.Add(t.Context(), tree, scaffold.Default(p, "handbook", platform.Nginx))
	require.NoError(t, err)
	said, err := exec.CommandContext(t.Context(), nginx, "-t", "-p", t.TempDir(), "-e", "stderr", "-c", filepath.Join(tree.Dir, "handbook/nginx/nginx.conf")).CombinedOutput()
	require.NoError(t, err, "%s", said)
}
