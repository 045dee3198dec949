package gotest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/mod/modfile"

	"dagger/slipway/internal/check/coverage"
	"dagger/slipway/internal/exec/step"
)

// Options say what to test and what to ask of it.
type Options struct {
	// Modules are module directories, slash-separated and relative to the
	// source root: "backend", "ci".
	Modules []string
	// Gate is the least coverage of each module.
	Gate coverage.Gate
	// Race turns the race detector on; see [RaceSupported].
	Race bool
	// Image is the container image with Go that containers use.
	Image string
	// Exclude lists files that do not count for coverage.
	Exclude coverage.Globs
	// Out is the report directory, made if missing. Empty: no report.
	Out string
	// Timeout ends the tests of a package that take longer; zero is Go's own
	// limit of ten minutes.
	Timeout time.Duration
	// Tree has the digests of the source tree: see [source.Tree.Digests]. Tests of
	// the pipeline read more than their module, and with them Go knows which of its
	// kept results still hold. Empty: none is taken.
	Tree map[string]string
	// Narrate receives a plain line for each thing worth telling, one call at
	// a time; nil is silent.
	Narrate func(line string)
}

// OptionError is a fault of the options, not of what they were applied to.
type OptionError struct{ Err error }

func (e *OptionError) Error() string { return e.Err.Error() }
func (e *OptionError) Unwrap() error { return e.Err }

// modules checks the options against the tree.
func (o Options) modules(source string) ([]module, error) {
	if len(o.Modules) == 0 {
		return nil, &OptionError{errors.New("no module to test: name at least one module directory")}
	}
	if err := o.Exclude.Check(); err != nil {
		return nil, &OptionError{fmt.Errorf("files to exclude from coverage: %w", err)}
	}
	root, err := filepath.Abs(source)
	if err != nil {
		return nil, fmt.Errorf("finding the source tree: %w", err)
	}
	roots := []string{root, step.ContainerSource}
	if resolved, err := filepath.EvalSymlinks(root); err == nil && resolved != root {
		roots = append(roots, resolved)
	}
	var modules []module
	var dirs []string
	for _, dir := range o.Modules {
		m := module{tree: os.DirFS(root), roots: roots, dir: path.Clean(dir)}
		if slices.Contains(dirs, m.dir) {
			continue
		}
		if m.importPath, err = importPath(m.tree, m.dir); err != nil {
			return nil, &OptionError{err}
		}
		dirs = append(dirs, m.dir)
		modules = append(modules, m)
	}
	for dir := range o.Gate.Modules {
		if !slices.Contains(dirs, dir) {
			return nil, &OptionError{fmt.Errorf("the coverage gate names module %q, which is not tested; there are %q", dir, dirs)}
		}
	}
	return modules, nil
}

func importPath(tree fs.FS, dir string) (string, error) {
	if !fs.ValidPath(dir) {
		return "", fmt.Errorf("module directory %q is not inside the source tree", dir)
	}
	content, err := fs.ReadFile(tree, path.Join(dir, "go.mod"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("module directory %q has no go.mod: create it with `go mod init`, or name another directory", dir)
	}
	if err != nil {
		return "", fmt.Errorf("reading module %q: %w", dir, err)
	}
	name := modfile.ModulePath(content)
	if name == "" {
		return "", fmt.Errorf("%s names no module: its first line is to be `module PATH`", path.Join(dir, "go.mod"))
	}
	return name, nil
}
