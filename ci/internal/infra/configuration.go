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

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/config/source"
	"dagger/slipway/internal/infra/binding"
	"dagger/slipway/internal/infra/module"
	"dagger/slipway/internal/infra/terraform"
)

const lockFile = ".terraform.lock.hcl"

// configuration is everything that decides what Terraform makes. Names are
// slash-separated and relative to the source tree; they may lead out of it.
type configuration struct {
	// files are the hashes of all files, by name.
	files map[string]string
	// modules are the folders of local modules outside of the root module's.
	modules []string
	// outside are modules and files that the repository does not have.
	outside []string
	// differs tells whether any file is not as the commit has it.
	differs bool
	// variables are the root module's, and whether each is ephemeral.
	variables map[string]bool
}

// local is what the root module reads of this machine besides its own folder:
// the folders of the modules that it calls, and those that these call; and files, and
// folders of files, that any of them reads. All are full names without symbolic
// links; what is not there is Terraform's to tell of.
type local struct {
	root           string
	modules, reads []string
	variables      map[string]bool
}

// local finds out what is local, from the root module and from seeds: modules that
// Terraform was seen to call.
func (s Stage) local(seeds []string) (local, error) {
	root, err := realName(s.folder())
	if err != nil {
		return local{}, fmt.Errorf("reading the configuration: %w", err)
	}
	l := local{root: root}
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

// inside tells whether a full name is dir or below it.
func inside(dir, name string) bool {
	relative, err := filepath.Rel(dir, name)
	return err == nil && filepath.IsLocal(relative)
}

// include are the parts of the source tree that Terraform reads, for a container.
func (s Stage) include() []string {
	top, _, _ := strings.Cut(s.dir(), "/") // a root module may call modules beside it
	parts := []string{top}
	tree, err := realName(s.Tree.Dir)
	l, localErr := s.local(nil)
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

// real is the full name of a file or folder, without symbolic links.
func realName(name string) (string, error) {
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return "", err
	}
	return filepath.Abs(name)
}

// configuration hashes every file that decides what Terraform makes: all that
// git knows in the folder, in those of local modules, and whatever Terraform reads
// there besides; and the files elsewhere that the configuration names. Variables in
// files that git does not know may be secrets, and are for [Stage.variables].
func (s Stage) configuration(ctx context.Context, seeds []string) (configuration, error) {
	tree, err := realName(s.Tree.Dir)
	if err != nil {
		return configuration{}, fmt.Errorf("reading the configuration: %w", err)
	}
	l, err := s.local(seeds)
	if err != nil {
		return configuration{}, err
	}
	c := configuration{files: map[string]string{}, variables: l.variables}
	top, err := source.Tree{Dir: tree}.TopLevel(ctx)
	if err != nil {
		return c, err
	}
	of := owners{tree: tree, top: top, known: map[string]string{}}
	names := map[string]bool{}
	if err := folder(ctx, names, source.Tree{Dir: tree}, s.dir(), true); err != nil {
		return c, err
	}
	for _, dir := range l.modules {
		name := of.name(dir)
		c.modules = append(c.modules, name)
		owner := of.owner(ctx, dir)
		if owner == "" {
			c.outside = append(c.outside, name)
		}
		if err := folder(ctx, names, source.Tree{Dir: tree}, name, owner != ""); err != nil {
			return c, err
		}
	}
	for _, read := range l.reads {
		info, err := os.Stat(read)
		outside := of.owner(ctx, filepath.Dir(read)) == ""
		switch {
		case err != nil, outside && info.IsDir():
		case info.IsDir():
			err = walk(tree, of.name(read), names, func(string) bool { return true })
		default:
			names[of.name(read)] = true
			if outside {
				c.outside = append(c.outside, of.name(read))
			}
		}
		if err != nil {
			return c, fmt.Errorf("listing what the configuration reads: %w", err)
		}
	}
	if _, err := os.Stat(filepath.Join(tree, filepath.FromSlash(platform.ServicesFile))); err == nil {
		names[platform.ServicesFile] = true
	}
	for name := range maps.Clone(names) { // what a link leads to decides, too
		full := filepath.Join(tree, filepath.FromSlash(name))
		if target, err := realName(full); err == nil && target != full {
			if info, err := os.Stat(target); err == nil && !info.IsDir() {
				names[of.name(target)] = true
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
	c.differs, err = source.Tree{Dir: tree}.Modified(ctx, slices.Sorted(maps.Keys(c.files)))
	slices.Sort(c.outside)
	c.outside = slices.Compact(c.outside)
	return c, err
}

// folder adds the files of a folder of the configuration to names: what git knows, if
// it is in a repository, and what Terraform reads.
func folder(ctx context.Context, names map[string]bool, tree source.Tree, dir string, tracked bool) error {
	if tracked {
		files, err := tree.Files(ctx, dir)
		if err != nil {
			return err
		}
		for _, name := range files {
			names[path.Join(dir, name)] = true
		}
	}
	counts := readByTerraform
	if !tracked {
		counts = func(string) bool { return true }
	}
	if err := walk(tree.Dir, dir, names, counts); err != nil {
		return fmt.Errorf("listing the configuration in %s: %w", dir, err)
	}
	return nil
}

// walk adds the files in dir, which is relative to tree, that count by their name.
func walk(tree, dir string, names map[string]bool, counts func(string) bool) error {
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

// hash hashes a file, or where a link that leads nowhere or to a folder points
// to. A folder, such as a submodule, has none. Of a file of variables the ephemeral
// ones do not count.
func (c configuration) hash(name string) (string, error) {
	data, err := os.ReadFile(name)
	if err == nil {
		if isVariables(name) {
			data, _ = apart(name, data, c.variables)
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

// owners tells which repository a folder is in.
type owners struct {
	tree, top string
	known     map[string]string
}

func (o owners) name(full string) string {
	relative, err := filepath.Rel(o.tree, full)
	if err != nil {
		return filepath.ToSlash(full) // on another drive
	}
	return filepath.ToSlash(relative)
}

// owner is the root of the repository that a folder is in: the tree's own, or one
// below that, as a submodule has it. It is "" for a folder outside.
func (o owners) owner(ctx context.Context, dir string) string {
	owner, ok := o.known[dir]
	if !ok {
		if top, err := (source.Tree{Dir: dir}).TopLevel(ctx); err == nil && inside(o.top, top) {
			owner = top
		}
		o.known[dir] = owner
	}
	return owner
}

// readByTerraform tells whether Terraform reads a file by its name, but for
// values of variables.
func readByTerraform(name string) bool {
	return name == lockFile || strings.HasSuffix(name, ".tf") || strings.HasSuffix(name, ".tf.json") || strings.HasSuffix(name, ".tftpl")
}

// isVariables tells whether a file has values of variables by its name.
func isVariables(name string) bool {
	return strings.HasSuffix(name, ".tfvars") || strings.HasSuffix(name, ".tfvars.json")
}

// isAutomatic tells whether Terraform reads variables from a file of the root
// module by its name.
func isAutomatic(name string) bool {
	return name == "terraform.tfvars" || name == "terraform.tfvars.json" ||
		strings.HasSuffix(name, ".auto.tfvars") || strings.HasSuffix(name, ".auto.tfvars.json")
}

// apart takes a file of variables apart: what a plan holds of it, and what sets
// ephemeral variables, which no plan holds. What it holds is the whole content if
// the configuration has no ephemeral variable, and nil if the file sets no other.
func apart(name string, data []byte, variables map[string]bool) (held []byte, ephemeral []module.Assignment) {
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
		held = fmt.Appendf(held, "%s = %s\n", a.Name, a.Source)
	}
	return held, ephemeral
}

// called are the folders of the local modules that Terraform found when it
// initialised the root module: also those whose source is no constant.
func (w *work) called(root string) []string {
	data, err := os.ReadFile(w.file(terraform.DataDir + "/modules/modules.json"))
	if err != nil {
		return nil // it calls none
	}
	var list struct {
		Modules []struct{ Dir string }
	}
	if json.Unmarshal(data, &list) != nil {
		return nil // of another form: what the configuration says has to do
	}
	downloaded, _ := realName(w.file(terraform.DataDir)) // "" has nothing in it
	var found []string
	for _, m := range list.Modules {
		dir := m.Dir
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(root, filepath.FromSlash(dir))
		}
		if dir, err := realName(dir); err == nil && !inside(downloaded, dir) {
			found = append(found, dir)
		}
	}
	return found
}
