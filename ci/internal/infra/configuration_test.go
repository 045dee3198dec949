package infra

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/infra/terraform"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// TestConfigurationOutsideRootModule: sibling modules, and files that any module
// reads, are part of the configuration.
func TestConfigurationOutsideRootModule(t *testing.T) {
	calls := func(source string) string { return "module \"m\" {\n  source = \"" + source + "\"\n}\n" }
	tests := map[string]struct {
		files   map[string]string // committed
		link    [2]string         // name and target, committed
		changed string            // what somebody has written and not committed
		bound   []string          // names besides infra/main.tf
		modules []string
		seed    string
	}{
		"a module beside it":             {map[string]string{"infra/main.tf": calls("../modules/x"), "modules/x/main.tf": "", "modules/x/README.md": ""}, [2]string{}, "modules/x/main.tf", []string{"modules/x/main.tf", "modules/x/README.md"}, []string{"modules/x"}, ""},
		"one more file of it":            {map[string]string{"infra/main.tf": calls("../modules/x"), "modules/x/main.tf": ""}, [2]string{}, "modules/x/more.tf", []string{"modules/x/main.tf", "modules/x/more.tf"}, []string{"modules/x"}, ""},
		"one that git ignores":           {map[string]string{"infra/main.tf": calls("../modules/x"), "modules/x/main.tf": "", ".gitignore": "ignored.tf\n"}, [2]string{}, "modules/x/ignored.tf", []string{"modules/x/main.tf", "modules/x/ignored.tf"}, []string{"modules/x"}, ""},
		"a module that a module calls":   {map[string]string{"infra/main.tf": calls("../modules/x"), "modules/x/main.tf": calls("../y"), "modules/y/main.tf": calls("./z"), "modules/y/z/main.tf": ""}, [2]string{}, "modules/y/z/main.tf", []string{"modules/x/main.tf", "modules/y/main.tf", "modules/y/z/main.tf"}, []string{"modules/x", "modules/y", "modules/y/z"}, ""},
		"a module in JSON":               {map[string]string{"infra/main.tf": "", "infra/m.tf.json": `{"module": {"m": {"source": "../modules/x"}}}`, "modules/x/main.tf": ""}, [2]string{}, "modules/x/main.tf", []string{"infra/m.tf.json", "modules/x/main.tf"}, []string{"modules/x"}, ""},
		"a folder that is a link":        {map[string]string{"infra/main.tf": calls("./modules/x"), "shared/x/main.tf": ""}, [2]string{"infra/modules", "../shared"}, "shared/x/main.tf", []string{"infra/modules", "shared/x/main.tf"}, []string{"shared/x"}, ""},
		"a file that is a link":          {map[string]string{"infra/main.tf": "", "shared/common.tf": ""}, [2]string{"infra/common.tf", "../shared/common.tf"}, "shared/common.tf", []string{"infra/common.tf", "shared/common.tf"}, nil, ""},
		"a file that it reads":           {map[string]string{"infra/main.tf": `locals { a = file("${path.module}/../policies/a.json") }`, "policies/a.json": "", "policies/b.json": ""}, [2]string{}, "policies/a.json", []string{"policies/a.json"}, nil, ""},
		"a file that a module reads":     {map[string]string{"infra/main.tf": calls("../modules/x"), "modules/x/main.tf": `locals { a = templatefile("${path.module}/../../t/u.tftpl", {}) }`, "t/u.tftpl": ""}, [2]string{}, "t/u.tftpl", []string{"modules/x/main.tf", "t/u.tftpl"}, []string{"modules/x"}, ""},
		"a folder that it packs":         {map[string]string{"infra/main.tf": `data "archive_file" "a" { source_dir = "${path.module}/../lambda" }`, "lambda/index.js": ""}, [2]string{}, "lambda/lib/more.js", []string{"lambda/index.js", "lambda/lib/more.js"}, nil, ""},
		"a module whose source is found": {map[string]string{"infra/main.tf": "module \"m\" {\n  source = var.m\n}\n", "modules/x/main.tf": ""}, [2]string{}, "modules/x/main.tf", []string{"modules/x/main.tf"}, []string{"modules/x"}, "modules/x"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			sourcetest.Git(t, dir, "init", "-q", "-b", "main")
			for file, content := range tt.files {
				sourcetest.Write(t, dir, file, content)
			}
			if tt.link[0] != "" {
				require.NoError(t, os.Symlink(tt.link[1], filepath.Join(dir, tt.link[0])))
			}
			sourcetest.Commit(t, dir, "first")
			s := Stage{Tree: source.Tree{Dir: dir}, Dir: "infra"}
			var seeds []string
			if tt.seed != "" {
				seeds = []string{filepath.Join(dir, tt.seed)}
			}
			before, err := s.configuration(t.Context(), seeds)
			require.NoError(t, err)
			require.False(t, before.dirty)
			sourcetest.Write(t, dir, tt.changed, "# NOT COMMITTED\n")

			after, err := s.configuration(t.Context(), seeds)

			require.NoError(t, err)
			require.True(t, after.dirty, "the commit does not have it")
			require.NotEqual(t, before.files[tt.changed], after.files[tt.changed])
			require.ElementsMatch(t, append(tt.bound, "infra/main.tf"), slices.Collect(maps.Keys(after.files)))
			require.Equal(t, tt.modules, after.modules)
			require.Empty(t, after.outside)
			if tt.seed == "" {
				for _, part := range append(after.modules, tt.changed) {
					require.True(t, slices.ContainsFunc(s.include(), func(have string) bool { return inside(have, part) }), "a container gets %s", part)
				}
			}
		})
	}
}

