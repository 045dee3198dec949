package infra

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/infra/binding"
	"github.com/slipway-cd/slipway/ci/internal/infra/module"
	"github.com/slipway-cd/slipway/ci/internal/infra/terraform"
)

const lockFile = ".terraform.lock.hcl"

// configuration is everything that determines what Terraform plans. Paths are
// slash-separated and relative to the source tree; they may lead out of it.
type configuration struct {
	// files are the hashes of all files, by path.
	files map[string]string
	// modules are the folders of local modules outside of the root module.
	modules []string
	// outside are modules and files outside of the repository.
	outside []string
	// dirty reports whether a file differs from the commit.
	dirty bool
	// variables maps the root module's variables to whether each is ephemeral.
	variables map[string]bool
}

// localFiles are the local files that the root module uses besides its own: the
// folders of modules that it calls, directly or not, and the files and folders that
// any of them reads. Paths are absolute, without symbolic links. Missing files are
// left for Terraform to report.
type localFiles struct {
	root           string
	modules, reads []string
	variables      map[string]bool
}

// findLocalFiles finds local files, starting from the root module and from seeds:
// modules that Terraform installed.
func (s Stage) findLocalFiles(seeds []string) (localFiles, error) {
	root, err := realName(s.folder())
	if err != nil {
		return localFiles{}, fmt.Errorf("reading the configuration: %w", err)
	}
	l := localFiles{root: root}
	for next := append([]string{root}, seeds...); len(next) > 0; next = next[1:] {
		dir, err := realName(next[0])
		if err != nil || slices.Contains(l.modules, dir) {
			continue
		}
		m, err := module.Read(dir, root)
		if err != nil {
			continue
		}
		if dir == root {
			l.variables = m.Variables
		}
		l.modules = append(l.modules, dir)
		next = append(next, m.Calls...)
		for _, name := range m.Reads {
			if name, err := realName(name); err == nil {
				l.reads = append(l.reads, name)
			}
		}
	}
	isInside := func(name string) bool { return inside(root, name) }
	l.modules, l.reads = slices.DeleteFunc(l.modules, isInside), slices.DeleteFunc(l.reads, func(name string) bool {
		info, err := os.Stat(name)
		return err != nil || info.IsDir() && (isInside(name) || inside(name, root))
	})
	slices.Sort(l.modules)
	return l, nil
}

// inside reports whether an absolute path is dir or below it.
func inside(dir, name string) bool {
	relative, err := filepath.Rel(dir, name)
	return err == nil && filepath.IsLocal(relative)
}

// include returns the parts of the source tree that Terraform reads in a container.
func (s Stage) include() []string {
	top, _, _ := strings.Cut(s.dir(), "/") // a root module may call sibling modules
	parts := []string{top}
	tree, err := realName(s.Tree.Dir)
	l, localErr := s.findLocalFiles(nil)
	if err != nil || localErr != nil {
		return parts
	}
	for _, name := range slices.Concat(l.modules, l.reads) {
		if relative, err := filepath.Rel(tree, name); err == nil && filepath.IsLocal(relative) && !inside(filepath.Join(tree, top), name) {
			parts = append(parts, filepath.ToSlash(relative))
		}
	}
	return parts
}

// realName returns the absolute path of a file or folder without symbolic links.
func realName(name string) (string, error) {
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return "", err
	}
	return filepath.Abs(name)
}

