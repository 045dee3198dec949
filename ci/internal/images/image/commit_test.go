package image_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// embedding is a program of three packages without the standard library.
var embedding = map[string]string{
	"api/main.go":             "package main\n\nimport (\n\t_ \"embed\"\n\n\t\"example.com/api/inner\"\n\t\"example.com/shared\"\n)\n\n//go:embed pages/*.html\nvar page string\n\nfunc main() { print(page, inner.Text, shared.Text) }\n",
	"api/pages/page.html":     "page",
	"api/pages/note.txt":      "not embedded",
	"api/inner/inner.go":      "package inner\n\nconst Text = \"inner\"\n",
	"api/inner/extra.go":      "package inner\n",
	"api/inner/inner_test.go": "package inner\n",
	"api/testdata/big.png":    "for tests",
	"api/other/other.go":      "package other\n",
	"api/go.mod":              "module example.com/api\n\ngo 1.26\n\nrequire example.com/shared v0.0.0\n\nreplace example.com/shared => ../shared\n",
	"shared/go.mod":           "module example.com/shared\n\ngo 1.26\n",
	"shared/shared.go":        "package shared\n\nconst Text = \"shared\"\n",
	"web/README.md":           "does not enter",
	"web/site/a b's.html":     "a name to quote",
}

// committed returns a tree with that program.
func committed(t *testing.T) string {
	t.Helper()
	dir := sourcetest.New(t)
	for name, content := range embedding {
		sourcetest.Write(t, dir, name, content)
	}
	sourcetest.Commit(t, dir, "second")
	return dir
}

// lfsPointer returns the Git LFS pointer of a content.
func lfsPointer(content string) string {
	return fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%x\nsize %d\n", sha256.Sum256([]byte(content)), len(content))
}

