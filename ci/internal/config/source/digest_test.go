package source_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

func TestDigests(t *testing.T) {
	dir := sourcetest.New(t)
	digests := func() map[string]string {
		got, err := source.Tree{Dir: dir}.Digests(t.Context())
		require.NoError(t, err)
		return got
	}
	first := digests()
	require.ElementsMatch(t, []string{source.Whole, source.Pages, ".gitignore", "api", "api/*", "ci", "ci/*", "terraform", "terraform/*", "web", "web/nginx", "web/site"}, slices.Collect(maps.Keys(first)))
	require.Equal(t, first, digests())

	site := filepath.Join(dir, "web", "site")
	for _, step := range []struct {
		name   string
		change func()
	}{
		{"content", func() { sourcetest.Write(t, dir, "web/site/index.html", "other") }},
		{"new", func() { sourcetest.Write(t, dir, "web/site/new.html", "") }},
		{"executable", func() { require.NoError(t, os.Chmod(filepath.Join(site, "new.html"), 0o700)) }},
		{"link", func() { require.NoError(t, os.Symlink("new.html", filepath.Join(site, "link.html"))) }},
		{"leads elsewhere", func() {
			require.NoError(t, os.Remove(filepath.Join(site, "link.html")))
			require.NoError(t, os.Symlink("index.html", filepath.Join(site, "link.html")))
		}},
		{"gone", func() { require.NoError(t, os.Remove(filepath.Join(site, "index.html"))) }},
	} {
		t.Run(step.name, func(t *testing.T) {
			before := digests()
			step.change()
			after := digests()
			require.NotEqual(t, before["web"], after["web"])
			require.NotEqual(t, before["web/site"], after["web/site"])
			require.Equal(t, first["web/nginx"], after["web/nginx"])
			require.NotEqual(t, before[source.Whole], after[source.Whole])
			require.Equal(t, first["api"], after["api"])
			require.Equal(t, first["terraform"], after["terraform"])
		})
	}

	before := digests()
	sourcetest.Write(t, dir, "ci/internal/new.go", "package internal")
	require.NotEqual(t, before["ci"], digests()["ci"])
	require.Equal(t, before["ci/*"], digests()["ci/*"], "only its own files")
	sourcetest.Write(t, dir, "ci/new.go", "package main")
	require.NotEqual(t, before["ci/*"], digests()["ci/*"])

	before = digests()
	sourcetest.Write(t, dir, "api/main.go", "package main // changed")
	require.Equal(t, before[source.Pages], digests()[source.Pages], "no page")
	sourcetest.Write(t, dir, "api/other.go", "package main")
	named := digests()[source.Pages]
	require.NotEqual(t, before[source.Pages], named, "pages may name the file")
	sourcetest.Write(t, dir, "api/README.md", "one")
	written := digests()[source.Pages]
	require.NotEqual(t, named, written)
	sourcetest.Write(t, dir, "api/README.md", "two")
	require.NotEqual(t, written, digests()[source.Pages])

	before = digests()
	sourcetest.Commit(t, dir, "second")
	require.Equal(t, before, digests(), "a commit changes no file")
	sourcetest.Write(t, dir, "web/debug.log", "ignored")
	require.Equal(t, before, digests(), "what git ignores does not count")

	_, err := source.Tree{Dir: t.TempDir()}.Digests(t.Context())
	require.ErrorContains(t, err, "listing the tree's files")
}

func TestPart(t *testing.T) {
	for name, want := range map[string]string{
		"go.work": "go.work", "docs": "docs", "docs/page.md": "docs", "docs/schema/plan.json": "docs/schema", "a/b/c/d": "a/b", "a/./b": "a",
	} {
		require.Equal(t, want, source.Part(name), name)
	}
}

func TestDigestVariable(t *testing.T) {
	require.Equal(t, "SLIPWAY_TREE", source.DigestVariable(source.Whole))
	require.Equal(t, "SLIPWAY_TREE_TERRAFORM", source.DigestVariable("terraform"))
	require.Equal(t, "SLIPWAY_TREE__GITHUB", source.DigestVariable(".github"))
	require.Equal(t, "SLIPWAY_TREE_A_B9", source.DigestVariable("a-b9"))
	require.Equal(t, "SLIPWAY_TREE_DOCS_SCHEMA", source.DigestVariable("docs/schema"))
	require.Equal(t, "SLIPWAY_TREE_CI__", source.DigestVariable(source.FilesOf("ci")))
}
