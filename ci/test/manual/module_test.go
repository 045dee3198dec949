package manual_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// module is the Dagger module as its source says it.
type module struct {
	constructor function
	functions   []function
	// methods are the functions of the objects that functions return.
	methods []function
	// fields are those of the objects that functions return, by type.
	fields map[string][]string
}

type function struct {
	name, doc string
	args      []argument
	returns   string // type, without its star and package
}

type argument struct {
	name, doc, kind, preset string
	optional                bool
}

func (f function) argument(name string) (argument, bool) {
	n := slices.IndexFunc(f.args, func(a argument) bool { return a.name == name })
	if n < 0 {
		return argument{}, false
	}
	return f.args[n], true
}

func (m module) function(name string) (function, bool) {
	n := slices.IndexFunc(m.functions, func(f function) bool { return f.name == name })
	if n < 0 {
		return function{}, false
	}
	return m.functions[n], true
}

// readModule reads the functions of ci/*.go.
func readModule(t testing.TB) module {
	t.Helper()
	m := module{fields: map[string][]string{}}
	files := token.NewFileSet()
	packages, err := parser.ParseDir(files, filepath.Join(root(), "ci"), func(f fs.FileInfo) bool { //nolint:staticcheck // build tags do not matter here
		return f.Name() != "dagger.gen.go" && !strings.HasSuffix(f.Name(), "_test.go")
	}, parser.ParseComments)
	require.NoError(t, err)
	for _, file := range packages["main"].Files {
		for _, declaration := range file.Decls {
			switch d := declaration.(type) {
			case *ast.FuncDecl:
				switch {
				case d.Recv == nil && d.Name.Name == "New":
					m.constructor = readFunction(d, file.Comments)
				case d.Recv != nil && d.Name.IsExported() && typeName(d.Recv.List[0].Type) == "Slipway":
					m.functions = append(m.functions, readFunction(d, file.Comments))
				case d.Recv != nil && d.Name.IsExported() && ast.IsExported(typeName(d.Recv.List[0].Type)):
					m.methods = append(m.methods, readFunction(d, file.Comments))
				}
			case *ast.GenDecl:
				m.readTypes(d)
			}
		}
	}
	slices.SortFunc(m.functions, func(a, b function) int { return strings.Compare(a.name, b.name) })
	require.NotEmpty(t, m.functions)
	return m
}

func (m module) readTypes(d *ast.GenDecl) {
	for _, spec := range d.Specs {
		named, ok := spec.(*ast.TypeSpec)
		if !ok {
			continue
		}
		structure, ok := named.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, field := range structure.Fields.List {
			for _, name := range field.Names {
				if name.IsExported() && !strings.Contains(field.Doc.Text(), "+private") {
					m.fields[named.Name.Name] = append(m.fields[named.Name.Name], kebab(name.Name))
				}
			}
		}
	}
}

func readFunction(d *ast.FuncDecl, comments []*ast.CommentGroup) function {
	f := function{name: kebab(d.Name.Name)}
	f.doc, _ = split(d.Doc.Text())
	if d.Type.Results != nil {
		f.returns = typeName(d.Type.Results.List[0].Type)
	}
	for _, field := range d.Type.Params.List {
		if len(field.Names) == 0 || slices.Contains([]string{"Context", "Workspace"}, typeName(field.Type)) {
			continue // given by the engine
		}
		doc, pragmas := split(before(field, comments))
		a := argument{name: kebab(field.Names[0].Name), doc: doc, kind: typeName(field.Type)}
		for _, p := range pragmas {
			key, value, _ := strings.Cut(p, "=")
			switch key {
			case "optional", "defaultPath":
				a.optional = true
			case "default":
				a.optional, a.preset = true, strings.Trim(value, `"`)
			}
		}
		f.args = append(f.args, a)
	}
	return f
}

// before is the comment above a parameter, which the parser does not attach to it.
func before(field *ast.Field, comments []*ast.CommentGroup) string {
	for n := len(comments) - 1; n >= 0; n-- {
		if gap := field.Pos() - comments[n].End(); gap > 0 && gap < 8 { // a line's end and its indent
			return comments[n].Text() + pragmasOf(comments[n])
		}
	}
	return ""
}

