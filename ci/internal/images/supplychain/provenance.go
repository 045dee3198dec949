package supplychain

import (
	"encoding/json"
	"net/url"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const (
	statementType = "https://in-toto.io/Statement/v1"
	// provenanceType is SLSA's predicate. https://slsa.dev/spec/v1.0/provenance
	provenanceType = "https://slsa.dev/provenance/v1"
	// buildType names how Slipway builds, and with it the parameters' meaning:
	// "repository", "ref" and "commit" are the source, "service" is the entry of
	// the services file and "platforms" are what was built for.
	buildType = "https://slipway.dev/build/image/v1"
)

// Build is what is told about the build of one image. What is empty is left out.
type Build struct {
	// Repository is the source's address, without credentials.
	Repository string
	Ref        string // such as "refs/heads/main"
	Commit     string // full id
	Service    string
	Platforms  []string // such as "linux/amd64"
	// Bases are the images that this one is built on.
	Bases []Base
	Run   Run
}

// Base is an image that another one is built on.
type Base struct {
	Reference string // such as "docker.io/library/nginx:stable"
	Digest    string // such as "sha256:…"
}

type (
	descriptor struct {
		Name   string            `json:"name,omitempty"`
		URI    string            `json:"uri,omitempty"`
		Digest map[string]string `json:"digest,omitempty"`
	}
	statement struct {
		Type          string       `json:"_type"`
		Subject       []descriptor `json:"subject"`
		PredicateType string       `json:"predicateType"`
		Predicate     provenance   `json:"predicate"`
	}
	provenance struct {
		BuildDefinition struct {
			BuildType            string         `json:"buildType"`
			ExternalParameters   map[string]any `json:"externalParameters"`
			InternalParameters   map[string]any `json:"internalParameters,omitempty"`
			ResolvedDependencies []descriptor   `json:"resolvedDependencies,omitempty"`
		} `json:"buildDefinition"`
		RunDetails struct {
			Builder struct {
				ID string `json:"id"`
			} `json:"builder"`
			Metadata struct {
				InvocationID string `json:"invocationId,omitempty"`
			} `json:"metadata"`
		} `json:"runDetails"`
	}
)

// provenance is SLSA's predicate about the build. It has no secret in it, and no
// time: the same build of the same commit says the same.
func (b Build) provenance() provenance {
	var p provenance
	p.BuildDefinition.BuildType = buildType
	p.BuildDefinition.ExternalParameters = map[string]any{"service": b.Service, "platforms": b.Platforms}
	for key, value := range map[string]string{"repository": b.Repository, "ref": b.Ref, "commit": b.Commit} {
		if value != "" {
			p.BuildDefinition.ExternalParameters[key] = value
		}
	}
	p.BuildDefinition.InternalParameters = b.Run.parameters()
	if b.Commit != "" {
		source := descriptor{Name: "source", Digest: map[string]string{"gitCommit": b.Commit}}
		if b.Repository != "" {
			source.URI = strings.TrimSuffix("git+"+b.Repository+"@"+b.Ref, "@")
		}
		p.BuildDefinition.ResolvedDependencies = append(p.BuildDefinition.ResolvedDependencies, source)
	}
	for _, base := range b.Bases {
		p.BuildDefinition.ResolvedDependencies = append(p.BuildDefinition.ResolvedDependencies, base.descriptor())
	}
	p.RunDetails.Builder.ID, p.RunDetails.Metadata.InvocationID = b.Run.builder(), b.Run.invocation()
	return p
}

// statement is the provenance of the image that a digest stands for, as an in-toto
// statement. https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
func (b Build) statement(digest v1.Hash) ([]byte, error) {
	return json.Marshal(statement{
		Type: statementType, PredicateType: provenanceType, Predicate: b.provenance(),
		Subject: []descriptor{{Name: b.Service, Digest: map[string]string{digest.Algorithm: digest.Hex}}},
	})
}

// descriptor names a base image as a package URL.
// https://github.com/package-url/purl-spec/blob/main/PURL-TYPES.rst#oci
func (b Base) descriptor() descriptor {
	repository, tag := b.Reference, ""
	if colon := strings.LastIndex(repository, ":"); colon > strings.LastIndex(repository, "/") {
		repository, tag = repository[:colon], repository[colon+1:]
	}
	qualifiers := url.Values{"repository_url": {repository}}
	if tag != "" {
		qualifiers.Set("tag", tag)
	}
	d := descriptor{Name: "base", URI: "pkg:oci/" + path.Base(repository)}
	if algorithm, hex, ok := strings.Cut(b.Digest, ":"); ok {
		d.URI += "@" + b.Digest
		d.Digest = map[string]string{algorithm: hex}
	}
	d.URI += "?" + qualifiers.Encode()
	return d
}
