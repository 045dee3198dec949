package supplychain

import (
	"fmt"
	"net/url"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dagger/slipway/internal/awsauth"
	"dagger/slipway/internal/images/image"
)

const (
	// provenanceType is SLSA's predicate. https://slsa.dev/spec/v1.0/provenance
	provenanceType = "https://slsa.dev/provenance/v1"
	// buildType names how Slipway builds, and with it the parameters' meaning:
	// "repository", "ref" and "commit" are the source, "service" is the entry of
	// the services file and "platforms" are what was built for.
	buildType = "https://slipway.dev/build/image/v1"
	// localBuilder is the builder of a build that no workflow runs.
	localBuilder = "https://slipway.dev/builder/local"
)

// Build is what is told about the build of an image. What is empty is left out.
type Build struct {
	// Repository is the source's address, without credentials.
	Repository string
	Ref        string // such as "refs/heads/main"
	Commit     string // full id
	// Bases are the images that this one is built on.
	Bases []image.Pin
	Run   Run
}

// Run is the run of a workflow that a build is part of, with the names of GitHub's
// identity tokens; its zero value is a build by hand.
type Run struct {
	Server     string `json:"-"`          // such as "https://github.com"
	Repository string `json:"repository"` // such as "owner/name"
	// Workflow is the workflow's file at its ref, such as
	// "owner/name/.github/workflows/deliver.yml@refs/heads/main".
	Workflow string `json:"workflow_ref"`
	ID       string `json:"run_id"`
	Attempt  string `json:"run_attempt"`
	Event    string `json:"event_name"` // such as "push"
	// RepositoryID and OwnerID tell a repository from another one that has its
	// name later.
	RepositoryID string `json:"repository_id"`
	OwnerID      string `json:"repository_owner_id"`
	Runner       string `json:"runner_environment"` // "github-hosted" or "self-hosted"
	Ref          string `json:"ref"`                // such as "refs/heads/main"
}

// RunFromEnv reads what GitHub Actions tells a job about itself; elsewhere it is the
// zero value. Nothing else of the environment is looked at.
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

// RunFromToken reads the same from the identity token of a job, for a process that
// does not see the job's environment. The token is not verified: it must come from
// GitHub itself.
// https://docs.github.com/en/actions/reference/security/oidc#oidc-token-claims
func RunFromToken(token string) (Run, error) {
	r := Run{Server: "https://github.com"}
	if err := awsauth.ParseClaims(token, &r); err != nil {
		return Run{}, fmt.Errorf("reading the job's identity: %w", err)
	}
	return r, nil
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
		return localBuilder
	}
	return r.Server + "/" + r.Workflow
}

func (r Run) invocation() string {
	if r.Source() == "" || r.ID == "" {
		return ""
	}
	return strings.TrimSuffix(r.Source()+"/actions/runs/"+r.ID+"/attempts/"+r.Attempt, "/attempts/")
}

// object is a JSON object.
type object map[string]any

// withoutEmpty is an object without what is empty.
func withoutEmpty(o object) object {
	for key, value := range o {
		if value == "" {
			delete(o, key)
		}
	}
	return o
}

// provenance is SLSA's predicate about the build. It has no secret in it, and no
// time: the same build of the same commit says the same.
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
	// Named as in GitHub's own. https://actions.github.io/buildtypes/workflow/v1
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

// statement is the provenance of the image that a digest stands for, as an in-toto
// statement. https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
func statement(service string, digest v1.Hash, provenance object) object {
	return object{
		"_type": "https://in-toto.io/Statement/v1", "predicateType": provenanceType, "predicate": provenance,
		"subject": []object{{"name": service, "digest": object{digest.Algorithm: digest.Hex}}},
	}
}

// baseDependency names a base image as a package URL.
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
