package changes

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
)

// staging is the environment that a push releases to if the tree has it and no environment
// has promote_from; [platform.Production] then gets what it runs by promotion.
const staging = "staging"

// Environments are the environments of a tree for the jobs of a workflow.
type Environments struct {
	// Matrix has an entry for each environment, for the matrix of a job.
	Matrix []MatrixEntry
	// Release is the environment that a push releases to: the first one that others are
	// promoted from; without promote_from staging, else production, else the only one.
	// Empty if there is none of these.
	Release string
	// Promote are the environments that what Release runs is promoted to.
	Promote []Promotion
}

// Promotion is an environment in the matrix of the job that promotes to it.
type Promotion struct {
	Environment string `json:"environment"`
	From        string `json:"from"`
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
	for _, one := range all {
		if name == "" || name == one.Name {
			role := "AWS_PLAN_ROLE_" + strings.ToUpper(strings.ReplaceAll(one.Name, "-", "_"))
			e.Matrix = append(e.Matrix, MatrixEntry{one.Name, role})
		}
	}
	if e.promoteFrom(all); e.Release != "" {
		return e
	}
	names := platform.EnvironmentNames(all)
	production := slices.Contains(names, platform.Production)
	switch {
	case slices.Contains(names, staging):
		e.Release = staging
		if production {
			e.Promote = []Promotion{{platform.Production, staging}}
		}
	case production:
		e.Release = platform.Production
	case len(names) == 1:
		e.Release = names[0]
	}
	return e
}

// promoteFrom sets Release and Promote by promote_from of the environments.
func (e *Environments) promoteFrom(all []platform.Environment) {
	for _, first := range all {
		for _, next := range all {
			if first.PromoteFrom == "" && next.PromoteFrom == first.Name && (e.Release == "" || e.Release == first.Name) {
				e.Release = first.Name
				e.Promote = append(e.Promote, Promotion{next.Name, first.Name})
			}
		}
	}
}

// Outputs returns the lines that a GitHub Actions step appends to GITHUB_OUTPUT.
func (e Environments) Outputs() (string, error) {
	matrix, err := json.Marshal(e.Matrix)
	if err != nil || len(e.Promote) == 0 {
		return fmt.Sprintf("environments=%s\nrelease=%s\npromote=\n", matrix, e.Release), err
	}
	promote, err := json.Marshal(e.Promote)
	return fmt.Sprintf("environments=%s\nrelease=%s\npromote=%s\n", matrix, e.Release, promote), err
}
