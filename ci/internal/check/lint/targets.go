package lint

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/check/format"
	"github.com/slipway-cd/slipway/ci/internal/check/gotest"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
)

const (
	workflowFolder = ".github/workflows"
	// terraformLock marks a root module. A child module in [terraformModules] has a lock
	// file if it has tests.
	terraformLock = ".terraform.lock.hcl"
)

// terraformFolder is the folder of the Terraform configuration.
var terraformFolder = path.Dir(platform.ServicesFile)

// terraformModules begins the paths of child modules, which are checked with the root
// modules that call them.
var terraformModules = terraformFolder + "/modules/"

// includeRoot returns the parts of the tree that a root module and the modules beside it
// are in.
func includeRoot(root string) []string {
	top, _, _ := strings.Cut(path.Clean(root), "/")
	return []string{top}
}

// Targets are the parts of a source tree to check. Paths are slash-separated and relative
// to its root.
type Targets struct {
	// Modules are folders of Go modules.
	Modules []string
	// Sites are the services of kind nginx.
	Sites []platform.Service
	// Terraform is the folder of the Terraform configuration, and Roots are the root
	// modules in it. Both are empty without configuration.
	Terraform string
	Roots     []string
	// Workflows are the files of GitHub workflows.
	Workflows []string
	// Tracked are all tracked files; nil if services were selected.
	Tracked []string
	// All is set if no services were selected.
	All bool
}

// Find returns the targets of some services, or of the whole tree without services.
func Find(ctx context.Context, tree source.Tree, p platform.Platform, services ...string) (Targets, error) {
	selected, err := p.Select(services...)
	if err != nil {
		return Targets{}, err
	}
	t := Targets{All: len(services) == 0}
	for _, s := range selected {
		switch s.Kind {
		case platform.Go:
			if !slices.Contains(t.Modules, s.Path) { // services may share a module
				t.Modules = append(t.Modules, s.Path)
			}
		case platform.Nginx:
			if !slices.ContainsFunc(t.Sites, func(other platform.Service) bool { return other.Path == s.Path }) {
				t.Sites = append(t.Sites, s)
			}
		}
	}
	if !t.All {
		return t, nil
	}
	t.Modules = gotest.ForPlatform(tree.Dir, p).Modules
	if t.Tracked, err = tree.Files(ctx, "."); err != nil {
		return Targets{}, err
	}
	for _, file := range t.Tracked {
		switch dir, ext := path.Dir(file), path.Ext(file); {
		case dir == workflowFolder && (ext == ".yml" || ext == ".yaml"):
			t.Workflows = append(t.Workflows, file)
		case ext == ".tf" && strings.HasPrefix(file, terraformFolder+"/"):
			t.Terraform = terraformFolder
		case path.Base(file) == terraformLock && strings.HasPrefix(file, terraformFolder+"/") && !strings.HasPrefix(file, terraformModules):
			t.Roots = append(t.Roots, dir)
		}
	}
	if t.Terraform != "" && len(t.Roots) == 0 {
		t.Roots = []string{t.Terraform}
	}
	slices.Sort(t.Roots)
	return t, nil
}

// Formatters returns the formatters of the targets. image returns the container image of
// a tool.
func (t Targets) Formatters(image func(tool string) string) []format.Formatter {
	var formatters []format.Formatter
	for _, module := range t.Modules {
		if module == gotest.PipelineTests {
			continue // gofumpt also formats nested modules
		}
		formatters = append(formatters, format.Go(module, image("go")))
	}
	if t.Terraform != "" {
		formatters = append(formatters, format.Terraform(t.Terraform, image("terraform")))
	}
	return formatters
}
