package schema

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/constant"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// module is the path of the module whose types the documents are.
const module = "github.com/slipway-cd/slipway/ci"

// source is what only the source code says of types: their docstrings and their
// constants. It reads packages when they are asked for.
type source struct {
	dir      string // of the module
	packages map[string]*code
}

// code is one package.
type code struct {
	comments  map[string]string // by "Type" or "Type.Field"
	constants map[string][]named
}

// named is a constant, and what the code says of it.
type named struct {
	value any
	text  string
}

func newSource(dir string) *source { return &source{dir: dir, packages: map[string]*code{}} }

// comment is the docstring of a type, or of one of its fields; "" where there is
// none, and for types from elsewhere.
func (s *source) comment(t reflect.Type, field string) (string, error) {
	c, err := s.read(t.PkgPath())
	if err != nil || c == nil {
		return "", err
	}
	if field == "" {
		return c.comments[t.Name()], nil
	}
	return c.comments[t.Name()+"."+field], nil
}

// constants are those of a named type, in the order of the code.
func (s *source) constants(t reflect.Type) ([]named, error) {
	c, err := s.read(t.PkgPath())
	if err != nil || c == nil {
		return nil, err
	}
	return c.constants[t.Name()], nil
}

func (s *source) read(path string) (*code, error) {
	relative, ours := strings.CutPrefix(path, module+"/")
	if !ours {
		return nil, nil
	}
	if c, ok := s.packages[path]; ok {
		return c, nil
	}
	found, err := build.ImportDir(filepath.Join(s.dir, filepath.FromSlash(relative)), 0)
	if err != nil {
		return nil, fmt.Errorf("reading the source of %s: %w", path, err)
	}
	c := &code{comments: map[string]string{}, constants: map[string][]named{}}
	for _, name := range found.GoFiles {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(found.Dir, name), nil, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("reading the source of %s: %w", path, err)
		}
		for _, declaration := range file.Decls {
			if group, ok := declaration.(*ast.GenDecl); ok {
				c.add(group)
			}
		}
	}
	s.packages[path] = c
	return c, nil
}

func (c *code) add(group *ast.GenDecl) {
	for _, spec := range group.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			text := spec.Doc
			if text == nil {
				text = group.Doc
			}
			c.comments[spec.Name.Name] = plain(text)
			if s, ok := spec.Type.(*ast.StructType); ok {
				c.fields(spec.Name.Name, s)
			}
		case *ast.ValueSpec:
			if group.Tok == token.CONST {
				c.values(spec)
			}
		}
	}
}

// fields keeps what is said of the fields of a struct, above or behind them.
func (c *code) fields(name string, s *ast.StructType) {
	for _, field := range s.Fields.List {
		text := plain(field.Doc)
		if text == "" {
			text = plain(field.Comment)
		}
		for _, n := range field.Names {
			c.comments[name+"."+n.Name] = text
		}
	}
}

// values keeps constants of a named type that are written out.
func (c *code) values(spec *ast.ValueSpec) {
	of, ok := spec.Type.(*ast.Ident)
	if !ok {
		return
	}
	for _, expression := range spec.Values {
		literal, ok := expression.(*ast.BasicLit)
		if !ok {
			continue
		}
		value := constant.Val(constant.MakeFromLiteral(literal.Value, literal.Kind, 0))
		known := slices.ContainsFunc(c.constants[of.Name], func(n named) bool { return n.value == value })
		if !known { // two names may mean the same word
			c.constants[of.Name] = append(c.constants[of.Name], named{value, plain(spec.Comment)})
		}
	}
}

// plain is a comment without the marks of links.
func plain(group *ast.CommentGroup) string {
	if group == nil {
		return ""
	}
	var parser comment.Parser
	printer := comment.Printer{TextWidth: -1}
	return strings.TrimSpace(string(printer.Text(parser.Parse(group.Text()))))
}
