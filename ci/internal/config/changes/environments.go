package changes

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"dagger/slipway/internal/config/platform"
)

// staging is the environment that a push releases to if the tree has it;
// [platform.Production] then gets what it runs by promotion.
const staging = "staging"

// Environments are the environments of a tree for the jobs of a workflow.
type Environments struct {
	// Matrix has an entry for each environment, for the matrix of a job.
	Matrix []MatrixEntry
	// Release is the environment that a push releases to: staging, else production, else
	// the only one; empty if there is none of these.
	Release string
	// Promote is the environment that what Release runs is promoted to, or empty.
	Promote string
}

// MatrixEntry is an environment in the matrix of a job.
type MatrixEntry struct {
	Environment string `json:"environment"`
	// PlanRole is the variable of the repository with the ARN of the environment's plan
	// role: a plan of a pull request is in no GitHub environment, which could have
	// variables.
	PlanRole string `json:"plan_role"`
}

// ForWorkflow returns the environments for the jobs of a workflow. With a name, the matrix
// has only that environment.
func ForWorkflow(all []platform.Environment, name string) Environments {
	var e Environments
	var names []string
	for _, one := range all {
		names = append(names, one.Name)
		if name == "" || name == one.Name {
			role := "AWS_PLAN_ROLE_" + strings.ToUpper(strings.ReplaceAll(one.Name, "-", "_"))
			e.Matrix = append(e.Matrix, MatrixEntry{one.Name, role})
		}
	}
	production := slices.Contains(names, platform.Production)
	switch {
	case slices.Contains(names, staging):
		e.Release = staging
		if production {
			e.Promote = platform.Production
		}
	case production:
		e.Release = platform.Production
	case len(names) == 1:
		e.Release = names[0]
	}
	return e
}

// Outputs returns the lines that a GitHub Actions step appends to GITHUB_OUTPUT.
func (e Environments) Outputs() (string, error) {
	matrix, err := json.Marshal(e.Matrix)
	return fmt.Sprintf("environments=%s\nrelease=%s\npromote=%s\n", matrix, e.Release, e.Promote), err
}
