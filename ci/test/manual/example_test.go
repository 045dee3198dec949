package manual_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
)

func TestMain(m *testing.M) {
	// Defaults of flags may depend on these.
	os.Unsetenv("CI")
	os.Unsetenv("GOVULNDB")
	goleak.VerifyTestMain(m)
}

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
				var example map[string]any
				require.NoError(t, json.Unmarshal([]byte(b.code), &example), where)
				markFields(reflect.TypeFor[map[string]platform.Service](), example, fields)
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

// markFields marks the fields that a JSON value of a type has, as jsonFields names them.
func markFields(t reflect.Type, value any, found map[string]bool) {
	switch value := value.(type) {
	case []any:
		for _, element := range value {
			markFields(t.Elem(), element, found)
		}
	case map[string]any:
		switch t.Kind() {
		case reflect.Pointer:
			markFields(t.Elem(), value, found)
		case reflect.Map:
			for _, element := range value {
				markFields(t.Elem(), element, found)
			}
		case reflect.Struct:
			for field := range t.Fields() {
				name := field.Tag.Get("json")
				element, ok := value[name]
				switch {
				case field.Anonymous:
					markFields(field.Type, value, found)
				case ok:
					found[t.Name()+"."+name] = true
					markFields(field.Type, element, found)
				}
			}
		}
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
		_, name, _ = strings.Cut(name, ".")
		require.Contains(t, all, `"`+name+`":`, "no example has this key of an environment's file")
	}
}

// jsonFields returns the JSON names of the fields of a type and of the types in it, each
// after the name of its type and a dot.
func jsonFields(t reflect.Type) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return jsonFields(t.Elem())
	case reflect.Struct:
		var names []string
		for field := range t.Fields() {
			if name := field.Tag.Get("json"); name != "" && name != "-" {
				names = append(names, t.Name()+"."+name)
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
