package infra

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"dagger/slipway/internal/infra/binding"
	"dagger/slipway/internal/infra/terraform"
	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/platform"
	"dagger/slipway/internal/source"
)

const lockFile = ".terraform.lock.hcl"

// facts fills in what of a binding can be read from the tree alone.
func (s Stage) facts(ctx context.Context) (binding.Binding, error) {
	b := binding.Binding{Root: s.dir(), Workspace: s.workspace()}
	// What else is changed in the tree, a plan directory for one, is nothing
	// to Terraform.
	revision, err := source.Tree{Dir: s.folder()}.Revision(ctx)
	if err != nil {
		return b, err
	}
	b.Commit, b.Dirty = revision.SHA, revision.Dirty
	if b.Files, err = configuration(ctx, s.Tree, s.dir()); err != nil {
		return b, err
	}
	b.ProviderLockHash = b.Files[path.Join(s.dir(), lockFile)]
	return b, nil
}

// workspace is the one that Terraform takes: a run's own data directory has
// none selected.
func (s Stage) workspace() string {
	if name := s.variable("TF_WORKSPACE"); name != "" {
		return name
	}
	return "default"
}

// variable is the value of an environment variable; the last one counts.
func (s Stage) variable(name string) string {
	value := ""
	for _, entry := range s.environ() {
		if rest, ok := strings.CutPrefix(entry, name+"="); ok {
			value = rest
		}
	}
	return value
}

