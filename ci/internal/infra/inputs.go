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

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/infra/binding"
	"github.com/slipway-cd/slipway/ci/internal/infra/module"
	"github.com/slipway-cd/slipway/ci/internal/infra/terraform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// readInputs returns the part of a binding that comes from the source tree, given
// the local modules that Terraform installed.
func (s Stage) readInputs(ctx context.Context, modules []string) (binding.Binding, error) {
	b := binding.Binding{Environment: s.Environment, Root: s.dir(), Workspace: s.workspace()}
	// Other changes in the tree, such as a plan directory, do not matter.
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

// workspace returns the workspace that Terraform uses: a new data directory has
// none selected.
func (s Stage) workspace() string {
	if name := s.variable("TF_WORKSPACE"); name != "" {
		return name
	}
	return "default"
}

// variable returns the value of an environment variable; the last one wins.
func (s Stage) variable(name string) string {
	value := ""
	for _, entry := range s.environ() {
		if rest, ok := strings.CutPrefix(entry, name+"="); ok {
			value = rest
		}
	}
	return value
}

// declaredVariables maps the root module's variables to whether each is ephemeral.
// Terraform ignores environment variables for any others.
func (s Stage) declaredVariables() (map[string]bool, error) {
	m, err := module.Read(s.folder(), s.folder())
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return m.Variables, nil
}

// variables returns the fingerprints of all variable values: in files that
// Terraform loads automatically, the environment and options. Ephemeral variables
// are left out: a plan does not contain their values, which may differ when it is
// applied.
func (s Stage) variables(p binding.PlanFile, o terraform.PlanOptions) (map[string]string, error) {
	found := map[string]string{}
	declared, err := s.declaredVariables()
	if err != nil {
		return nil, err
	}
	files, err := s.autoVariablesFiles()
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		data, err := os.ReadFile(filepath.Join(s.folder(), name))
		if err != nil {
			return nil, fmt.Errorf("reading the variables: %w", err)
		}
		if planned, _ := splitVariables(name, data, declared); planned != nil {
			found[name] = p.Fingerprint(planned)
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
			for found[key] != "" { // another file with the same name
				key += " again"
			}
			found[key] = p.Fingerprint(planned)
		}
	}
	return found, nil
}