func TestFilesOutsideRepository(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "tree")
	require.NoError(t, os.Mkdir(dir, 0o755))
	sourcetest.Git(t, dir, "init", "-q", "-b", "main")
	key := filepath.Join(parent, "key.pub")
	sourcetest.Write(t, dir, "infra/main.tf", "module \"m\" {\n  source = \"../../shared/x\"\n}\nlocals {\n  key = file(\""+key+"\")\n  logs = \""+parent+"\"\n}\n")
	sourcetest.Commit(t, dir, "first")
	sourcetest.Write(t, parent, "shared/x/main.tf", "")
	sourcetest.Write(t, parent, "shared/x/index.js", "")
	sourcetest.Write(t, parent, "key.pub", "")
	s := Stage{Tree: source.Tree{Dir: dir}, Dir: "infra"}
	c, err := s.configuration(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, []string{"../shared/x"}, c.modules)
	require.Equal(t, []string{"../key.pub", "../shared/x"}, c.outside)
	require.ElementsMatch(t, []string{"infra/main.tf", "../shared/x/main.tf", "../shared/x/index.js", "../key.pub"}, slices.Collect(maps.Keys(c.files)))
	require.False(t, c.dirty, "what the repository has is as the commit has it")
	require.Equal(t, []string{"infra"}, s.include())

	b, err := s.readInputs(t.Context(), nil)
	require.NoError(t, err)
	require.Contains(t, SavedPlan{Binding: b}.boundTo(" "), ", and files outside of the repository (../key.pub, ../shared/x)")
}

// TestModuleInSubmodule: a module in a submodule is committed if the submodule is.
func TestModuleInSubmodule(t *testing.T) {
	library, dir := t.TempDir(), t.TempDir()
	for _, repository := range []string{library, dir} {
		sourcetest.Git(t, repository, "init", "-q", "-b", "main")
	}
	sourcetest.Write(t, library, "x/main.tf", "")
	sourcetest.Commit(t, library, "first")
	sourcetest.Write(t, dir, "infra/main.tf", "module \"m\" {\n  source = \"../library/x\"\n}\nmodule \"n\" {\n  source = \"./library/x\"\n}\n")
	for _, at := range []string{"library", "infra/library"} {
		sourcetest.Git(t, dir, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", library, at)
	}
	sourcetest.Commit(t, dir, "first")
	s := Stage{Tree: source.Tree{Dir: dir}, Dir: "infra"}
	c, err := s.configuration(t.Context(), nil)
	require.NoError(t, err)
	require.False(t, c.dirty)
	require.Empty(t, c.outside)
	require.ElementsMatch(t, []string{"infra/main.tf", "infra/library/x/main.tf", "library/x/main.tf"}, slices.Collect(maps.Keys(c.files)))
	sourcetest.Write(t, dir, "library/x/main.tf", "# NOT COMMITTED\n")
	c, err = s.configuration(t.Context(), nil)
	require.NoError(t, err)
	require.True(t, c.dirty)
	sourcetest.Commit(t, filepath.Join(dir, "library"), "second")
	c, err = s.configuration(t.Context(), nil)
	require.NoError(t, err)
	require.True(t, c.dirty, "the submodule is at another commit")
}

func TestModulesFoundByInit(t *testing.T) {
	root := sourcetest.New(t)
	sourcetest.Write(t, root, "modules/x/main.tf", "")
	w := &workDir{dir: t.TempDir()}
	require.Empty(t, w.localModules(root))
	write := func(content string) {
		sourcetest.Write(t, w.dir, terraform.DataDir+"/modules/modules.json", content)
	}
	write("{")
	require.Empty(t, w.localModules(root))
	sourcetest.Write(t, w.dir, terraform.DataDir+"/modules/remote/main.tf", "")
	write(`{"Modules":[{"Key":"x","Dir":"modules/x"},{"Key":"r","Dir":"` + filepath.ToSlash(w.file(terraform.DataDir)) + `/modules/remote"},{"Key":"g","Dir":"gone"}]}`)
	found := w.localModules(root)
	require.Len(t, found, 1, "neither what was downloaded nor what is not there")
	require.True(t, strings.HasSuffix(found[0], filepath.Join("modules", "x")))
}
