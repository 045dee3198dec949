// Package provenance says where an image comes from: an in-toto statement with
// SLSA's predicate about builds. It has no secret in it, and no time: the same
// build of the same commit says the same.
package provenance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/package-url/packageurl-go"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	// MediaType is that of in-toto statements.
	// https://github.com/in-toto/attestation/blob/main/spec/v1/envelope.md
	MediaType = "application/vnd.in-toto+json"
	// PredicateType is SLSA's. https://slsa.dev/spec/v1.0/provenance
	PredicateType = "https://slsa.dev/provenance/v1"
	// BuildType names how Slipway builds, and with it the parameters' meaning:
	// "repository", "ref" and "commit" are the source, "service" is the entry of
	// the services file and "platforms" are what was built for.
	BuildType = "https://slipway.dev/build/image/v1"
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
	// Toolchains are the versions of Go in it, such as "go1.26.1".
	Toolchains []string
	Run        Run
	// Byproducts are documents about the image that came out of the same build.
	Byproducts []Byproduct
}

// Base is an image that another one is built on.
type Base struct {
	Reference string // such as "docker.io/library/nginx:stable"
	Digest    string // such as "sha256:…"
}

// Byproduct is a document that came out of a build beside the image.
type Byproduct struct {
	Name, MediaType string
	Digest          v1.Hash
}

// Statement is the provenance of the image that a name and a digest stand for.
func (b Build) Statement(name string, digest v1.Hash) ([]byte, error) {
	parameters := map[string]any{"service": b.Service}
	for key, value := range map[string]string{"repository": b.Repository, "ref": b.Ref, "commit": b.Commit} {
		if value != "" {
			parameters[key] = value
		}
	}
	platforms := make([]any, len(b.Platforms))
	for n, platform := range b.Platforms {
		platforms[n] = platform
	}
	parameters["platforms"] = platforms
	external, err := structpb.NewStruct(parameters)
	if err != nil {
		return nil, fmt.Errorf("writing the provenance of %s: %w", name, err)
	}
	internal, err := structpb.NewStruct(b.Run.parameters())
	if err != nil {
		return nil, fmt.Errorf("writing the provenance of %s: %w", name, err)
	}
	predicate := &slsa.Provenance{
		BuildDefinition: &slsa.BuildDefinition{
			BuildType: BuildType, ExternalParameters: external, InternalParameters: internal, ResolvedDependencies: b.dependencies(),
		},
		RunDetails: &slsa.RunDetails{
			Builder: &slsa.Builder{Id: b.Run.builder()}, Metadata: &slsa.BuildMetadata{InvocationId: b.Run.invocation()},
			Byproducts: b.byproducts(),
		},
	}
	if err := predicate.Validate(); err != nil {
		return nil, fmt.Errorf("writing the provenance of %s: %w", name, err)
	}
	data, err := protojson.Marshal(predicate)
	if err != nil {
		return nil, fmt.Errorf("writing the provenance of %s: %w", name, err)
	}
	return Statement(name, digest, PredicateType, data)
}

// Statement is an in-toto statement: a predicate, as JSON, about the image that a
// name and a digest stand for.
func Statement(name string, digest v1.Hash, predicateType string, predicate []byte) ([]byte, error) {
	content := &structpb.Struct{}
	if err := protojson.Unmarshal(predicate, content); err != nil {
		return nil, fmt.Errorf("writing a statement about %s: %w", name, err)
	}
	statement := &intoto.Statement{
		Type: intoto.StatementTypeUri, PredicateType: predicateType, Predicate: content,
		Subject: []*intoto.ResourceDescriptor{{Name: name, Digest: map[string]string{digest.Algorithm: digest.Hex}}},
	}
	if err := statement.Validate(); err != nil {
		return nil, fmt.Errorf("writing a statement about %s: %w", name, err)
	}
	data, err := protojson.Marshal(statement)
	if err != nil {
		return nil, fmt.Errorf("writing a statement about %s: %w", name, err)
	}
	var out bytes.Buffer // protojson puts in spaces by chance
	err = json.Compact(&out, data)
	return out.Bytes(), err
}

func (b Build) dependencies() []*intoto.ResourceDescriptor {
	var all []*intoto.ResourceDescriptor
	if b.Commit != "" {
		source := &intoto.ResourceDescriptor{Name: "source", Digest: map[string]string{"gitCommit": b.Commit}}
		if b.Repository != "" {
			source.Uri = "git+" + b.Repository
			if b.Ref != "" {
				source.Uri += "@" + b.Ref
			}
		}
		all = append(all, source)
	}
	for _, base := range b.Bases {
		all = append(all, base.descriptor())
	}
	for _, toolchain := range b.Toolchains {
		url := packageurl.NewPackageURL(packageurl.TypeGeneric, "", "go", strings.TrimPrefix(toolchain, "go"), nil, "")
		all = append(all, &intoto.ResourceDescriptor{Name: "toolchain", Uri: url.ToString()})
	}
	return all
}

// descriptor names a base image as a package URL.
// https://github.com/package-url/purl-spec/blob/main/PURL-TYPES.rst#oci
func (b Base) descriptor() *intoto.ResourceDescriptor {
	repository, tag := b.Reference, ""
	if colon := strings.LastIndex(repository, ":"); colon > strings.LastIndex(repository, "/") {
		repository, tag = repository[:colon], repository[colon+1:]
	}
	qualifiers := map[string]string{"repository_url": repository}
	if tag != "" {
		qualifiers["tag"] = tag
	}
	url := packageurl.NewPackageURL(packageurl.TypeOCI, "", path.Base(repository), b.Digest, packageurl.QualifiersFromMap(qualifiers), "")
	described := &intoto.ResourceDescriptor{Name: "base", Uri: url.ToString()}
	if algorithm, hex, ok := strings.Cut(b.Digest, ":"); ok {
		described.Digest = map[string]string{algorithm: hex}
	}
	return described
}

func (b Build) byproducts() []*intoto.ResourceDescriptor {
	var all []*intoto.ResourceDescriptor
	for _, p := range b.Byproducts {
		all = append(all, &intoto.ResourceDescriptor{Name: p.Name, MediaType: p.MediaType, Digest: map[string]string{p.Digest.Algorithm: p.Digest.Hex}})
	}
	return all
}
