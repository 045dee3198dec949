package manual_test

import (
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/sourcetest"
)

// TestArchitecture: ARCHITECTURE.md knows every package of the pipeline, and whom it
// says that one calls, that one imports.
func TestArchitecture(t *testing.T) {
	folder := sourcetest.Repository("ci", "internal")
	told := map[string]bool{}
	for _, r := range pageNamed(t, "ARCHITECTURE.md").rows {
		if len(r.code["package"]) == 0 {
			continue
		}
		name := r.code["package"][0]
		told[name] = true
		all := imports(t, filepath.Join(folder, name))
		for _, called := range r.code["calls"] {
			require.True(t, all[called], "ARCHITECTURE.md: %s does not import %s", name, called)
		}
	}
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	for _, entry := range entries {
		if entry.Name() != "dagger" { // generated
			require.True(t, told[entry.Name()], "ARCHITECTURE.md has no line for ci/internal/%s", entry.Name())
		}
		delete(told, entry.Name())
	}
	require.Empty(t, told, "ARCHITECTURE.md has lines for packages that are gone")
}

// imports are the packages of ci/internal that those in a folder, and below it, import,
// tests included: some packages are nothing else.
func imports(t testing.TB, folder string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	require.NoError(t, filepath.WalkDir(folder, func(name string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") || strings.Contains(name, "testdata") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, one := range file.Imports {
			if imported, _ := strconv.Unquote(one.Path.Value); strings.HasPrefix(imported, "dagger/slipway/internal/") {
				found[path.Base(imported)] = true
				first, _, _ := strings.Cut(strings.TrimPrefix(imported, "dagger/slipway/internal/"), "/")
				found[first] = true
			}
		}
		return nil
	}))
	return found
}
