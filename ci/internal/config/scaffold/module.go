package scaffold

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/mod/modfile"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// workspaceFile lists the modules of the tree for editors and manual go commands. The
// pipeline builds and tests each module without it.
const workspaceFile = "go.work"

// module is the content of a Go service's go.mod.
type module struct{ Path, Go string }

// newModule returns a module with the path prefix and Go version of the first Go service,
// or else with the pipeline's Go version.
func newModule(dir string, p platform.Platform, service platform.Service) (module, error) {
	made := module{Path: path.Join("services", service.Name), Go: strings.TrimPrefix(runtime.Version(), "go")}
	for _, s := range p.Services {
		if s.Kind != platform.Go {
			continue
		}
		name := path.Join(s.Path, "go.mod")
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return module{}, fmt.Errorf("reading %s: %w", name, err)
		}
		file, err := modfile.ParseLax(name, data, nil)
		if err != nil {
			return module{}, outcome.With(outcome.Usage, oneLine(err))
		}
		if file.Go != nil {
			made.Go = file.Go.Version
		}
		if parent := path.Dir(modfile.ModulePath(data)); parent != "." {
			made.Path = path.Join(parent, service.Name)
		}
		return made, nil
	}
	return made, nil
}

// addToWorkspace returns the workspace file with a module's folder added. changed is false
// in a tree without a workspace file.
func addToWorkspace(dir, folder string) (data []byte, changed bool, err error) {
	data, err = os.ReadFile(filepath.Join(dir, workspaceFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("reading the workspace file: %w", err)
	}
	file, err := modfile.ParseWork(workspaceFile, data, nil)
	if err != nil {
		return nil, false, outcome.With(outcome.Usage, oneLine(err))
	}
	if err := file.AddUse("./"+folder, ""); err != nil {
		return nil, false, fmt.Errorf("adding %s to %s: %w", folder, workspaceFile, err)
	}
	file.SortBlocks()
	file.Cleanup()
	return modfile.Format(file.Syntax), true, nil
}

// oneLine joins the lines of an error.
func oneLine(err error) error { return errors.New(outcome.JoinLines(err.Error())) }
