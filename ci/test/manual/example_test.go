package manual_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestExamples checks that the parsers of files accept the examples of the manual.
func TestExamples(t *testing.T) {
	checked, fields, environments := map[string]int{}, map[string]bool{}, map[string]string{}
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			where := fmt.Sprintf("%s:%d", p.name, b.line)
			switch {
			case b.is("hcl"):
				_, problems := hclparse.NewParser().ParseHCL([]byte(strings.ReplaceAll(b.code, "…", "x")), where)
				require.False(t, problems.HasErrors(), problems)
				checked["hcl"]++
			case b.is("json", "services"):
				_, err := platform.Parse([]byte(`{"services": ` + b.code + `}`))
				require.NoError(t, err, where)
				for _, name := range regexp.MustCompile(`"(\w+)":`).FindAllStringSubmatch(b.code, -1) {
					fields[name[1]] = true
				}
				checked["service"]++
			case b.is("json", "environment"):
				var file struct{ Environment string }
				require.NoError(t, json.Unmarshal([]byte(b.code), &file), where)
				environments[file.Environment] = b.code
				checked["environment"]++
			case b.is("yaml") && p.name == "docs/images.md":
				file := filepath.Join(t.TempDir(), supplychain.ExceptionsFile)
				require.NoError(t, os.WriteFile(file, []byte(b.code), 0o600))
				_, err := supplychain.ReadExceptions(file)
				require.NoError(t, err, where)
				checked["exceptions"]++
			}
		}
	}
	checkEnvironments(t, environments)
	require.ElementsMatch(t, []string{"hcl", "service", "environment", "exceptions"}, slices.Collect(maps.Keys(checked)), "none is left of the others")
	for _, name := range jsonFields(reflect.TypeFor[platform.Service]()) {
		require.True(t, fields[name], "no example has the field %s of the services file", name)
	}
}

// checkEnvironments checks that files of environments, by name, are valid together and for
// the services of this tree, and that they have all keys.
func checkEnvironments(t *testing.T, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	folder := filepath.Join(dir, filepath.FromSlash(platform.EnvironmentsDir))
	require.NoError(t, os.MkdirAll(folder, 0o755))
	all := ""
	for name, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name+".tfvars.json"), []byte(content), 0o600))
		all += content
	}
	environments, err := platform.Environments(dir)
	require.NoError(t, err)
	services, err := platform.Load(root())
	require.NoError(t, err)
	for _, e := range environments {
		_, err := services.In(e)
		require.NoError(t, err)
	}
	for _, name := range jsonFields(reflect.TypeFor[platform.Environment]()) {
		require.Contains(t, all, `"`+name+`":`, "no example has this key of an environment's file")
	}
}

// jsonFields returns the JSON names of the fields of a type and of the types in it.
func jsonFields(t reflect.Type) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return jsonFields(t.Elem())
	case reflect.Struct:
		var names []string
		for field := range t.Fields() {
			if name := field.Tag.Get("json"); name != "" && name != "-" {
				names = append(names, name)
			}
			names = append(names, jsonFields(field.Type)...)
		}
		return names
	}
	return nil
}

// TestExitCodes: wherever the manual has a table of exit codes, it has all that can be
// meant there, and no other.
func TestExitCodes(t *testing.T) {
	all := exitCodes(t)
	tables := 0
	for _, p := range pages(t) {
		var here []string
		for _, r := range p.rows {
			if cell, ok := r.cells["exit code"]; ok {
				here = append(here, strings.Split(cell, ", ")...)
			}
		}
		if len(here) == 0 {
			continue
		}
		tables++
		for _, code := range here {
			require.Contains(t, all, code, p.name)
		}
		for code := range all {
			require.True(t, code == "0" || slices.Contains(here, code), "%s says nothing about exit code %s", p.name, code)
		}
	}
	require.GreaterOrEqual(t, tables, 3)
}
