package module_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/infra/module"
)

// write creates a folder of files.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(content), 0o644))
	}
	return dir
}

func TestRead(t *testing.T) {
	beside := map[string]string{
		"shared/x/main.tf": "", "shared/y/main.tf": "", "policies/a.json": "", "user.tftpl": "", "lambda/index.js": "", "site/a/b.html": "", "infra/inside.txt": "", "README.md": "",
	}
	tests := map[string]struct {
		file, content string
		want          module.Module
	}{
		"nothing":           {"main.tf", "", module.Module{}},
		"variables":         {"main.tf", "variable \"a\" {\n  ephemeral = true\n}\n  variable b {}\n# variable \"c\" {}\nlocals {\n x = <<T\nvariable \"d\" {}\nT\n}\n", module.Module{Variables: map[string]bool{"a": true, "b": false}}},
		"variables in JSON": {"main.tf.json", `{"variable": {"a": {"ephemeral": true}, "b": {}}}`, module.Module{Variables: map[string]bool{"a": true, "b": false}}},
		"modules": {"main.tf", `
			module "x" { source = "../shared/x" }
			module "r" { source = "terraform-aws-modules/vpc/aws" }
			module "y" {
				source = "../shared//y"
				path   = "../policies/a.json"
			}`, module.Module{Calls: []string{"shared/x", "shared/y"}, Reads: []string{"policies/a.json"}}},
		"modules in JSON":              {"main.tf.json", `{"module": {"x": {"source": "../shared/x"}}}`, module.Module{Calls: []string{"shared/x"}}},
		"a function that reads":        {"main.tf", `locals { a = jsondecode(file("${path.module}/../policies/a.json")) }`, module.Module{Reads: []string{"policies/a.json"}}},
		"relative to where it runs":    {"main.tf", `output "a" { value = templatefile("../user.tftpl", {}) }`, module.Module{Reads: []string{"user.tftpl"}}},
		"a set of files":               {"main.tf", `locals { a = fileset("${path.root}/../site", "**") }`, module.Module{Reads: []string{"site"}}},
		"a name made of locals":        {"main.tf", "locals {\n  a = file(\"${local.top}/user.tftpl\")\n  top = abspath(\"${path.module}/..\")\n}", module.Module{Reads: []string{"user.tftpl"}}},
		"a name that is not constant":  {"main.tf", `resource "a" "b" { c = file("${path.module}/../policies/${each.key}.json") }`, module.Module{Reads: []string{"policies"}}},
		"an argument that is a folder": {"main.tf", `data "archive_file" "a" { source_dir = "${path.module}/../lambda" }`, module.Module{Reads: []string{"lambda"}}},
		"in JSON":                      {"main.tf.json", `{"locals": {"a": "${file(\"../policies/a.json\")}", "b": "${path.module}/../lambda"}}`, module.Module{Reads: []string{"lambda", "policies/a.json"}}},
		"missing files and strings that are not paths": {
			"main.tf", "locals {\n  a = file(\"../nope\")\n  b = \"README.md\"\n  c = \"${path.module}/..\"\n  d = \"..\"\n  e = file(var.x)\n  f = \"/api/${local.a}\"\n  g = path.module\n  h = \"/tmp\"\n}", module.Module{},
		},
		"ignored changes": {"main.tf", `
			resource "a" "b" {
				lifecycle { ignore_changes = [action, target[0].x["k"].y] }
			}
			resource "a" "c" {
				lifecycle { ignore_changes = all }
			}
			resource "a" "d" {
				lifecycle { create_before_destroy = true }
			}`, module.Module{Ignored: map[string][]string{"a.b": {"action", `target[0].x["k"].y`}, "a.c": {"all"}}}},
		"ignored changes in JSON": {
			"main.tf.json", `{"resource": {"a": {"b": {"lifecycle": {"ignore_changes": ["action", "target[0].x"]}}, "c": {"lifecycle": {"ignore_changes": "all"}}}}}`,
			module.Module{Ignored: map[string][]string{"a.b": {"action", "target[0].x"}, "a.c": {"all"}}},
		},
		"a syntax error": {"main.tf", "variable \"a\" {\n  ephemeral = true\n}\nresource {", module.Module{Variables: map[string]bool{"a": true}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := write(t, beside)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "infra", tt.file), []byte(tt.content), 0o644))
			root := filepath.Join(dir, "infra")
			got, err := module.Read(root, root)
			require.NoError(t, err)
			for _, names := range [][]string{got.Calls, got.Reads} {
				for i, name := range names {
					names[i], err = filepath.Rel(dir, name)
					require.NoError(t, err)
				}
			}
			if tt.want.Variables == nil {
				tt.want.Variables = map[string]bool{}
			}
			require.Equal(t, tt.want.Variables, got.Variables)
			require.Equal(t, tt.want.Ignored, got.Ignored)
			require.Equal(t, tt.want.Calls, got.Calls)
			require.ElementsMatch(t, tt.want.Reads, got.Reads)
		})
	}
	_, err := module.Read("/nope", "/nope")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestAssignments(t *testing.T) {
	want := []module.Assignment{{"a", []byte(`["x", 1]`), []string{"x"}}, {"b", []byte(`"y"`), []string{"y"}}}
	require.Equal(t, want, module.Assignments("x.tfvars", []byte("# words\nb = \"y\" # more\na=[\"x\", 1]\n")))
	require.Equal(t, want, module.Assignments("x.tfvars.json", []byte(`{"b": "y", "a": ["x", 1]}`)))
	require.Equal(t, []module.Assignment{{"a", []byte("<<EOT\nx\nEOT"), []string{"x\n"}}}, module.Assignments("x.tfvars", []byte("a = <<EOT\nx\nEOT\n")))
	require.Empty(t, module.Assignments("x.tfvars", []byte("= {")))
	require.Empty(t, module.Assignments("x.tfvars.json", []byte("{")))
}