// autoVariablesFiles returns the names of the variables files that Terraform loads
// automatically.
func (s Stage) autoVariablesFiles() (names []string, err error) {
	entries, err := os.ReadDir(s.folder())
	if err != nil {
		return nil, fmt.Errorf("reading the variables: %w", err)
	}
	for _, entry := range entries {
		if isAutoVariablesFile(entry.Name()) && !entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// checkInputs refuses values of the platform's inputs, other than in the environment's file,
// if the configuration takes them in its variable settings. Terraform would ignore them, at
// most with a warning, and plan the platform without them.
func (s Stage) checkInputs(o terraform.PlanOptions) error {
	declared, err := s.declaredVariables()
	if err != nil {
		return err
	}
	for _, name := range []string{"services", "settings"} {
		if _, ok := declared[name]; !ok {
			return nil
		}
	}
	sources := map[string]string{} // of values, by variable
	for _, entry := range s.environ() {
		key, _, _ := strings.Cut(entry, "=")
		if name, ok := strings.CutPrefix(key, "TF_VAR_"); ok {
			sources[name] = key
		}
	}
	files, err := s.autoVariablesFiles()
	if err != nil {
		return err
	}
	for n, file := range append(files, o.VarFiles...) {
		if n == len(files) && s.Environment != "" {
			continue // the environment's file comes first
		}
		data, err := os.ReadFile(s.fromRoot(file))
		if err != nil {
			return outcome.Usagef("--var-file: %w", err)
		}
		assignments := module.Assignments(file, data)
		if !filepath.IsAbs(file) {
			file = path.Join(s.dir(), file)
		}
		for _, a := range assignments {
			sources[a.Name] = file
		}
	}
	for _, assignment := range o.Vars {
		name, _, _ := strings.Cut(assignment, "=")
		sources[name] = flagVar + name
	}
	known := platform.KnownKeys(s.Tree.Dir)
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		if _, ok := declared[name]; !ok && slices.Contains(known, name) {
			return outcome.Usagef("%s: %s is no variable of %s: move it to settings in %[3]s/main.tf or to the environment's file, or use --var (in Dagger --vars) 'settings={%[2]s=…}'", sources[name], name, s.dir())
		}
	}
	return nil
}

// withoutSettings removes warnings about the keys of an environment's file that are no
// variables, if the configuration reads the file itself: then it declares "environment" and
// no other key.
func (s Stage) withoutSettings(warnings []terraform.Diagnostic, files []string) ([]terraform.Diagnostic, error) {
	if s.Environment == "" || len(files) == 0 {
		return warnings, nil
	}
	declared, err := s.declaredVariables()
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(s.fromRoot(files[0])) // the environment's comes first
	if err != nil {
		return nil, outcome.Usagef("--var-file: %w", err)
	}
	for _, a := range module.Assignments(files[0], data) {
		if _, ok := declared[a.Name]; ok != (a.Name == "environment") {
			return warnings, nil
		}
	}
	return slices.DeleteFunc(warnings, func(d terraform.Diagnostic) bool {
		return d.Summary == "Value for undeclared variable" && strings.Contains(d.Detail, files[0]) ||
			d.Summary == "Values for undeclared variables" && len(files) == 1
	}), nil
}

// Prefixes of the keys of variables that options set.
const (
	flagVar     = "--var "
	flagVarFile = "--var-file "
)

// withoutFlags removes the variables that options set: a saved plan contains them,
// so that apply does not need them again.
func withoutFlags(variables map[string]string) map[string]string {
	kept := maps.Clone(variables)
	maps.DeleteFunc(kept, func(name, _ string) bool {
		return strings.HasPrefix(name, flagVar) || strings.HasPrefix(name, flagVarFile)
	})
	return kept
}

// inRoot converts a path relative to the working directory to one relative to the
// root module, where Terraform runs, also in a container. A file outside of the
// tree keeps its absolute path.
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

// resolve validates the options and makes paths relative to the root module.
func (s Stage) resolve(o terraform.PlanOptions) (terraform.PlanOptions, error) {
	for _, assignment := range o.Vars {
		if name, _, ok := strings.Cut(assignment, "="); !ok || name == "" {
			return o, outcome.Usagef("invalid variable: want NAME=VALUE") // the argument may be a secret value
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

// resolveBackend is like resolve for the backend.
func (s Stage) resolveBackend() (terraform.Backend, error) {
	b := terraform.Backend{Config: slices.Clone(s.Backend.Config)}
	for i, value := range b.Config {
		if strings.Contains(value, "=") {
			continue
		}
		name, err := s.resolveFile(value)
		if err != nil {
			return b, outcome.Usagef("invalid --backend-config %q: want KEY=VALUE or a file (%w)", value, err)
		}
		b.Config[i] = name
	}
	return b, nil
}

func (s Stage) resolveFile(file string) (string, error) {
	if _, err := os.Stat(file); err != nil {
		return "", source.WithoutPath(err)
	}
	return s.inRoot(file)
}

// secretKey matches backend settings that may be secret.
var secretKey = regexp.MustCompile(`(?i)secret|token|password|access_key|credential|sas|private|client_|conn_str`)

// backend returns the backend that init connected to. Without a backend block,
// Terraform uses a local state file.
func (w *workDir) backend() (binding.Backend, error) {
	data, err := os.ReadFile(w.file(terraform.DataDir + "/terraform.tfstate"))
	if errors.Is(err, os.ErrNotExist) {
		return binding.Backend{Type: "local"}, nil
	}
	if err != nil {
		return binding.Backend{}, fmt.Errorf("reading the backend configuration: %w", err)
	}
	var state struct {
		Backend binding.Backend `json:"backend"`
	}
	if err := json.Unmarshal(data, &state); err != nil {
		return binding.Backend{}, fmt.Errorf("reading the backend configuration: %w", err)
	}
	maps.DeleteFunc(state.Backend.Config, func(key string, value any) bool { return secretKey.MatchString(key) || !isPlain(value) })
	return state.Backend, nil
}

// isPlain reports whether a setting is a single value without credentials.
func isPlain(value any) bool {
	switch v := value.(type) {
	case string:
		return !strings.Contains(v, "://") || !strings.Contains(v, "@")
	case bool, json.Number, float64:
		return true
	}
	return false
}
