package sourcetest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/check/gotest"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// early is what a package's variables got of Root.
var early = func() (refused any) {
	defer func() { refused = recover() }()
	return sourcetest.Root("ci")
}()

// TestRootBeforeTests: Go's test cache does not see the environment that the variables of a
// package read, and so would keep the results of its tests after a change.
func TestRootBeforeTests(t *testing.T) {
	require.Contains(t, early, "call it in a test")
}

// TestRepositoryIsFoundInOnePlace checks that tests find files outside of the module by
// sourcetest.Repository: otherwise Go's test cache does not depend on them.
func TestRepositoryIsFoundInOnePlace(t *testing.T) {
	module := sourcetest.Repository("ci")
	files := 0
	require.NoError(t, filepath.WalkDir(module, func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") || filepath.Base(name) == "dagger.gen.go" {
			return err
		}
		files++
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil //nolint:nilerr // test data, which need not be Go
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if pkg, ok := n.X.(*ast.Ident); ok && pkg.Name == "runtime" && n.Sel.Name == "Caller" {
					require.Equal(t, "sourcetest.go", filepath.Base(name), "%s: call sourcetest.Repository", name)
				}
			case *ast.CallExpr:
				if !strings.HasPrefix(name, filepath.Join(module, "test")) {
					requireInput(t, name, n)
				}
			case *ast.BasicLit:
				text, err := strconv.Unquote(n.Value)
				if n.Kind != token.STRING || err != nil || !strings.HasPrefix(text, "../") {
					return true
				}
				there := filepath.Join(filepath.Dir(name), filepath.FromSlash(text))
				_, err = os.Stat(there)
				outside, _ := filepath.Rel(module, there)
				require.False(t, err == nil && strings.HasPrefix(outside, ".."), "%s: %s: call sourcetest.Repository", name, n.Value)
			}
			return true
		})
		return nil
	}))
	require.Greater(t, files, 300, "those of ci/test, too")
}

// requireInput checks that what a call of sourcetest.Repository or Root names is an input of
// the module's tests.
func requireInput(t *testing.T, file string, call *ast.CallExpr) {
	t.Helper()
	function, _ := call.Fun.(*ast.SelectorExpr)
	if function == nil || function.Sel.Name != "Repository" && function.Sel.Name != "Root" {
		return
	}
	if pkg, ok := function.X.(*ast.Ident); !ok || pkg.Name != "sourcetest" {
		return
	}
	var parts []string
	for _, argument := range call.Args {
		if text, ok := argument.(*ast.BasicLit); ok {
			part, err := strconv.Unquote(text.Value)
			require.NoError(t, err)
			parts = append(parts, part)
		}
	}
	if len(parts) < len(call.Args) {
		return
	}
	if function.Sel.Name == "Repository" {
		parts = []string{path.Join(parts...)}
	}
	for _, part := range parts {
		s := gotest.Step(gotest.Pipeline, gotest.Options{Tree: map[string]string{part: "digest"}})
		require.Contains(t, s.Env, source.DigestVariable(part), "%s reads %q: add it to the inputs of the pipeline's tests in gotest", file, part)
	}
}

// TestGitIsCalledInOnePlace checks that all code calls git through source.Tree.Git, which
// cleans the environment. It is here because it reads the whole module: another package
// with it would be tested again after every change.
func TestGitIsCalledInOnePlace(t *testing.T) {
	module := sourcetest.Repository("ci")
	files := 0
	require.NoError(t, filepath.WalkDir(module, func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".gen.go") {
			return err
		}
		files++
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil //nolint:nilerr // test data, which need not be Go
		}
		below, _ := filepath.Rel(module, name)
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			for _, argument := range call.Args {
				if text, ok := argument.(*ast.BasicLit); ok && text.Value == `"git"` {
					require.Contains(t, []string{
						"internal/config/source/git.go", "internal/sourcetest/sourcetest.go",
						"internal/check/doctor/doctor.go", // looks whether it is there
					}, filepath.ToSlash(below), "call source.Tree.Git")
				}
			}
			return true
		})
		return nil
	}))
	require.Greater(t, files, 300)
	_, err := os.Stat(filepath.Join(module, "internal", "config", "source", "git.go"))
	require.NoError(t, err)
}