// configuration hashes every file that determines what Terraform plans: those in
// the root module and local modules that git knows or Terraform reads, and files
// elsewhere that the configuration names. Variables in files that git does not know
// may be secret, and are left to [Stage.variables].
func (s Stage) configuration(ctx context.Context, seeds []string) (configuration, error) {
	tree, err := realName(s.Tree.Dir)
	if err != nil {
		return configuration{}, fmt.Errorf("reading the configuration: %w", err)
	}
	l, err := s.findLocalFiles(seeds)
	if err != nil {
		return configuration{}, err
	}
	c := configuration{files: map[string]string{}, variables: l.variables}
	top, err := source.Tree{Dir: tree}.TopLevel(ctx)
	if err != nil {
		return c, err
	}
	repos := repositories{tree: tree, top: top, cache: map[string]string{}}
	names := map[string]bool{}
	if err := addDir(ctx, names, source.Tree{Dir: tree}, s.dir(), true); err != nil {
		return c, err
	}
	for _, dir := range l.modules {
		name := repos.name(dir)
		c.modules = append(c.modules, name)
		owner := repos.owner(ctx, dir)
		if owner == "" {
			c.outside = append(c.outside, name)
		}
		if err := addDir(ctx, names, source.Tree{Dir: tree}, name, owner != ""); err != nil {
			return c, err
		}
	}
	for _, read := range l.reads {
		info, err := os.Stat(read)
		outside := repos.owner(ctx, filepath.Dir(read)) == ""
		switch {
		case err != nil, outside && info.IsDir():
		case info.IsDir():
			err = addFiles(tree, repos.name(read), names, func(string) bool { return true })
		default:
			names[repos.name(read)] = true
			if outside {
				c.outside = append(c.outside, repos.name(read))
			}
		}
		if err != nil {
			return c, fmt.Errorf("listing what the configuration reads: %w", err)
		}
	}
	if _, err := os.Stat(filepath.Join(tree, filepath.FromSlash(platform.ServicesFile))); err == nil {
		names[platform.ServicesFile] = true
	}
	for name := range maps.Clone(names) { // the target of a link counts as well
		full := filepath.Join(tree, filepath.FromSlash(name))
		if target, err := realName(full); err == nil && target != full {
			if info, err := os.Stat(target); err == nil && !info.IsDir() {
				names[repos.name(target)] = true
			}
		}
	}
	for name := range names {
		hash, err := c.hash(filepath.Join(tree, filepath.FromSlash(name)))
		if err != nil {
			return c, fmt.Errorf("hashing the configuration: %w", err)
		}
		if hash != "" {
			c.files[name] = hash
		}
	}
	c.dirty, err = source.Tree{Dir: tree}.Modified(ctx, slices.Sorted(maps.Keys(c.files)))
	slices.Sort(c.outside)
	c.outside = slices.Compact(c.outside)
	return c, err
}

// addDir adds the files of a configuration folder to names: those that git knows,
// if it is in a repository, and those that Terraform reads.
func addDir(ctx context.Context, names map[string]bool, tree source.Tree, dir string, tracked bool) error {
	if tracked {
		files, err := tree.Files(ctx, dir)
		if err != nil {
			return err
		}
		for _, name := range files {
			names[path.Join(dir, name)] = true
		}
	}
	counts := isConfigurationFile
	if !tracked {
		counts = func(string) bool { return true }
	}
	if err := addFiles(tree.Dir, dir, names, counts); err != nil {
		return fmt.Errorf("listing the configuration in %s: %w", dir, err)
	}
	return nil
}

// addFiles adds the files below dir, relative to tree, whose names count.
func addFiles(tree, dir string, names map[string]bool, counts func(string) bool) error {
	root := filepath.Join(tree, filepath.FromSlash(dir))
	if target, err := realName(root); err == nil {
		root = target
	}
	return filepath.WalkDir(root, func(file string, entry os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && file != root && strings.HasPrefix(entry.Name(), "."):
			return filepath.SkipDir
		case entry.IsDir() || !counts(entry.Name()):
			return nil
		}
		relative, err := filepath.Rel(root, file)
		if err == nil {
			names[path.Join(dir, filepath.ToSlash(relative))] = true
		}
		return err
	})
}

// hash hashes a file, or the target path of a link that is broken or leads to a
// folder. A folder, such as a submodule, has no hash. Ephemeral variables in a
// variables file do not count.
func (c configuration) hash(name string) (string, error) {
	data, err := os.ReadFile(name)
	if err == nil {
		if isVariablesFile(name) {
			data, _ = splitVariables(name, data, c.variables)
		}
		return binding.Hash(data), nil
	}
	if target, err := os.Readlink(name); err == nil {
		return binding.Hash([]byte(target)), nil
	}
	if info, statErr := os.Stat(name); statErr == nil && info.IsDir() {
		return "", nil
	}
	return "", err
}

