package httpapi

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOnlyThisPackageUsesTheFramework keeps the framework replaceable, as docs/adr
// requires. Benchmarks may use it for comparison.
func TestOnlyThisPackageUsesTheFramework(t *testing.T) {
	files := 0
	require.NoError(t, filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		if filepath.Dir(path) == "../../internal/httpapi" {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		files++
		for _, imported := range file.Imports {
			name, err := strconv.Unquote(imported.Path.Value)
			require.NoError(t, err)
			for _, framework := range []string{"github.com/gofiber/", "github.com/valyala/fasthttp"} {
				require.False(t, strings.HasPrefix(name, framework), "%s imports %s", path, name)
			}
		}
		return nil
	}))
	require.Greater(t, files, 8, "the whole module is looked at")
}
