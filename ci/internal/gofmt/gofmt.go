// Package gofmt formats the Go files of a source tree, as gofumpt does.
package gofmt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"mvdan.cc/gofumpt/format"

	"dagger/slipway/internal/source"
)

// Run formats every Go file that git tracks, but for generated ones and test
// data, and returns those that were not formatted, sorted. With check it
// changes nothing. A file that is no Go stays as it is; the error names it,
// after all others are done.
func Run(ctx context.Context, tree source.Tree, check bool) ([]string, error) {
	files, err := tree.Files(ctx, ".")
	if err != nil {
		return nil, err
	}
	modules := modules{}
	var changed []string
	var failures []error
	for _, name := range files {
		if ctx.Err() != nil {
			return changed, context.Cause(ctx)
		}
		if !strings.HasSuffix(name, ".go") || slices.Contains(strings.Split(path.Dir(name), "/"), "testdata") {
			continue
		}
		differs, err := one(tree.Dir, name, modules, check)
		if err != nil {
			failures = append(failures, err)
		}
		if differs {
			changed = append(changed, name)
		}
	}
	return changed, errors.Join(failures...)
}

// one formats one file, and tells whether it was not formatted.
func one(root, name string, modules modules, check bool) (bool, error) {
	file := filepath.Join(root, filepath.FromSlash(name))
	info, err := os.Lstat(file)
	if err != nil {
		return false, fmt.Errorf("formatting: %w", err)
	}
	if !info.Mode().IsRegular() {
		return false, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return false, fmt.Errorf("formatting: %w", err)
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), name, data, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return false, err // it begins with the file and the line
	}
	if ast.IsGenerated(parsed) {
		return false, nil
	}
	options, err := modules.options(root, path.Dir(name))
	if err != nil {
		return false, err
	}
	formatted, err := format.Source(data, options)
	if err != nil {
		return false, fmt.Errorf("formatting %s: %w", name, err)
	}
	if bytes.Equal(data, formatted) {
		return false, nil
	}
	if !check {
		if err := os.WriteFile(file, formatted, info.Mode().Perm()); err != nil { //nolint:gosec // git named the file
			return true, fmt.Errorf("formatting: %w", err)
		}
	}
	return true, nil
}

// modules are the options for the files of each folder: how they are formatted
// hangs on their module's path and Go version.
type modules map[string]format.Options

// options finds the module of a folder of the tree.
func (m modules) options(root, folder string) (format.Options, error) {
	if known, ok := m[folder]; ok {
		return known, nil
	}
	var found format.Options
	name := path.Join(folder, "go.mod")
	data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	switch {
	case err == nil:
		parsed, err := modfile.ParseLax(name, data, nil)
		if err != nil {
			return found, fmt.Errorf("formatting: %w", err)
		}
		if parsed.Module != nil {
			found.ModulePath = parsed.Module.Mod.Path
		}
		if parsed.Go != nil {
			found.LangVersion = "go" + parsed.Go.Version
		}
	case !errors.Is(err, os.ErrNotExist):
		return found, fmt.Errorf("formatting: %w", err)
	case folder != ".":
		if found, err = m.options(root, path.Dir(folder)); err != nil {
			return found, err
		}
	}
	m[folder] = found
	return found, nil
}
