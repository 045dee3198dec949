package infra

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/infra/module"
	"github.com/slipway-cd/slipway/ci/internal/infra/terraform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// ephemeralArguments returns the ephemeral variables for an apply, since a plan
// does not contain them: those of vars, and new files in w with only the ephemeral
// variables of the variables files, because Terraform accepts no others with a
// saved plan. Terraform itself reads those in the environment and in *.auto.tfvars.
func (s Stage) ephemeralArguments(w *workDir, o terraform.PlanOptions) (vars, files []string, err error) {
	declared, err := s.declaredVariables()
	if err != nil {
		return nil, nil, err
	}
	for _, assignment := range o.Vars {
		if name, _, _ := strings.Cut(assignment, "="); declared[name] {
			vars = append(vars, assignment)
		}
	}
	for i, file := range o.VarFiles {
		assignments, err := s.ephemeralAssignments(file, declared)
		if err != nil {
			return nil, nil, err
		}
		if len(assignments) == 0 {
			continue
		}
		name := fmt.Sprintf("ephemeral-%d.tfvars", i)
		var content bytes.Buffer
		for _, a := range assignments {
			fmt.Fprintf(&content, "%s = %s\n", a.Name, a.Source)
		}
		if strings.HasSuffix(file, ".json") {
			name += ".json"
			content.Reset()
			for i, a := range assignments {
				fmt.Fprintf(&content, "%c%q: %s", "{,"[min(i, 1)], a.Name, a.Source)
			}
			content.WriteByte('}')
		}
		if err := os.WriteFile(w.file(name), content.Bytes(), 0o600); err != nil {
			return nil, nil, fmt.Errorf("writing the variables for Terraform: %w", err)
		}
		files = append(files, name)
	}
	return vars, files, nil
}

// ephemeralAssignments returns a file's assignments of ephemeral variables.
func (s Stage) ephemeralAssignments(file string, declared map[string]bool) ([]module.Assignment, error) {
	data, err := os.ReadFile(s.fromRoot(file))
	if err != nil {
		return nil, outcome.Usagef("--var-file: %w", err)
	}
	_, assignments := splitVariables(file, data, declared)
	return assignments, nil
}

// ephemeralValues returns the strings in the values of ephemeral variables: a
// warning may contain one, and the plan does not mark them as sensitive.
func (s Stage) ephemeralValues(vars, varFiles []string) ([]string, error) {
	declared, err := s.declaredVariables()
	if err != nil {
		return nil, err
	}
	var values []string
	for _, assignment := range vars {
		if name, value, _ := strings.Cut(assignment, "="); declared[name] {
			values = append(values, value)
		}
	}
	for name, ephemeral := range declared {
		if ephemeral {
			values = append(values, s.variable("TF_VAR_"+name))
		}
	}
	files, err := s.autoVariablesFiles()
	if err != nil {
		return nil, err
	}
	for _, file := range append(files, varFiles...) {
		assignments, err := s.ephemeralAssignments(file, declared)
		if err != nil {
			return nil, err
		}
		for _, a := range assignments {
			values = append(values, a.Strings...)
		}
	}
	return values, nil
}
