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

	"dagger/slipway/internal/config/source"
	"dagger/slipway/internal/infra/binding"
	"dagger/slipway/internal/infra/module"
	"dagger/slipway/internal/infra/terraform"
	"dagger/slipway/internal/report/outcome"
)

// readInputs fills in what of a binding can be read from the tree alone, and from which
// modules Terraform was seen to call.
func (s Stage) readInputs(ctx context.Context, modules []string) (binding.Binding, error) {
	b := binding.Binding{Root: s.dir(), Workspace: s.workspace()}
	// What else is changed in the tree, a plan directory for one, is nothing
	// to Terraform.
	revision, err := source.Tree{Dir: s.folder()}.Revision(ctx)
	if err != nil {
		return b, err
	}
	c, err := s.configuration(ctx, modules)
	if err != nil {
		return b, err
	}
	b.Commit, b.Dirty = revision.SHA, revision.Dirty || c.dirty
	b.Files, b.Modules, b.Outside = c.files, c.modules, c.outside
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

// declaredVariables are the variables of the root module, and whether each is ephemeral. An
// environment variable for any other one is nothing to Terraform.
func (s Stage) declaredVariables() (map[string]bool, error) {
	m, err := module.Read(s.folder(), s.folder())
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return m.Variables, nil
}

// variables are the fingerprints of everything that sets a variable: files
// that Terraform reads by itself, the environment, and options. Ephemeral ones are
// not among them: a plan does not hold their values, which may be others when it is
// applied.
func (s Stage) variables(p binding.PlanFile, o terraform.PlanOptions) (map[string]string, error) {
	found := map[string]string{}
	declared, err := s.declaredVariables()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(s.folder())
	if err != nil {
		return nil, fmt.Errorf("reading the variables: %w", err)
	}
	for _, entry := range entries {
		if !isAutoVariablesFile(entry.Name()) || entry.IsDir() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(s.folder(), entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading the variables: %w", err)
		}
		if planned, _ := splitVariables(entry.Name(), data, declared); planned != nil {
			found[entry.Name()] = p.Fingerprint(planned)
		}
	}
	for name, ephemeral := range declared {
		key := "TF_VAR_" + name
		if value := s.variable(key); value != "" && !ephemeral {
			found[key] = p.Fingerprint([]byte(value))
		}
	}
	for _, assignment := range o.Vars {
		if name, _, _ := strings.Cut(assignment, "="); !declared[name] {
			found[flagVar+name] = p.Fingerprint([]byte(assignment))
		}
	}
	for _, file := range o.VarFiles {
		data, err := os.ReadFile(s.fromRoot(file))
		if err != nil {
			return nil, outcome.Usagef("--var-file: %w", err)
		}
		if planned, _ := splitVariables(file, data, declared); planned != nil {
			key := flagVarFile + filepath.Base(file)
			for found[key] != "" { // another file of the same name
				key += " again"
			}
			found[key] = p.Fingerprint(planned)
		}
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
		name, err := s.resolveFile(file)
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
		name, err := s.resolveFile(value)
		if err != nil {
			return b, outcome.Usagef("--backend-config %s: write KEY=VALUE, or name a file (%w)", value, err)
		}
		b.Config[i] = name
	}
	return b, nil
}

func (s Stage) resolveFile(file string) (string, error) {
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
func (w *workDir) backend() (binding.Backend, error) {
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
	maps.DeleteFunc(state.Backend.Config, func(key string, value any) bool { return secretKey.MatchString(key) || !isPlain(value) })
	return state.Backend, nil
}

// isPlain tells whether a setting is one value without credentials in it.
func isPlain(value any) bool {
	switch v := value.(type) {
	case string:
		return !strings.Contains(v, "://") || !strings.Contains(v, "@")
	case bool, json.Number, float64:
		return true
	}
	return false
}
