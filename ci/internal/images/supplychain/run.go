package supplychain

import (
	"fmt"

	"dagger/slipway/internal/awsauth"
)

// Run is the run of a workflow that a build is part of; its zero value is a build
// by hand.
type Run struct {
	Server     string // such as "https://github.com"
	Repository string // such as "owner/name"
	// Workflow is the workflow's file at its ref, such as
	// "owner/name/.github/workflows/deliver.yml@refs/heads/main".
	Workflow    string
	ID, Attempt string
	Event       string // such as "push"
	// RepositoryID and OwnerID tell a repository from another one that has its
	// name later.
	RepositoryID, OwnerID string
	// Runner is "github-hosted" or "self-hosted".
	Runner string
	Ref    string // such as "refs/heads/main"
}

// byHand is the builder of a build that no workflow runs.
const byHand = "https://slipway.dev/builder/local"

// RunOf reads what GitHub Actions tells a job about itself; elsewhere it is the
// zero value. Nothing else of the environment is looked at.
// https://docs.github.com/en/actions/reference/workflows-and-actions/variables
func RunOf(getenv func(string) string) Run {
	if getenv("GITHUB_ACTIONS") != "true" {
		return Run{}
	}
	return Run{
		Server: getenv("GITHUB_SERVER_URL"), Repository: getenv("GITHUB_REPOSITORY"), Workflow: getenv("GITHUB_WORKFLOW_REF"),
		ID: getenv("GITHUB_RUN_ID"), Attempt: getenv("GITHUB_RUN_ATTEMPT"), Event: getenv("GITHUB_EVENT_NAME"),
		RepositoryID: getenv("GITHUB_REPOSITORY_ID"), OwnerID: getenv("GITHUB_REPOSITORY_OWNER_ID"),
		Runner: getenv("RUNNER_ENVIRONMENT"), Ref: getenv("GITHUB_REF"),
	}
}

// RunOfToken reads the same from the identity token of a job, for a process that
// does not see the job's environment. The token is not verified: it must come from
// GitHub itself.
// https://docs.github.com/en/actions/reference/security/oidc#oidc-token-claims
func RunOfToken(token string) (Run, error) {
	var claims struct {
		Repository   string `json:"repository"`
		Workflow     string `json:"workflow_ref"`
		ID           string `json:"run_id"`
		Attempt      string `json:"run_attempt"`
		Event        string `json:"event_name"`
		RepositoryID string `json:"repository_id"`
		OwnerID      string `json:"repository_owner_id"`
		Runner       string `json:"runner_environment"`
		Ref          string `json:"ref"`
	}
	if err := awsauth.Claims(token, &claims); err != nil {
		return Run{}, fmt.Errorf("reading the job's identity: %w", err)
	}
	return Run{
		Server: "https://github.com", Repository: claims.Repository, Workflow: claims.Workflow, ID: claims.ID, Attempt: claims.Attempt,
		Event: claims.Event, RepositoryID: claims.RepositoryID, OwnerID: claims.OwnerID, Runner: claims.Runner, Ref: claims.Ref,
	}, nil
}

// Source is the address of the repository that the workflow is of.
func (r Run) Source() string {
	if r.Server == "" || r.Repository == "" {
		return ""
	}
	return r.Server + "/" + r.Repository
}

// builder is the workflow: whoever trusts it trusts what it builds.
func (r Run) builder() string {
	if r.Server == "" || r.Workflow == "" {
		return byHand
	}
	return r.Server + "/" + r.Workflow
}

func (r Run) invocation() string {
	if r.Source() == "" || r.ID == "" {
		return ""
	}
	url := r.Source() + "/actions/runs/" + r.ID
	if r.Attempt != "" {
		url += "/attempts/" + r.Attempt
	}
	return url
}

// parameters are named as in GitHub's own provenance.
// https://actions.github.io/buildtypes/workflow/v1
func (r Run) parameters() map[string]any {
	github := map[string]any{}
	for key, value := range map[string]string{
		"event_name": r.Event, "repository_id": r.RepositoryID, "repository_owner_id": r.OwnerID, "runner_environment": r.Runner,
	} {
		if value != "" {
			github[key] = value
		}
	}
	if len(github) == 0 {
		return nil
	}
	return map[string]any{"github": github}
}