// pragmasOf are the lines "+…" of a comment.
func pragmasOf(group *ast.CommentGroup) string {
	var b strings.Builder
	for _, c := range group.List {
		if line := strings.TrimSpace(strings.TrimPrefix(c.Text, "//")); strings.HasPrefix(line, "+") {
			b.WriteString("\n" + line)
		}
	}
	return b.String()
}

// split takes the lines "+…" out of a comment.
func split(comment string) (doc string, pragmas []string) {
	var lines []string
	for line := range strings.Lines(comment) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "+"); ok {
			pragmas = append(pragmas, rest)
			continue
		}
		lines = append(lines, line)
	}
	return strings.TrimSpace(strings.Join(lines, "\n")), pragmas
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.ArrayType:
		return "[]" + typeName(e.Elt)
	case *ast.Ident:
		return e.Name
	}
	return reflect.TypeOf(e).String()
}

var hump, acronym = regexp.MustCompile(`([a-z0-9])([A-Z])`), regexp.MustCompile(`([A-Z]+)([A-Z][a-z])`)

// kebab is a name of Go as Dagger's command line has it.
func kebab(name string) string {
	return strings.ToLower(hump.ReplaceAllString(acronym.ReplaceAllString(name, "$1-$2"), "$1-$2"))
}

// daggerFlags are the flags that `dagger call` has for itself, by the CLI's version: a
// function or constructor with an argument of the same name cannot be called ("flag
// already exists"). Hidden and deprecated flags count, shorthands do not: arguments have
// none. A line each: global flags (installGlobalFlags and init in main.go), those that
// load modules (moduleAddFlags in module.go), and those of `call` itself (Command in
// functions.go).
var daggerFlags = map[string][]string{
	// https://github.com/dagger/dagger/tree/v0.21.8/cmd/dagger
	"v0.21.8": strings.Fields(`
		workdir verbose quiet silent debug progress lock interactive interactive-command web no-exit auto-apply x-release dot-output dot-focus-field dot-show-internal cloud scale-out help
		mod no-mod allow-llm eager-runtime
		output json`),
	// https://github.com/dagger/dagger/tree/v1.0.0-beta.10/internal/cmd/dagger
	"v1.0.0-beta.10": strings.Fields(`
		workdir workspace env verbose quiet silent debug progress interactive interactive-command web no-exit auto-apply x-release dot-output dot-focus-field dot-show-internal cloud scale-out profile org help
		load-module no-load-module mod no-mod allow-llm eager-runtime
		output json`),
}

// TestDaggerFlags: no argument of the module has the name of a flag of Dagger's own, at
// the version that dagger.json pins and at the newest one that was read.
func TestDaggerFlags(t *testing.T) {
	engine := engineVersion(t)
	require.Contains(t, daggerFlags, engine, "dagger.json has another version: read the flags of its CLI")
	m, checked := readModule(t), 0
	for version, flags := range daggerFlags {
		for _, f := range slices.Concat([]function{m.constructor}, m.functions, m.methods) {
			for _, a := range f.args {
				require.NotContains(t, flags, a.name, "%s: dagger call %s has a flag --%s itself: give the argument another name", f.name, version, a.name)
				checked++
			}
		}
	}
	require.Greater(t, checked, 100)
}

// engineVersion returns the version of the engine that dagger.json pins.
func engineVersion(t testing.TB) string {
	t.Helper()
	var pinned struct{ EngineVersion string }
	text, err := os.ReadFile(filepath.Join(root(), "dagger.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &pinned))
	return pinned.EngineVersion
}

// TestEngineVersion: docs/operations.md lists the places that name the engine's version, and
// they name the one of dagger.json.
func TestEngineVersion(t *testing.T) {
	list := regexp.MustCompile(`(?m)^\| Dagger engine .*$`).FindString(pageNamed(t, "docs/operations.md").text)
	for _, name := range []string{"examples/dagger/dagger.json", "README.md", "ci/internal/config/scaffold/repository.go"} {
		content, err := os.ReadFile(filepath.Join(root(), name))
		require.NoError(t, err)
		require.Contains(t, string(content), engineVersion(t), name)
		require.Contains(t, list, strings.TrimSuffix(name, "/repository.go"))
	}
}
