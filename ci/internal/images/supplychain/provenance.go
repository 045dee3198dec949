package supplychain

import (
	"cmp"
	"fmt"
	"net/url"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
)

const (
	// provenanceType is SLSA's predicate type.
	// https://slsa.dev/spec/v1.0/provenance
	provenanceType = "https://slsa.dev/provenance/v1"
	// buildType identifies Slipway's builds and defines the meaning of the
	// parameters: "repository", "ref" and "commit" are the source, "service" is the
	// entry in the services file, "platforms" are the platforms of the image.
	buildType = "https://slipway.dev/build/image/v1"
	// localBuilder is the builder ID of a build outside of a workflow.
	localBuilder = "https://slipway.dev/builder/local"
)

// Build is the provenance of an image's build. Empty fields are omitted.
type Build struct {
	// Repository is the source's URL, without credentials.
	Repository string
	Ref        string // such as "refs/heads/main"
	Commit     string // full id
	// Bases are the base images.
	Bases []image.Pin
	Run   Run
}

// Run is a GitHub Actions workflow run, with the claim names of GitHub's OIDC
// tokens. The zero value is a local build.
type Run struct {
	Server     string `json:"-"`          // such as "https://github.com"
	Repository string `json:"repository"` // such as "owner/name"
	// Workflow is the workflow's file and ref, such as
	// "owner/name/.github/workflows/ci.yml@refs/heads/main".
	Workflow string `json:"workflow_ref"`
	// JobWorkflow is that of the workflow with the job, if Workflow called it: the name that
	// signatures have.
	JobWorkflow string `json:"job_workflow_ref"`
	ID          string `json:"run_id"`
	Attempt     string `json:"run_attempt"`
	Event       string `json:"event_name"` // such as "push"
	// RepositoryID and OwnerID distinguish a repository from a later one with the
	// same name.
	RepositoryID string `json:"repository_id"`
	OwnerID      string `json:"repository_owner_id"`
	Runner       string `json:"runner_environment"` // "github-hosted" or "self-hosted"
	Ref          string `json:"ref"`                // such as "refs/heads/main"
}

// RunFromEnv reads the variables that GitHub Actions sets for a job. Elsewhere it
// returns the zero value.
// https://docs.github.com/en/actions/reference/workflows-and-actions/variables
func RunFromEnv(getenv func(string) string) Run {
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

// RunFromToken reads the run from a job's OIDC token, for a process without the
// job's environment. It does not verify the token, which must come directly from
// GitHub.
// https://docs.github.com/en/actions/reference/security/oidc#oidc-token-claims
func RunFromToken(token string) (Run, error) {
	r := Run{Server: "https://github.com"}
	if err := awsauth.ParseClaims(token, &r); err != nil {
		return Run{}, fmt.Errorf("reading the job's identity: %w", err)
	}
	return r, nil
}

// Source returns the URL of the workflow's repository.
func (r Run) Source() string {
	if r.Server == "" || r.Repository == "" {
		return ""
	}
	return r.Server + "/" + r.Repository
}

// builder returns the builder ID, which is the workflow with the job.
func (r Run) builder() string {
	workflow := cmp.Or(r.JobWorkflow, r.Workflow)
	if r.Server == "" || workflow == "" {
		return localBuilder
	}
	return r.Server + "/" + workflow
}

// identity returns the identity that signs as the job, for [Trust].
func (r Run) identity() string {
	conditions := url.Values{}
	for key, value := range map[string]string{"repository": r.Repository, "ref": r.Ref} {
		if value != "" {
			conditions.Set(key, value)
		}
	}
	return strings.TrimSuffix(r.builder()+"?"+conditions.Encode(), "?")
}

func (r Run) invocation() string {
	if r.Source() == "" || r.ID == "" {
		return ""
	}
	return strings.TrimSuffix(r.Source()+"/actions/runs/"+r.ID+"/attempts/"+r.Attempt, "/attempts/")
}

// object is a JSON object.
type object map[string]any

// withoutEmpty removes empty values.
func withoutEmpty(o object) object {
	for key, value := range o {
		if value == "" {
			delete(o, key)
		}
	}
	return o
}

// provenance returns SLSA's predicate about the build. It contains neither secrets
// nor times: the same build of a commit gives the same content.
func (b Build) provenance(service string, platforms []string) object {
	dependencies := []object{}
	if b.Commit != "" {
		source := object{"name": "source", "digest": object{"gitCommit": b.Commit}}
		if b.Repository != "" {
			source["uri"] = strings.TrimSuffix("git+"+b.Repository+"@"+b.Ref, "@")
		}
		dependencies = append(dependencies, source)
	}
	for _, base := range b.Bases {
		dependencies = append(dependencies, baseDependency(base))
	}
	definition := object{
		"buildType":            buildType,
		"externalParameters":   withoutEmpty(object{"service": service, "platforms": platforms, "repository": b.Repository, "ref": b.Ref, "commit": b.Commit}),
		"resolvedDependencies": dependencies,
	}
	// The same names as in GitHub's own.
	// https://actions.github.io/buildtypes/workflow/v1
	github := withoutEmpty(object{
		"event_name": b.Run.Event, "repository_id": b.Run.RepositoryID, "repository_owner_id": b.Run.OwnerID, "runner_environment": b.Run.Runner,
	})
	if len(github) > 0 {
		definition["internalParameters"] = object{"github": github}
	}
	return object{
		"buildDefinition": definition,
		"runDetails":      object{"builder": object{"id": b.Run.builder()}, "metadata": withoutEmpty(object{"invocationId": b.Run.invocation()})},
	}
}

// statement returns the provenance of an image as an in-toto statement.
// https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
func statement(service string, digest v1.Hash, provenance object) object {
	return object{
		"_type": "https://in-toto.io/Statement/v1", "predicateType": provenanceType, "predicate": provenance,
		"subject": []object{{"name": service, "digest": object{digest.Algorithm: digest.Hex}}},
	}
}

// baseDependency returns a base image as a dependency with a package URL.
// https://github.com/package-url/purl-spec/blob/main/PURL-TYPES.rst#oci
func baseDependency(base image.Pin) object {
	repository, tag := base.Reference, ""
	if colon := strings.LastIndex(repository, ":"); colon > strings.LastIndex(repository, "/") {
		repository, tag = repository[:colon], repository[colon+1:]
	}
	qualifiers := url.Values{"repository_url": {repository}}
	if tag != "" {
		qualifiers.Set("tag", tag)
	}
	o, at := object{"name": "base"}, ""
	if algorithm, hex, ok := strings.Cut(base.Digest, ":"); ok {
		o["digest"], at = object{algorithm: hex}, "@"+base.Digest
	}
	o["uri"] = "pkg:oci/" + path.Base(repository) + at + "?" + qualifiers.Encode()
	return o
}
