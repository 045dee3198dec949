package lint

import (
	"context"
	"path"
	"slices"
	"strings"

	"dagger/slipway/internal/check/format"
	"dagger/slipway/internal/check/gotest"
	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/config/source"
)

const (
	workflowFolder = ".github/workflows"
	// terraformLock marks a root module; no module that is called has one.
	terraformLock = ".terraform.lock.hcl"
)

// terraformFolder has the configuration of the platform.
var terraformFolder = path.Dir(platform.ServicesFile)

// Targets are the parts of a source tree that tools look at, each a folder or
// file, slash-separated and relative to its root.
type Targets struct {
	// Modules are folders of Go modules.
	Modules []string
	// Sites are the services of kind nginx.
	Sites []platform.Service
	// Terraform has the folder of all configuration; Roots are the root modules
	// in it. Both are empty where there is none.
	Terraform string
	Roots     []string
	// Workflows are files.
	Workflows []string
	// Tracked are all files; nil where only some services were asked for.
	Tracked []string
	// All says that no services were selected.
	All bool
}

// Find finds in tree what belongs to some services, or everything where none
// is named.
func Find(ctx context.Context, tree source.Tree, p platform.Platform, services ...string) (Targets, error) {
	selected, err := p.Select(services...)
	if err != nil {
		return Targets{}, err
	}
	t := Targets{All: len(services) == 0}
	for _, s := range selected {
		switch s.Kind {
		case platform.Go:
			t.Modules = append(t.Modules, s.Path)
		case platform.Nginx:
			t.Sites = append(t.Sites, s)
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
		case path.Base(file) == terraformLock && strings.HasPrefix(file, terraformFolder+"/"):
			t.Roots = append(t.Roots, dir)
		}
	}
	if t.Terraform != "" && len(t.Roots) == 0 {
		t.Roots = []string{t.Terraform}
	}
	slices.Sort(t.Roots)
	return t, nil
}

// Formatters are those that format the targets. image names the container
// image of a tool.
func (t Targets) Formatters(image func(tool string) string) []format.Formatter {
	var formatters []format.Formatter
	for _, module := range t.Modules {
		if module == gotest.PipelineTests {
			continue // gofumpt goes into the folders below, whose modules they are
		}
		formatters = append(formatters, format.Go(module, image("go")))
	}
	if t.Terraform != "" {
		formatters = append(formatters, format.Terraform(t.Terraform, image("terraform")))
	}
	return formatters
}
