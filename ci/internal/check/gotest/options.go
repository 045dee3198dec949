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

	"github.com/slipway-cd/slipway/ci/internal/check/coverage"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
)

// Options are the options of [Run].
type Options struct {
	// Modules are module directories, slash-separated and relative to the
	// source root: "backend", "ci".
	Modules []string
	// Gate is the minimum coverage of each module.
	Gate coverage.Gate
	// Race turns the race detector on; see [RaceSupported].
	Race bool
	// SkipVet omits the checks of go vet that go test makes.
	SkipVet bool
	// Image is the container image with Go.
	Image string
	// Exclude lists files that are excluded from coverage.
	Exclude coverage.Globs
	// Out is the report directory, which is created if necessary; empty means no report.
	Out string
	// Timeout limits the tests of a package; zero means Go's default of ten minutes, and half an
	// hour for the pipeline's own modules.
	Timeout time.Duration
	// Tree has the digests of the source tree: see [source.Tree.Digests]. Tests of
	// the pipeline read more than their module, and with them Go knows which of its
	// kept results still hold. Empty: none is taken.
	Tree map[string]string
	// Log is called with a line for each progress message. Calls are not concurrent.
	// nil is silent.
	Log func(line string)
}

// OptionError is the error of invalid options.
type OptionError struct{ Err error }

func (e *OptionError) Error() string { return e.Err.Error() }
func (e *OptionError) Unwrap() error { return e.Err }

// modules validates the options and returns the modules to test.
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
			return nil, &OptionError{fmt.Errorf("the coverage gate names module %q, which is not tested: want one of %q", dir, dirs)}
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
		return "", fmt.Errorf("%s has no module path: add the line `module PATH`", path.Join(dir, "go.mod"))
	}
	return name, nil
}
