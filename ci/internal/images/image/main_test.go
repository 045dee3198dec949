package image_test

import (
	"context"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// programsTree returns a tree with a module that has several programs, and its entries.
func programsTree(t *testing.T, entries string) (image.Builder, []platform.Service) {
	t.Helper()
	dir := sourcetest.New(t)
	sourcetest.Git(t, dir, "rm", "-q", "-r", "api", "web")
	for name, content := range map[string]string{
		platform.ServicesFile:    `{"services": {` + entries + `}}`,
		"apps/go.mod":            "module example.com/apps\n\ngo 1.26\n",
		"apps/cmd/server/run.go": "package main\n\nfunc main() { print(\"the server\") }\n",
		"apps/cmd/job/run.go":    "package main\n\nfunc main() { print(text) }\n",
		"apps/cmd/job/plain.go":  "//go:build !special\n\npackage main\n\nconst text = \"a plain job\"\n",
		"apps/cmd/job/tagged.go": "//go:build special && more\n\npackage main\n\nconst text = \"a special job\"\n",
		"apps/lib/lib.go":        "package lib\n",
	} {
		sourcetest.Write(t, dir, name, content)
	}
	sourcetest.Commit(t, dir, "programs")
	p, err := platform.Load(dir)
	require.NoError(t, err)
	return builder(t, dir), p.Services
}

const (
	size   = `"cpu": 256, "memory": 512, "desired_count": 1}`
	job    = `"job": {"path": "apps", "kind": "go", "main": "./cmd/job", ` + size
	tagged = `"tagged": {"path": "apps", "kind": "go", "main": "./cmd/job", "build_tags": ["special", "more"], ` + size
	server = `"server": {"path": "apps", "kind": "go", ` + size
	web    = `"api": {"path": "apps", "kind": "go", "main": "./cmd/server", "port": 8000, "health_path": "/", "routes": ["/*"], ` + size
)

func TestMainPackages(t *testing.T) {
	b, services := programsTree(t, strings.Join([]string{job, tagged, server, web}, ","))
	compiled := new(atomic.Int32)
	b.Exec = executor(func(ctx context.Context, s step.Step, dir string) (step.Result, error) {
		if slices.Contains(s.Args, "build") {
			compiled.Add(1)
		}
		return step.Host{Source: b.Source.Dir}.Run(ctx, s, dir)
	})
	images, err := b.Build(t.Context(), services)
	require.NoError(t, err)
	require.EqualValues(t, 3, compiled.Load(), "equal builds are built once")
	for n, want := range map[int]string{0: "the server", 1: "a plain job", 2: "the server", 3: "a special job"} {
		layers, err := child(t, images[n]).Layers()
		require.NoError(t, err)
		content, err := layers[0].Uncompressed()
		require.NoError(t, err)
		binary, err := io.ReadAll(content)
		require.NoError(t, err)
		require.NoError(t, content.Close())
		for _, text := range []string{"the server", "a plain job", "a special job"} {
			require.Equal(t, text == want, strings.Contains(string(binary), text), "%s: %s", services[n].Name, text)
		}
		require.Equal(t, services[n].Name, images[n].Service.Name)
	}
	require.Equal(t, digest(t, images[0]), digest(t, images[2]))
	alone, err := b.Build(t.Context(), services[2:3])
	require.NoError(t, err)
	require.Equal(t, digest(t, images[0]), digest(t, alone[0]), "whichever of the services that share it is built")
	require.Equal(t, services[0].Repository(), services[2].Repository())
	config, err := child(t, images[1]).ConfigFile()
	require.NoError(t, err)
	require.Empty(t, config.Config.ExposedPorts, "a job has no port")
}

func TestMainPackageFails(t *testing.T) {
	for main, want := range map[string]string{
		"./cmd/none": `building job: main "./cmd/none": apps has no such folder: correct main in terraform/services.auto.tfvars.json`,
		"./lib":      "building job: ./lib in apps is package lib, not a program: name the folder of package main with main in terraform/services.auto.tfvars.json",
	} {
		b, services := programsTree(t, strings.Replace(job, "./cmd/job", main, 1))
		_, err := b.Build(t.Context(), services)
		require.EqualError(t, err, want)
		require.Equal(t, outcome.Usage, outcome.Of(err))
	}
	// A committed file of the program that is skipped here is missed.
	b, services := programsTree(t, job)
	sourcetest.Git(t, b.Source.Dir, "update-index", "--skip-worktree", "apps/cmd/job/plain.go")
	sourcetest.Write(t, b.Source.Dir, "apps/cmd/job/plain.go", "//go:build !special\n\npackage main\n\nconst text = \"edited\"\n")
	_, err := b.Build(t.Context(), services)
	require.ErrorContains(t, err, "apps/cmd/job/plain.go differs from the commit")
}

// filesTree returns a tree whose job has files, and the entry.
func filesTree(t *testing.T, files string) (image.Builder, []platform.Service) {
	t.Helper()
	b, _ := programsTree(t, strings.Replace(job, `"kind"`, `"files": [`+files+`], "kind"`, 1))
	for name, content := range map[string]string{
		"apps/job.yml": "a: b\n", "apps/web/page.html": "<p>", "apps/web/more/x.md": "x", "apps/web/draft.html": "draft", "apps/other.yml": "", "apps/web/.env": "A=b",
		"apps/.dockerignore": "web/draft.html\n!web/made.js\n",
	} {
		sourcetest.Write(t, b.Source.Dir, name, content)
	}
	sourcetest.Git(t, b.Source.Dir, "add", "--force", "--all")
	sourcetest.Commit(t, b.Source.Dir, "files")
	sourcetest.Write(t, b.Source.Dir, "apps/web/made.js", "made by a tool")
	sourcetest.Write(t, b.Source.Dir, "apps/web/untracked", "")
	p, err := platform.Load(b.Source.Dir)
	require.NoError(t, err)
	return b, p.Services
}

// TestFiles builds images with files beside the binary.
func TestFiles(t *testing.T) {
	b, services := filesTree(t, `"job.yml", "web", "web/more"`)
	b.Platforms = image.DefaultPlatforms()
	images, err := b.Build(t.Context(), services)
	require.NoError(t, err)
	layers, err := child(t, images[0]).Layers()
	require.NoError(t, err)
	require.Len(t, layers, 2)
	require.Contains(t, entries(t, child(t, images[0])), "server", "the binary is in the last layer")
	files, err := mutate.AppendLayers(empty.Image, layers[0])
	require.NoError(t, err)
	found := entries(t, files)
	require.Equal(t, []string{"job.yml", "web/", "web/made.js", "web/more/", "web/more/x.md", "web/page.html"}, slices.Sorted(maps.Keys(found)))
	require.EqualValues(t, 0o644, found["job.yml"].Mode)
	config, err := child(t, images[0]).ConfigFile()
	require.NoError(t, err)
	require.Equal(t, "/", config.Config.WorkingDir)

	again, err := b.Build(t.Context(), services)
	require.NoError(t, err)
	require.Equal(t, digest(t, images[0]), digest(t, again[0]))
	sourcetest.Write(t, b.Source.Dir, "apps/other.yml", "not of the image")
	other, err := b.Build(t.Context(), services)
	require.NoError(t, err)
	require.Equal(t, digest(t, images[0]), digest(t, other[0]))
	sourcetest.Write(t, b.Source.Dir, "apps/job.yml", "a: c\n")
	changed, err := b.Build(t.Context(), services)
	require.NoError(t, err)
	require.NotEqual(t, digest(t, images[0]), digest(t, changed[0]))
	b.RequireCommitted = true
	_, err = b.Build(t.Context(), services)
	require.ErrorContains(t, err, "apps/job.yml differs from the commit")
}

func TestFilesRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		files  string
		change func(t *testing.T, dir string)
		code   outcome.Code
		want   string
	}{
		"missing":   {`"job.yaml"`, nil, outcome.Usage, `building job: files "job.yaml": apps has no such file for an image: git add it`},
		"untracked": {`"web/untracked"`, nil, outcome.Usage, `files "web/untracked": apps has no such file for an image`},
		"excluded":  {`"web/draft.html"`, nil, outcome.Usage, `files "web/draft.html": apps has no such file for an image`},
		"private":   {`"web/.env"`, nil, outcome.Usage, `files "web/.env": apps has no such file for an image`},
		"a secret": {`"web"`, func(t *testing.T, dir string) {
			sourcetest.Write(t, dir, "apps/web/key", "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7bq\n-----END RSA PRIVATE KEY-----\n")
		}, outcome.Refused, "apps/web/key:1 contains a private key"},
		"a link out of the folder": {`"web"`, func(t *testing.T, dir string) {
			require.NoError(t, os.Symlink("../../README.md", filepath.Join(dir, "apps", "web", "link")))
		}, outcome.Failed, "reading apps/web/link"},
		"hidden from git status": {`"web"`, func(t *testing.T, dir string) {
			sourcetest.Git(t, dir, "update-index", "--skip-worktree", "apps/web/page.html")
			sourcetest.Write(t, dir, "apps/web/page.html", "edited")
		}, outcome.Usage, "apps/web/page.html differs from the commit"},
	} {
		t.Run(name, func(t *testing.T) {
			b, services := filesTree(t, tt.files)
			if tt.change != nil {
				tt.change(t, b.Source.Dir)
				sourcetest.Git(t, b.Source.Dir, "add", "--all")
			}
			_, err := b.Build(t.Context(), services)
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, tt.code, outcome.Of(err), err.Error())
		})
	}
}

// TestServiceInRoot: the steps of a service in the root of the tree read all of it.
func TestServiceInRoot(t *testing.T) {
	b, services := programsTree(t, job)
	services[0].Path, services[0].Main = ".", "."
	sourcetest.Write(t, b.Source.Dir, "go.mod", "module example.com/root\n\ngo 1.26\n")
	sourcetest.Write(t, b.Source.Dir, "main.go", "package main\n\nfunc main() {}\n")
	sourcetest.Commit(t, b.Source.Dir, "root")
	b.Exec = executor(func(ctx context.Context, s step.Step, dir string) (step.Result, error) {
		include, _ := s.Filter()
		require.Empty(t, include, s.Name)
		return step.Host{Source: b.Source.Dir}.Run(ctx, s, dir)
	})
	_, err := b.Build(t.Context(), services)
	require.NoError(t, err)
}