// configuration hashes every file that decides what Terraform makes: all that
// git knows in the folder, and whatever Terraform reads there besides.
// Variables in files that git does not know may be secrets, and are for
// [Stage.variables].
func configuration(ctx context.Context, tree source.Tree, dir string) (map[string]string, error) {
	tracked, err := tree.Files(ctx, dir)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, name := range tracked {
		names[path.Join(dir, name)] = true
	}
	root := filepath.Join(tree.Dir, filepath.FromSlash(dir))
	err = filepath.WalkDir(root, func(file string, entry os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && file != root && strings.HasPrefix(entry.Name(), "."):
			return filepath.SkipDir
		case entry.IsDir() || !readByTerraform(entry.Name()):
			return nil
		}
		relative, err := filepath.Rel(tree.Dir, file)
		if err == nil {
			names[filepath.ToSlash(relative)] = true
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing the configuration in %s: %w", dir, err)
	}
	if _, err := os.Stat(filepath.Join(tree.Dir, filepath.FromSlash(platform.ServicesFile))); err == nil {
		names[platform.ServicesFile] = true
	}
	hashes := map[string]string{}
	for name := range names {
		hash, err := hashEntry(filepath.Join(tree.Dir, filepath.FromSlash(name)))
		if err != nil {
			return nil, fmt.Errorf("hashing the configuration: %w", err)
		}
		hashes[name] = hash
	}
	return hashes, nil
}

// hashEntry hashes a file, or where a link that leads nowhere or to a folder
// points to.
func hashEntry(name string) (string, error) {
	hash, err := binding.HashFile(name)
	if err == nil {
		return hash, nil
	}
	target, linkErr := os.Readlink(name)
	if linkErr != nil {
		return "", err
	}
	return binding.Hash([]byte(target)), nil
}

// readByTerraform tells whether Terraform reads a file by its name, but for
// values of variables.
func readByTerraform(name string) bool {
	return name == lockFile || strings.HasSuffix(name, ".tf") || strings.HasSuffix(name, ".tf.json") || strings.HasSuffix(name, ".tftpl")
}

// isAutomatic tells whether Terraform reads variables from a file of the root
// module by its name.
func isAutomatic(name string) bool {
	return name == "terraform.tfvars" || name == "terraform.tfvars.json" ||
		strings.HasSuffix(name, ".auto.tfvars") || strings.HasSuffix(name, ".auto.tfvars.json")
}

// declaration finds the variables that a file of the root module declares.
var declaration = regexp.MustCompile(`(?m)^[ \t]*variable[ \t]+"?([A-Za-z_][\w-]*)"?[ \t]*\{`)

// declared are the variables of the root module. An environment variable for
// any other one is nothing to Terraform.
func (s Stage) declared() (map[string]bool, error) {
	entries, err := os.ReadDir(s.folder())
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	names := map[string]bool{}
	for _, entry := range entries {
		inJSON := strings.HasSuffix(entry.Name(), ".tf.json")
		if !inJSON && !strings.HasSuffix(entry.Name(), ".tf") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(s.folder(), entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading the configuration: %w", err)
		}
		for _, match := range declaration.FindAllSubmatch(data, -1) {
			names[string(match[1])] = true
		}
		var module struct {
			Variable map[string]any `json:"variable"`
		}
		if inJSON && json.Unmarshal(data, &module) == nil { // what it cannot read, Terraform tells
			for name := range module.Variable {
				names[name] = true
			}
		}
	}
	return names, nil
}

// variables are the fingerprints of everything that sets a variable: files
// that Terraform reads by itself, the environment, and options.
func (s Stage) variables(p binding.PlanFile, o terraform.PlanOptions) (map[string]string, error) {
	found := map[string]string{}
	entries, err := os.ReadDir(s.folder())
	if err != nil {
		return nil, fmt.Errorf("reading the variables: %w", err)
	}
	for _, entry := range entries {
		if !isAutomatic(entry.Name()) || entry.IsDir() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(s.folder(), entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading the variables: %w", err)
		}
		found[entry.Name()] = p.Fingerprint(data)
	}
	declared, err := s.declared()
	if err != nil {
		return nil, err
	}
	for name := range declared {
		key := "TF_VAR_" + name
		if value := s.variable(key); value != "" {
			found[key] = p.Fingerprint([]byte(value))
		}
	}
	for _, assignment := range o.Vars {
		name, _, _ := strings.Cut(assignment, "=")
		found[flagVar+name] = p.Fingerprint([]byte(assignment))
	}
	for _, file := range o.VarFiles {
		data, err := os.ReadFile(s.fromRoot(file))
		if err != nil {
			return nil, outcome.Usagef("--var-file: %w", err)
		}
		found[flagVarFile+filepath.Base(file)] = p.Fingerprint(data)
	}
	return found, nil
}

// What the names of variables that options set begin with.
const (
	flagVar     = "--var "
	flagVarFile = "--var-file "
)

// withoutFlags drops what options set: a saved plan has it in itself, and who
// applies it need not say it again.
func withoutFlags(variables map[string]string) map[string]string {
	kept := maps.Clone(variables)
	maps.DeleteFunc(kept, func(name, _ string) bool {
		return strings.HasPrefix(name, flagVar) || strings.HasPrefix(name, flagVarFile)
	})
	return kept
}

// inRoot makes the name of a file, which is relative to the working directory,
// relative to the root module, where Terraform runs, also in a container. A
// file outside the tree keeps its full name.
func (s Stage) inRoot(file string) (string, error) {
	full, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	tree, err := filepath.Abs(s.Tree.Dir)
	if err != nil {
		return "", err
	}
	inTree, err := filepath.Rel(tree, full)
	if err != nil {
		return "", err
	}
	if !filepath.IsLocal(inTree) {
		return full, nil
	}
	relative, err := filepath.Rel(filepath.Join(tree, filepath.FromSlash(s.dir())), full)
	return filepath.ToSlash(relative), err
}

// fromRoot is the inverse of inRoot.
func (s Stage) fromRoot(file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(s.folder(), filepath.FromSlash(file))
}

// resolve checks what options say and makes names of files relative to the
// root module.
func (s Stage) resolve(o terraform.PlanOptions) (terraform.PlanOptions, error) {
	for _, assignment := range o.Vars {
		if name, _, ok := strings.Cut(assignment, "="); !ok || name == "" {
			return o, outcome.Usagef("--var: write NAME=VALUE") // and repeat nothing: it may be a value
		}
	}
	o.VarFiles = slices.Clone(o.VarFiles)
	for i, file := range o.VarFiles {
		name, err := s.existing(file)
		if err != nil {
			return o, outcome.Usagef("--var-file %s: %w", file, err)
		}
		o.VarFiles[i] = name
	}
	return o, nil
}

// resolveBackend is resolve for the backend.
func (s Stage) resolveBackend() (terraform.Backend, error) {
	b := terraform.Backend{Config: slices.Clone(s.Backend.Config)}
	for i, value := range b.Config {
		if strings.Contains(value, "=") {
			continue
		}
		name, err := s.existing(value)
		if err != nil {
			return b, outcome.Usagef("--backend-config %s: write KEY=VALUE, or name a file (%w)", value, err)
		}
		b.Config[i] = name
	}
	return b, nil
}

func (s Stage) existing(file string) (string, error) {
	if _, err := os.Stat(file); err != nil {
		var bare *os.PathError
		if errors.As(err, &bare) {
			err = bare.Err
		}
		return "", err
	}
	return s.inRoot(file)
}

// secretKey finds settings of a backend that may be secret.
var secretKey = regexp.MustCompile(`(?i)secret|token|password|access_key|credential|sas|private|client_|conn_str`)

// backend reads which backend init connected to. A configuration without one
// keeps its state in a file.
func (w *work) backend() (binding.Backend, error) {
	data, err := os.ReadFile(w.file(terraform.DataDir + "/terraform.tfstate"))
	if errors.Is(err, os.ErrNotExist) {
		return binding.Backend{Type: "local"}, nil
	}
	if err != nil {
		return binding.Backend{}, fmt.Errorf("reading which backend is used: %w", err)
	}
	var state struct {
		Backend binding.Backend `json:"backend"`
	}
	if err := json.Unmarshal(data, &state); err != nil {
		return binding.Backend{}, fmt.Errorf("reading which backend is used: %w", err)
	}
	maps.DeleteFunc(state.Backend.Config, func(key string, value any) bool { return secretKey.MatchString(key) || !plain(value) })
	return state.Backend, nil
}

// plain tells whether a setting is one value without credentials in it.
func plain(value any) bool {
	switch v := value.(type) {
	case string:
		return !strings.Contains(v, "://") || !strings.Contains(v, "@")
	case bool, json.Number, float64:
		return true
	}
	return false
}
