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

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/report/outcome"
)

// workspaceFile lists the modules of the tree for editors and for go commands that
// are run by hand. The pipeline builds and tests each module alone.
const workspaceFile = "go.work"

// module is what a Go service's go.mod says.
type module struct{ Path, Go string }

// newModule names the module beside that of the first Go service, and gives it the
// same version of Go; in a tree without one the versions of the pipeline's.
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

// addToWorkspace is the workspace file with a module's folder in it, and whether that
// changes anything: it does not in a tree without a workspace.
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

// oneLine puts the errors of a file on one line.
func oneLine(err error) error { return errors.New(strings.ReplaceAll(err.Error(), "\n", "; ")) }
