// Package scaffold adds a service to a source tree: an entry in the services file and a
// folder with a small service that passes every stage. It writes both or nothing.
package scaffold

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// ParseKind returns the kind with a name. An unknown name is a usage error.
func ParseKind(name string) (platform.Kind, error) {
	if slices.Contains(platform.Kinds(), name) {
		return platform.Kind(name), nil
	}
	if near := outcome.Nearest(name, platform.Kinds()); near != "" {
		return "", outcome.Usagef("unknown kind %q: did you mean %q?", name, near)
	}
	return "", outcome.Usagef("unknown kind %q: want one of %s", name, strings.Join(platform.Kinds(), ", "))
}

// The first ports that Default tries.
const (
	firstGoPort    = 8000
	firstNginxPort = 8080
)

// Default returns a service with default values: its name as folder, the first free port,
// the routes /NAME and /NAME/*, the smallest size and two tasks.
func Default(p platform.Platform, name string, kind platform.Kind) platform.Service {
	s := platform.Service{
		Name: name, Build: platform.Build{Path: name, Kind: kind}, Port: firstGoPort, HealthPath: "/health",
		Routes: []string{"/" + name, "/" + name + "/*"}, CPU: 256, Memory: 512, DesiredCount: 2,
	}
	switch kind {
	case platform.Prebuilt:
		s.Path = ""
		s.Port = firstNginxPort
	case platform.Nginx:
		s.Port, s.HealthPath = firstNginxPort, "/healthz"
	}
	for slices.ContainsFunc(p.Services, func(other platform.Service) bool { return other.Port == s.Port }) {
		s.Port++
	}
	return s
}

// Added describes what was written. File names are slash-separated and relative to the
// root of the tree.
type Added struct {
	// Service is the name of the service.
	Service string `json:"service"`
	// Entry is its entry in the services file.
	Entry platform.Service `json:"entry"`
	// Files are the new files.
	Files []string `json:"files"`
	// Changed are the existing files that were changed.
	Changed []string `json:"changed"`
}

// Add adds a service to the tree and to git's index (intent to add), so that images
// contain its files before they are committed. Bad input is a usage error. After an error
// the tree is unchanged.
func Add(ctx context.Context, tree source.Tree, service platform.Service) (Added, error) {
	p, err := platform.Load(tree.Dir)
	if err != nil {
		return Added{}, err
	}
	if slices.Contains(p.Names(), service.Name) {
		return Added{}, outcome.Usagef("service %q already exists: choose another name", service.Name)
	}
	data, err := os.ReadFile(filepath.Join(tree.Dir, filepath.FromSlash(platform.ServicesFile)))
	if err != nil {
		return Added{}, fmt.Errorf("reading the services file: %w", err)
	}
	services, err := addEntry(data, p, service)
	if err != nil {
		return Added{}, outcome.With(outcome.Usage, err)
	}
	if err := checkRoutes(p, service); err != nil {
		return Added{}, err
	}
	files, err := files(tree.Dir, p, service)
	if err != nil {
		return Added{}, err
	}
	changes := []change{{platform.ServicesFile, services}}
	if service.Kind == platform.Go {
		workspace, changed, err := addToWorkspace(tree.Dir, service.Path)
		if err != nil {
			return Added{}, err
		}
		if changed {
			changes = append(changes, change{workspaceFile, workspace})
		}
	}
	if err := write(ctx, tree, service.Path, files, changes); err != nil {
		return Added{}, fmt.Errorf("adding service %q: %w", service.Name, err)
	}
	added := Added{Service: service.Name, Entry: service}
	for _, f := range files {
		added.Files = append(added.Files, path.Join(service.Path, f.name))
	}
	for _, c := range changes {
		added.Changed = append(added.Changed, c.name)
	}
	return added, nil
}

// files returns the files of a service's folder; none for one without a folder.
func files(dir string, p platform.Platform, service platform.Service) ([]file, error) {
	if service.Kind == platform.Prebuilt {
		return nil, nil
	}
	if err := checkFolder(dir, p, service.Path); err != nil {
		return nil, err
	}
	module, err := newModule(dir, p, service)
	if err != nil {
		return nil, err
	}
	return render(service, module)
}

// addEntry returns the services file with the service added. It verifies that the other
// services are unchanged.
func addEntry(data []byte, p platform.Platform, service platform.Service) ([]byte, error) {
	extended, err := insertEntry(data, service)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", platform.ServicesFile, err)
	}
	now, err := platform.Parse(extended)
	if err != nil {
		return nil, err
	}
	entries := func(services []platform.Service) (all []platform.Service) {
		for _, s := range services {
			all = append(all, s.Entry())
		}
		return all
	}
	same := func(s platform.Service) bool { return reflect.DeepEqual(s.Entry(), service.Entry()) }
	others := slices.DeleteFunc(slices.Clone(now.Services), same)
	if len(others) != len(now.Services)-1 || !reflect.DeepEqual(entries(others), entries(p.Services)) {
		return nil, fmt.Errorf("%s has a layout to which no entry can be added: add %s by hand: %s", platform.ServicesFile, service.Name, formatEntry(service, plainStyle))
	}
	return extended, nil
}

// reservedFolders are folders of the pipeline, which cannot contain services.
var reservedFolders = []string{"ci", "terraform", ".git", ".github"}

// checkFolder checks that the folder does not exist and belongs to nothing else.
func checkFolder(dir string, p platform.Platform, folder string) error {
	if !plainFolder.MatchString(folder) {
		return outcome.Usagef("invalid path %q: use letters, digits, dots, hyphens and underscores, such as services/orders", folder)
	}
	for _, s := range p.Services {
		if isWithin(folder, s.Path) {
			return outcome.Usagef("path %q is in the folder of service %q: choose another with --path", folder, s.Name)
		}
	}
	for _, other := range reservedFolders {
		if isWithin(folder, other) {
			return outcome.Usagef("path %q is in %s, which belongs to the pipeline: choose another with --path", folder, other)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(folder))); err == nil {
		return outcome.Usagef("%s already exists: choose another folder with --path, or remove it", folder)
	}
	return nil
}

func isWithin(folder, other string) bool {
	return folder == other || strings.HasPrefix(folder, other+"/")
}