// TestBuildRefusesUncommittedFiles: changes that `git status` does not show are
// refused if they affect an image.
func TestBuildRefusesUncommittedFiles(t *testing.T) {
	const api, web = 0, 1
	type change struct {
		t   *testing.T
		dir string
	}
	git := func(c change, args ...string) { sourcetest.Git(c.t, c.dir, args...) }
	write := func(c change, name, content string) { sourcetest.Write(c.t, c.dir, name, content) }
	commit := func(c change) { sourcetest.Commit(c.t, c.dir, "more") }
	skip := func(name string) func(change) {
		return func(c change) {
			git(c, "update-index", "--skip-worktree", name)
			write(c, name, "package inner // edited\n")
		}
	}
	assume := func(name string) func(change) {
		return func(c change) {
			git(c, "update-index", "--assume-unchanged", name)
			write(c, name, "edited")
		}
	}
	sparse := func(patterns ...string) func(change) {
		return func(c change) { git(c, append([]string{"sparse-checkout", "set", "--no-cone", "/*"}, patterns...)...) }
	}
	filtered := func(attributes, name, stored, here string, config ...string) func(change) {
		return func(c change) {
			write(c, name, stored)
			commit(c)
			write(c, ".gitattributes", attributes)
			commit(c)
			for n := 0; n < len(config); n += 2 {
				git(c, "config", config[n], config[n+1])
			}
			// The index's stat data marks the file as unchanged.
			git(c, "update-index", "--assume-unchanged", name)
			write(c, name, here)
		}
	}
	tests := map[string]struct {
		service int
		change  func(change)
		want    []string // none: it is built
	}{
		"nothing, a program": {api, func(change) {}, nil},
		"nothing, a site":    {web, func(change) {}, nil},
		"edited, and git status tells": {web, func(c change) {
			write(c, "web/site/index.html", "edited")
			require.NoError(c.t, os.Remove(filepath.Join(c.dir, "web/site/css/style.css")))
		}, nil},
		"a program edited, and git status tells": {api, func(c change) {
			write(c, "api/inner/inner.go", "package inner\n\nconst Text = \"edited\"\n")
			write(c, "api/inner/new.go", "package inner\n")
		}, nil},

		"a page that is skipped": {web, skip("web/site/index.html"), []string{"web/site/index.html differs from the commit (marked skip-worktree in git): git update-index --no-skip-worktree web/site/index.html"}},
		"a page that is assumed": {web, assume("web/site/index.html"), []string{"web/site/index.html differs from the commit (marked assume-unchanged in git): git update-index --no-assume-unchanged web/site/index.html"}},
		"a name to quote":        {web, assume("web/site/a b's.html"), []string{`git update-index --no-assume-unchanged 'web/site/a b'\''s.html'`}},
		"the configuration":      {web, assume("web/nginx/nginx.conf"), []string{"web/nginx/nginx.conf differs"}},
		"the services file": {web, func(c change) {
			assume("terraform/services.auto.tfvars.json")(c)
			write(c, "terraform/services.auto.tfvars.json", sourcetest.Services+"\n")
		}, []string{"terraform/services.auto.tfvars.json differs"}},
		"the lock file": {web, func(c change) {
			git(c, "update-index", "--skip-worktree", "ci/images.lock.json")
			write(c, "ci/images.lock.json", sourcetest.Files()["ci/images.lock.json"]+"\n")
		}, []string{"ci/images.lock.json differs"}},
		"a file beside the site": {web, skip("web/README.md"), nil},
		"another service's":      {web, skip("api/main.go"), nil},
		"a skipped page that is missing": {web, func(c change) {
			git(c, "update-index", "--skip-worktree", "web/site/index.html")
			require.NoError(c.t, os.Remove(filepath.Join(c.dir, "web/site/index.html")))
		}, []string{"web/site/index.html is in the commit but missing in the work tree (marked skip-worktree in git): git update-index --no-skip-worktree web/site/index.html, then rm -f web/site/index.html && git checkout HEAD -- web/site/index.html"}},
		"excluded from the image": {web, func(c change) {
			write(c, "web/.dockerignore", "site/css\n")
			commit(c)
			assume("web/site/css/style.css")(c)
		}, nil},
		"what excludes it": {web, func(c change) { write(c, "web/.dockerignore", "site/css\n"); commit(c); assume("web/.dockerignore")(c) }, []string{"web/.dockerignore differs"}},
		"a time and a size that lie": {web, func(c change) {
			file := filepath.Join(c.dir, "web/site/css/style.css")
			long := time.Now().Add(-time.Hour)
			require.NoError(c.t, os.Chtimes(file, long, long))
			git(c, "config", "core.trustctime", "false")
			git(c, "config", "core.checkStat", "minimal")
			git(c, "update-index", "--refresh")
			write(c, "web/site/css/style.css", "body { margin: 9 }")
			require.NoError(c.t, os.Chtimes(file, long, long))
		}, []string{"web/site/css/style.css differs from the commit, which git status does not report: rm -f web/site/css/style.css && git checkout HEAD -- web/site/css/style.css"}},

		"a sparse checkout of a site":  {web, sparse("!/web/site/css/", "!/web/site/index.html"), []string{"web/site/css/style.css (and 1 more) is in the commit but missing in the work tree (excluded by a sparse checkout): git sparse-checkout disable"}},
		"of a part that is not packed": {web, sparse("!/web/README.md", "!/api/inner/", "!/shared/"), nil},
		"of a package":                 {api, sparse("!/api/inner/"), []string{"api/inner/extra.go (and 1 more) is in the commit but missing in the work tree"}},
		"of a file of a package":       {api, sparse("!/api/inner/extra.go"), []string{"api/inner/extra.go is in the commit but missing in the work tree"}},
		"of the program itself":        {api, sparse("!/api/main.go"), []string{"api/main.go is in the commit but missing in the work tree"}},
		"of the program among others": {api, func(c change) {
			write(c, "api/cmd/server/main.go", "package main\n\nfunc main() {}\n")
			commit(c)
			sparse("!/api/cmd/")(c)
		}, []string{"api/cmd/server/main.go is in the commit but missing in the work tree"}},
		"of a test":               {api, sparse("!/api/inner/inner_test.go", "!/api/testdata/", "!/api/other/", "!/api/pages/note.txt"), nil},
		"of an embedded file":     {api, sparse("!/api/pages/"), []string{"api/pages/page.html is in the commit but missing in the work tree"}},
		"of a replaced module":    {api, sparse("!/shared/"), []string{"shared/go.mod is in the commit but missing in the work tree"}},
		"a file that is compiled": {api, skip("api/inner/extra.go"), []string{"api/inner/extra.go differs"}},
		"a file that is embedded": {api, assume("api/pages/page.html"), []string{"api/pages/page.html differs"}},
		"a file that is replaced in": {api, func(c change) {
			git(c, "update-index", "--skip-worktree", "shared/shared.go")
			write(c, "shared/shared.go", "package shared\n\nconst Text = \"local\"\n")
		}, []string{"shared/shared.go differs"}},
		"its go.mod": {api, func(c change) {
			git(c, "update-index", "--skip-worktree", "shared/go.mod")
			write(c, "shared/go.mod", "module example.com/shared\n\ngo 1.25\n")
		}, []string{"shared/go.mod differs"}},
		"a file that is not compiled": {api, func(c change) {
			skip("api/other/other.go")(c)
			assume("api/testdata/big.png")(c)
			skip("api/inner/inner_test.go")(c)
		}, nil},
		"a file that git ignores": {api, func(c change) {
			write(c, ".git/info/exclude", "*_local.go\n")
			write(c, "api/inner/debug_local.go", "package inner\n")
		}, []string{"api/inner/debug_local.go is part of the image but ignored by git", "git add -f api/inner/debug_local.go", ".dockerignore"}},
		"one that is let in": {api, func(c change) {
			write(c, ".git/info/exclude", "*_gen.go\n")
			write(c, "api/.dockerignore", "!inner/*_gen.go\n")
			write(c, "api/inner/x_gen.go", "package inner\n")
		}, nil},
		"tracked and ignored": {api, func(c change) { write(c, ".git/info/exclude", "*.go\n*.html\n") }, nil},

		"a pointer, without its filter":  {web, filtered("*.png filter=lfs -text\n", "web/site/logo.png", lfsPointer("logo"), lfsPointer("logo")), []string{"web/site/logo.png is a Git LFS pointer in the work tree", "git lfs pull"}},
		"a pointer, with its filter":     {web, filtered("*.png filter=lfs -text\n", "web/site/logo.png", lfsPointer("logo"), lfsPointer("logo"), "filter.lfs.smudge", "cat", "filter.lfs.clean", "cat"), []string{"git lfs pull"}},
		"a pointer that is embedded":     {api, filtered("*.html filter=lfs -text\n", "api/pages/page.html", lfsPointer("page"), lfsPointer("page")), []string{"api/pages/page.html is a Git LFS pointer in the work tree"}},
		"a pointer that does not enter":  {api, filtered("*.png filter=lfs -text\n", "api/testdata/big.png", lfsPointer("big"), lfsPointer("big")), nil},
		"what a pointer stands for":      {web, filtered("*.png filter=lfs -text\n", "web/site/logo.png", lfsPointer("logo"), "logo"), nil},
		"what it does not stand for":     {web, filtered("*.png filter=lfs -text\n", "web/site/logo.png", lfsPointer("logo"), "lego"), []string{"web/site/logo.png differs from the commit's Git LFS object"}},
		"a page about pointers":          {web, filtered("*.md -text\n", "web/site/lfs.md", lfsPointer("x"), lfsPointer("x")), nil},
		"never given to LFS":             {web, filtered("*.png filter=lfs -text\n", "web/site/logo.png", "logo", "logo"), nil},
		"what a filter makes":            {web, filtered("*.enc filter=rot\n", "web/site/a.enc", "uryyb", "hello", "filter.rot.smudge", "tr a-z n-za-m", "filter.rot.clean", "tr a-z n-za-m"), nil},
		"what a filter was to make":      {web, filtered("*.enc filter=rot\n", "web/site/a.enc", "uryyb", "uryyb", "filter.rot.smudge", "tr a-z n-za-m", "filter.rot.clean", "cat"), []string{"web/site/a.enc differs from the commit"}},
		"a filter that is missing":       {web, filtered("*.enc filter=rot\n", "web/site/a.enc", "uryyb", "uryyb"), []string{"web/site/a.enc has filter=rot in .gitattributes, but git has no such filter: configure it"}},
		"a filter that fails":            {web, filtered("*.enc filter=rot\n", "web/site/a.enc", "uryyb", "uryyb", "filter.rot.smudge", "false"), []string{"web/site/a.enc cannot be compared with the commit, because filter=rot fails: ", "external filter 'false' failed", ": fix the filter"}},
		"a filter that only cleans":      {web, filtered("*.ipynb filter=strip\n", "web/site/a.ipynb", "{}", "{}", "filter.strip.clean", "cat"), nil},
		"line endings that text hides":   {web, filtered("*.html text\n", "web/site/index.html", "a\nb\n", "a\r\nb\r\n"), []string{"git converted the line endings of web/site/index.html (core.autocrlf)"}},
		"line endings as attributes say": {web, filtered("*.html text eol=crlf\n", "web/site/index.html", "a\nb\n", "a\r\nb\r\n"), nil},
		"line endings not as they say":   {web, filtered("*.html text eol=crlf\n", "web/site/index.html", "a\nb\n", "a\nb\n"), []string{"web/site/index.html differs"}},
		"an id that is written":          {web, filtered("*.txt ident\n", "web/site/id.txt", "$Id$\n", "$Id: 055c8729cdcc372500a08db659c045e16c4409fb $\n"), nil},
		"an id that is not":              {web, filtered("*.txt ident\n", "web/site/id.txt", "$Id$\n", "$Id$\n"), []string{"web/site/id.txt differs"}},
		"another encoding": {web, func(c change) {
			filtered("/web/site/w.txt text working-tree-encoding=UTF-16LE\n", "web/site/w.txt", "hi", "")(c)
			require.NoError(c.t, os.Remove(filepath.Join(c.dir, "web/site/w.txt")))
			git(c, "checkout", "HEAD", "--", "web/site/w.txt")
		}, nil},
		"attributes that are skipped": {web, func(c change) {
			filtered("*.enc filter=rot\n", "web/site/a.enc", "uryyb", "uryyb", "filter.rot.smudge", "tr a-z n-za-m")(c)
			git(c, "update-index", "--skip-worktree", ".gitattributes")
			write(c, ".gitattributes", "")
		}, []string{".gitattributes"}},

		"a link": {web, func(c change) {
			require.NoError(c.t, os.Symlink("index.html", filepath.Join(c.dir, "web/site/home.html")))
			commit(c)
		}, nil},
		"a link that became a file": {web, func(c change) {
			link := filepath.Join(c.dir, "web/site/home.html")
			require.NoError(c.t, os.Symlink("index.html", link))
			commit(c)
			git(c, "config", "core.symlinks", "false")
			require.NoError(c.t, os.Remove(link))
			git(c, "checkout", "--", "web/site/home.html")
		}, []string{"web/site/home.html is a symbolic link in the commit but not in the work tree: git config core.symlinks true"}},
		"a link to what git ignores": {web, func(c change) {
			require.NoError(c.t, os.Symlink("local.log", filepath.Join(c.dir, "web/site/log.txt")))
			commit(c)
			write(c, "web/site/local.log", "of this machine")
		}, []string{"web/site/local.log is part of the image but ignored by git"}},
		"a right to execute": {web, func(c change) {
			git(c, "config", "core.fileMode", "false")
			require.NoError(c.t, os.Chmod(filepath.Join(c.dir, "web/site/index.html"), 0o755))
		}, nil},
		"a monitor that lies": {web, func(c change) {
			git(c, "config", "core.fsmonitor", "true")
			assume("web/site/index.html")(c)
		}, []string{"web/site/index.html differs"}},
	}
	origin := committed(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "clone")
			sourcetest.Git(t, "", "clone", "-q", origin, dir)
			tt.change(change{t, dir})
			p, err := platform.Load(dir)
			require.NoError(t, err)
			_, err = builder(t, dir).Build(t.Context(), p.Services[tt.service:tt.service+1])
			if len(tt.want) == 0 {
				require.NoError(t, err)
				return
			}
			for _, want := range tt.want {
				require.ErrorContains(t, err, want)
			}
			require.Equal(t, outcome.Usage, outcome.Of(err))
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

// TestMissingServiceFolder: a service's folder that is not checked out is not an
// error in the services file.
func TestMissingServiceFolder(t *testing.T) {
	origin := committed(t)
	module := sourcetest.New(t)
	sourcetest.Git(t, origin, "rm", "-rq", "api")
	sourcetest.Git(t, origin, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", module, "api")
	sourcetest.Commit(t, origin, "api is a submodule")
	tests := map[string]struct {
		change func(dir string)
		want   string
	}{
		"a submodule": {func(string) {}, "api is a submodule that is not checked out: git submodule update --init api"},
		"a site that a sparse checkout leaves out": {func(dir string) {
			sourcetest.Git(t, dir, "-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init")
			sourcetest.Write(t, dir, "api/go.mod", "module example.com/api\n")
			sourcetest.Git(t, dir, "sparse-checkout", "set", "--no-cone", "/*", "!/web/site/")
		}, "is in the commit but missing in the work tree (excluded by a sparse checkout): git sparse-checkout disable"},
		"a mistake": {func(dir string) {
			sourcetest.Git(t, dir, "-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init")
			sourcetest.Git(t, dir, "rm", "-rq", "web/site")
		}, "terraform/services.auto.tfvars.json: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "clone")
			sourcetest.Git(t, "", "clone", "-q", origin, dir)
			tt.change(dir)
			tree, err := source.Open(t.Context(), dir)
			require.NoError(t, err)
			_, err = platform.LoadTree(t.Context(), tree)
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, outcome.Usage, outcome.Of(err))
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

// TestRequireCommitted: changes that git status shows are refused as well.
func TestRequireCommitted(t *testing.T) {
	for name, file := range map[string]string{"edited": "shared/shared.go", "new": "shared/new.go"} {
		t.Run(name, func(t *testing.T) {
			dir := committed(t)
			b := builder(t, dir)
			b.RequireCommitted = true
			p, err := platform.Load(dir)
			require.NoError(t, err)
			sourcetest.Write(t, dir, file, "package shared\n\nconst Other = 1\n")
			_, err = b.Build(t.Context(), p.Services[:1])
			require.ErrorContains(t, err, file)
			require.Equal(t, outcome.Usage, outcome.Of(err))
		})
	}
}

// TestSubmodules: a submodule's files are included as committed; one that is not
// checked out is reported with the command to run.
func TestSubmodules(t *testing.T) {
	library := func(files map[string]string) string {
		dir := t.TempDir()
		sourcetest.Git(t, dir, "init", "-q", "-b", "main")
		for name, content := range files {
			sourcetest.Write(t, dir, name, content)
		}
		sourcetest.Commit(t, dir, "library")
		return dir
	}
	add := func(dir, what, at string) {
		sourcetest.Git(t, dir, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", what, at)
		sourcetest.Commit(t, dir, "submodule "+at)
	}
	deep := library(map[string]string{"deep.svg": "<svg/>"})
	icons := library(map[string]string{"a.svg": "<svg/>", ".gitignore": "*.tmp\n"})
	add(icons, deep, "deep")
	greet := library(map[string]string{"greet.go": "package greet\n\nconst Text = \"hello\"\n"})
	origin := sourcetest.New(t)
	add(origin, icons, "web/site/icons")
	add(origin, icons, "api/testdata")
	add(origin, greet, "api/greet")
	sourcetest.Write(t, origin, "api/main.go", "package main\n\nimport \"example.com/api/greet\"\n\nfunc main() { print(greet.Text) }\n")
	sourcetest.Commit(t, origin, "greet")

	const api, web = 0, 1
	whole := []string{"submodule", "--quiet", "update", "--init", "--recursive"}
	tests := map[string]struct {
		update  []string
		change  func(dir string)
		service int
		want    string
	}{
		"a site":          {whole, nil, web, ""},
		"a program":       {whole, nil, api, ""},
		"not checked out": {nil, nil, web, "web/site/icons is a submodule that is not checked out: git submodule update --init web/site/icons"},
		"not checked out, and excluded": {nil, func(dir string) {
			sourcetest.Write(t, dir, "web/.dockerignore", "site/icons\n")
			sourcetest.Commit(t, dir, "excluded")
		}, web, ""},
		"one in it is not":             {[]string{"submodule", "--quiet", "update", "--init"}, nil, web, "web/site/icons/deep is a submodule that is not checked out: git -C web/site/icons submodule update --init deep"},
		"a package is not":             {nil, nil, api, "api/greet is a submodule that is not checked out: git submodule update --init api/greet"},
		"a file that is not compiled":  {[]string{"submodule", "--quiet", "update", "--init", "api/greet"}, nil, api, ""},
		"edited, and git status tells": {whole, func(dir string) { sourcetest.Write(t, dir, "web/site/icons/a.svg", "edited") }, web, ""},
		"edited, and it does not": {whole, func(dir string) {
			sourcetest.Git(t, filepath.Join(dir, "web/site/icons"), "update-index", "--assume-unchanged", "a.svg")
			sourcetest.Write(t, dir, "web/site/icons/a.svg", "edited")
		}, web, "web/site/icons/a.svg differs from the commit (marked assume-unchanged in git): git -C web/site/icons update-index --no-assume-unchanged a.svg"},
		"at another commit, and git is told to skip it": {whole, func(dir string) {
			sourcetest.Git(t, dir, "update-index", "--skip-worktree", "web/site/icons")
			sourcetest.Git(t, filepath.Join(dir, "web/site/icons"), "commit", "-q", "--allow-empty", "-m", "other")
		}, web, "web/site/icons is a submodule at "},
		"a change of it that is ignored": {whole, func(dir string) {
			sourcetest.Git(t, dir, "config", "submodule.web/site/icons.ignore", "all")
			sourcetest.Write(t, dir, "web/site/icons/a.svg", "edited")
		}, web, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "clone")
			sourcetest.Git(t, "", "clone", "-q", origin, dir)
			if tt.update != nil {
				sourcetest.Git(t, dir, append([]string{"-c", "protocol.file.allow=always"}, tt.update...)...)
			}
			if tt.change != nil {
				tt.change(dir)
			}
			p, err := platform.Load(dir)
			require.NoError(t, err)
			images, err := builder(t, dir).Build(t.Context(), p.Services[tt.service:tt.service+1])
			if tt.want != "" {
				require.ErrorContains(t, err, tt.want)
				require.Equal(t, outcome.Usage, outcome.Of(err))
				require.NotContains(t, err.Error(), "\n")
				return
			}
			require.NoError(t, err)
			if tt.service == web && !strings.Contains(name, "excluded") {
				found := entries(t, child(t, images[0]))
				require.Contains(t, found, "usr/share/nginx/html/icons/a.svg")
				require.Contains(t, found, "usr/share/nginx/html/icons/deep/deep.svg")
				require.NotContains(t, found, "usr/share/nginx/html/icons/.git")
			}
		})
	}
}