// repositories finds and caches the repository of a folder.
type repositories struct {
	tree, top string
	cache     map[string]string
}

func (o repositories) name(full string) string {
	relative, err := filepath.Rel(o.tree, full)
	if err != nil {
		return filepath.ToSlash(full) // on another drive
	}
	return filepath.ToSlash(relative)
}

// owner returns the root of the repository that a folder is in: the tree's own or
// one below it, such as a submodule. It is "" for a folder outside.
func (o repositories) owner(ctx context.Context, dir string) string {
	owner, ok := o.cache[dir]
	if !ok {
		if top, err := (source.Tree{Dir: dir}).TopLevel(ctx); err == nil && inside(o.top, top) {
			owner = top
		}
		o.cache[dir] = owner
	}
	return owner
}

// isConfigurationFile reports whether Terraform reads a file by its name, except
// for variables files.
func isConfigurationFile(name string) bool {
	return name == lockFile || strings.HasSuffix(name, ".tf") || strings.HasSuffix(name, ".tf.json") || strings.HasSuffix(name, ".tftpl")
}

// isVariablesFile reports whether a file has values of variables, by its name.
func isVariablesFile(name string) bool {
	return strings.HasSuffix(name, ".tfvars") || strings.HasSuffix(name, ".tfvars.json")
}

// isAutoVariablesFile reports whether Terraform loads a variables file of the root
// module automatically, by its name.
func isAutoVariablesFile(name string) bool {
	return name == "terraform.tfvars" || name == "terraform.tfvars.json" ||
		strings.HasSuffix(name, ".auto.tfvars") || strings.HasSuffix(name, ".auto.tfvars.json")
}

// splitVariables splits a variables file into the part that a plan contains and the
// assignments of ephemeral variables, which no plan contains. The first is the
// whole content if the configuration has no ephemeral variable, and nil if the file
// sets no other.
func splitVariables(name string, data []byte, variables map[string]bool) (planned []byte, ephemeral []module.Assignment) {
	if !slices.Contains(slices.Collect(maps.Values(variables)), true) {
		return data, nil
	}
	assignments := module.Assignments(name, data)
	if len(assignments) == 0 {
		return data, nil
	}
	for _, a := range assignments {
		if variables[a.Name] {
			ephemeral = append(ephemeral, a)
			continue
		}
		planned = fmt.Appendf(planned, "%s = %s\n", a.Name, a.Source)
	}
	return planned, ephemeral
}

// localModules returns the folders of local modules that terraform init found,
// including those whose source is not a constant.
func (w *workDir) localModules(root string) []string {
	downloaded, _ := realName(w.file(terraform.DataDir)) // "" contains nothing
	var found []string
	for _, dir := range w.modules(root) {
		if dir, err := realName(dir); err == nil && !inside(downloaded, dir) {
			found = append(found, dir)
		}
	}
	return found
}

// modules returns the folders of all modules that terraform init found, by the names of
// the calls, as "a.b".
func (w *workDir) modules(root string) map[string]string {
	data, err := os.ReadFile(w.file(terraform.DataDir + "/modules/modules.json"))
	if err != nil {
		return nil // no modules
	}
	var list struct {
		Modules []struct{ Key, Dir string }
	}
	if json.Unmarshal(data, &list) != nil {
		return nil // unknown format: rely on the configuration
	}
	found := map[string]string{}
	for _, m := range list.Modules {
		dir := filepath.FromSlash(m.Dir)
		if inOut, ok := strings.CutPrefix(m.Dir, step.ContainerOut+"/"); ok {
			dir = w.file(inOut) // it was downloaded in a container
		}
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(root, dir)
		}
		found[m.Key] = dir
	}
	return found
}
