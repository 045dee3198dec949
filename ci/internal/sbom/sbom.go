// Package sbom writes the bill of materials of an image: one SPDX 2.3 document,
// as JSON, about all its platforms. The same image gives the same bytes.
package sbom

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/package-url/packageurl-go"
	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"

	"dagger/slipway/internal/contents"
)

const (
	// MediaType is that of the documents.
	// https://www.iana.org/assignments/media-types/application/spdx+json
	MediaType = "application/spdx+json"
	// PredicateType is what an attestation about an image calls the document.
	// https://github.com/in-toto/attestation/blob/main/spec/predicates/spdx.md
	PredicateType = "https://spdx.dev/Document"
)

const (
	// created is a fixed time: when a document was written is no property of the
	// image, and would make two documents of what is one.
	created = "1970-01-01T00:00:00Z"
	// namespace begins the URI that names a document; the image's digest ends it.
	namespace = "https://slipway.dev/spdx/"
	noAnswer  = "NOASSERTION"
)

// Document is the bill of materials of an image.
type Document struct {
	spdx                  *spdx.Document
	toolchains, platforms []string
}

// Toolchains are the versions of Go that built the image's programs, sorted, such
// as "go1.26.1".
func (d Document) Toolchains() []string { return d.toolchains }

// Platforms are those of the image, such as "linux/amd64", in the index's order.
func (d Document) Platforms() []string { return d.platforms }

// New writes the bill of materials of the image that a name and an index stand
// for. It reads all layers of all platforms.
func New(ctx context.Context, name string, index v1.ImageIndex) (Document, error) {
	digest, err := index.Digest()
	if err != nil {
		return Document{}, fmt.Errorf("describing what is in %s: %w", name, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return Document{}, fmt.Errorf("describing what is in %s: %w", name, err)
	}
	b := newBuilder(name, digest)
	var made Document
	for _, child := range manifest.Manifests {
		if child.Platform == nil { // another index, or an artifact: nothing that runs
			continue
		}
		img, err := index.Image(child.Digest)
		if err != nil {
			return Document{}, fmt.Errorf("describing what is in %s for %s: %w", name, child.Platform, err)
		}
		held, err := contents.Read(ctx, img)
		if err != nil {
			return Document{}, fmt.Errorf("describing what is in %s for %s: %w", name, child.Platform, err)
		}
		b.addPlatform(name, child, held)
		made.platforms = append(made.platforms, child.Platform.String())
		for _, program := range held.Programs {
			made.toolchains = append(made.toolchains, program.Info.GoVersion)
		}
	}
	slices.Sort(made.toolchains)
	made.toolchains, made.spdx = slices.Compact(made.toolchains), b.document
	return made, nil
}

// Packages is how many packages the document lists, without the image itself and
// its platforms.
func (d Document) Packages() int {
	count := 0
	for _, p := range d.spdx.Packages {
		if p.PrimaryPackagePurpose != purposeContainer {
			count++
		}
	}
	return count
}

// JSON is the document.
func (d Document) JSON() ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(d.spdx); err != nil {
		return nil, fmt.Errorf("writing the bill of materials: %w", err)
	}
	return out.Bytes(), nil
}

// The purposes of packages, in SPDX's words.
// https://spdx.github.io/spdx-spec/v2.3/package-information/#724-primary-package-purpose-field
const (
	purposeContainer   = "CONTAINER"
	purposeApplication = "APPLICATION"
	purposeLibrary     = "LIBRARY"
	purposeSystem      = "OPERATING-SYSTEM"
)

// builder puts a document together. Packages that several platforms share are
// listed once.
type builder struct {
	document *spdx.Document
	image    common.ElementID
	listed   map[common.ElementID]bool
	related  map[string]bool
}

func newBuilder(name string, digest v1.Hash) *builder {
	b := &builder{listed: map[common.ElementID]bool{}, related: map[string]bool{}}
	b.document = &spdx.Document{
		SPDXVersion: spdx.Version, DataLicense: spdx.DataLicense, SPDXIdentifier: "DOCUMENT", DocumentName: name,
		DocumentNamespace: namespace + name + "/" + digest.String(),
		CreationInfo:      &spdx.CreationInfo{Creators: []common.Creator{{CreatorType: "Tool", Creator: "slipway"}}, Created: created},
	}
	b.image = b.add(spdx.Package{
		PackageName: name, PackageVersion: digest.String(), PrimaryPackagePurpose: purposeContainer, PackageChecksums: checksum(digest.Hex),
	}, purl(packageurl.TypeOCI, "", name, digest.String(), nil))
	b.relate("DOCUMENT", common.TypeRelationshipDescribe, b.image)
	return b
}

func (b *builder) addPlatform(name string, child v1.Descriptor, held contents.Contents) {
	qualifiers := map[string]string{"arch": child.Platform.Architecture}
	platform := b.add(spdx.Package{
		PackageName: name + " for " + child.Platform.String(), PackageVersion: child.Digest.String(), PrimaryPackagePurpose: purposeContainer, PackageChecksums: checksum(child.Digest.Hex),
	}, purl(packageurl.TypeOCI, "", name, child.Digest.String(), qualifiers))
	b.relate(b.image, common.TypeRelationshipContains, platform)
	for _, program := range held.Programs {
		b.addProgram(platform, program)
	}
	b.addDistro(platform, held)
}

// add lists a package and returns its name within the document.
func (b *builder) add(p spdx.Package, url string) common.ElementID {
	sum := sha256.Sum256([]byte(url))
	id := common.ElementID("Package-" + plain(p.PackageName) + "-" + hex.EncodeToString(sum[:6]))
	if b.listed[id] {
		return id
	}
	b.listed[id] = true
	p.PackageSPDXIdentifier = id
	p.PackageDownloadLocation, p.PackageLicenseConcluded, p.PackageCopyrightText = noAnswer, noAnswer, noAnswer
	p.PackageLicenseDeclared = noAnswer
	p.PackageExternalReferences = []*spdx.PackageExternalReference{{
		Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: url,
	}}
	b.document.Packages = append(b.document.Packages, &p)
	return id
}

func (b *builder) relate(from common.ElementID, relation string, to common.ElementID) {
	key := string(from) + " " + relation + " " + string(to)
	if b.related[key] {
		return
	}
	b.related[key] = true
	b.document.Relationships = append(b.document.Relationships, &spdx.Relationship{
		RefA: common.MakeDocElementID("", string(from)), Relationship: relation, RefB: common.MakeDocElementID("", string(to)),
	})
}

// plain leaves of a name what an SPDX identifier may have.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-':
			return r
		}
		return '-'
	}, name)
}

func checksum(sha256Hex string) []common.Checksum {
	return []common.Checksum{{Algorithm: common.SHA256, Value: sha256Hex}}
}

// purl is a package URL, the name of a package across ecosystems.
// https://github.com/package-url/purl-spec
func purl(kind, namespace, name, version string, qualifiers map[string]string) string {
	return packageurl.NewPackageURL(kind, namespace, name, version, packageurl.QualifiersFromMap(qualifiers), "").ToString()
}
