package manual_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// TestArchitecture checks that ARCHITECTURE.md has a row for every package of the
// pipeline and of its tests, and that each package imports those in its column "calls".
func TestArchitecture(t *testing.T) {
	t.Parallel()
	folders, listed := map[string]string{}, map[string]bool{}
	for _, parent := range []string{"internal", "test"} {
		for _, folder := range packagesIn(t, sourcetest.Repository("ci", parent)) {
			name := filepath.Base(folder)
			require.NotContains(t, folders, name, "two packages of one name")
			folders[name] = folder
		}
	}
	for _, r := range pageNamed(t, "ARCHITECTURE.md").rows {
		if len(r.code["package"]) == 0 {
			continue
		}
		name := r.code["package"][0]
		listed[name] = true
		require.Contains(t, folders, name, "ARCHITECTURE.md has a line for a package that is gone")
		all := imports(t, folders[name])
		for _, called := range r.code["calls"] {
			require.True(t, all[called], "ARCHITECTURE.md: %s does not import %s", name, called)
		}
	}
	for name, folder := range folders {
		require.True(t, listed[name], "ARCHITECTURE.md has no line for %s", folder)
	}
}

// packagesIn returns the folders of the packages in a folder, or in those of its
// folders that only group some.
func packagesIn(t testing.TB, parent string) (folders []string) {
	t.Helper()
	entries, err := os.ReadDir(parent)
	require.NoError(t, err)
	for _, entry := range entries {
		folder := filepath.Join(parent, entry.Name())
		switch code, _ := filepath.Glob(filepath.Join(folder, "*.go")); {
		case !entry.IsDir(), entry.Name() == "dagger": // generated
		case len(code) > 0 || filepath.Base(parent) == "test":
			folders = append(folders, folder)
		case filepath.Base(parent) == "internal":
			folders = append(folders, packagesIn(t, folder)...)
		}
	}
	return folders
}

// TestOutwardsByTheProxy: every http.Transport literal sets its proxy, or says that it
// uses none because it stays on this machine. All others clone http.DefaultTransport,
// which uses the proxy of the environment.
func TestOutwardsByTheProxy(t *testing.T) {
	t.Parallel()
	looked := 0
	files, err := code()
	require.NoError(t, err)
	for _, file := range files {
		if strings.HasSuffix(file.name, ".gen.go") || strings.Contains(file.name, "testdata") ||
			slices.ContainsFunc(file.Imports, func(one *ast.ImportSpec) bool { return one.Path.Value == `"testing"` }) {
			continue
		}
		ast.Inspect(file.File, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				if isTransport(n.Type) {
					looked++
					require.True(t, slices.ContainsFunc(n.Elts, usesProxy), "%s: this Transport ignores HTTP_PROXY: clone http.DefaultTransport", positions.Position(n.Pos()))
				}
			case *ast.CallExpr:
				made, ok := n.Fun.(*ast.Ident)
				require.False(t, ok && made.Name == "new" && isTransport(n.Args[0]), "%s: this Transport ignores HTTP_PROXY: clone http.DefaultTransport", positions.Position(n.Pos()))
			case *ast.ValueSpec:
				require.False(t, isTransport(n.Type), "%s: this Transport ignores HTTP_PROXY: clone http.DefaultTransport", positions.Position(n.Pos()))
			}
			return true
		})
	}
	require.NotZero(t, looked, "the embedded AWS has its own")
}

func isTransport(e ast.Expr) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != "Transport" {
		return false
	}
	from, ok := s.X.(*ast.Ident)
	return ok && from.Name == "http"
}

func usesProxy(e ast.Expr) bool {
	pair, ok := e.(*ast.KeyValueExpr)
	if !ok {
		return false
	}
	key, ok := pair.Key.(*ast.Ident)
	return ok && key.Name == "Proxy"
}

// imports are the packages of ci/internal and ci/test that those in a folder, and below it, import,
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
			imported, _ := strconv.Unquote(one.Path.Value)
			if rest, ours := strings.CutPrefix(imported, "github.com/slipway-cd/slipway/ci/"); ours {
				for _, name := range strings.Split(rest, "/")[1:] { // after internal or test
					found[name] = true
				}
			}
		}
		return nil
	}))
	return found
}
