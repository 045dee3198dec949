// Package registry is the embedded ECR: the ECR API and the OCI distribution
// protocol over one store.
//
// The package implements the protocol itself, because go-containerregistry's
// pkg/registry keeps whole uploads in memory, creates repositories implicitly, has no
// immutable tags, and does not give access to its manifests, which the ECR API and the
// tasks need.
package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// Errors of the store. Each of the two protocols has its own format for them.
var (
	ErrRepositoryUnknown = errors.New("repository does not exist")
	ErrManifestUnknown   = errors.New("requested image not found")
	ErrManifestInvalid   = errors.New("invalid manifest")
	ErrBlobUnknown       = errors.New("layer does not exist")
	ErrTagImmutable      = errors.New("tag is immutable")
	ErrDigestMismatch    = errors.New("content does not match the digest")
)

// Manifest is an image manifest or image index, as pushed.
type Manifest struct {
	Digest    v1.Hash
	MediaType string
	Raw       []byte
	PushedAt  time.Time
	parsed    manifestBody
}

// manifestBody holds the fields of all kinds of manifests that the store uses.
type manifestBody struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Config       *v1.Descriptor    `json:"config"`
	Layers       []v1.Descriptor   `json:"layers"`
	Manifests    []v1.Descriptor   `json:"manifests"`
	Subject      *v1.Descriptor    `json:"subject"`
	Annotations  map[string]string `json:"annotations"`
}

func (m manifestBody) artifactType() string {
	if m.ArtifactType == "" && m.Config != nil {
		return string(m.Config.MediaType)
	}
	return m.ArtifactType
}

type repository struct {
	name         string
	created      time.Time
	mutability   ecrtypes.ImageTagMutability
	exclusions   []ecrtypes.ImageTagMutabilityExclusionFilter
	scanOnPush   bool
	encryption   *ecrtypes.EncryptionConfiguration
	lifecycle    string
	resourceTags map[string]string // tags of the repository
	manifests    map[v1.Hash]*Manifest
	tags         map[string]v1.Hash
	blobs        map[v1.Hash]int64
}

// Store holds repositories and manifests in memory and blobs on disk.
type Store struct {
	scope wire.Scope
	host  string
	dir   string
	now   func() time.Time

	mu      sync.RWMutex
	repos   map[string]*repository
	uploads map[string]*upload
	tokens  map[string]time.Time // password → expiry
}

// NewStore returns a store that keeps its blobs below dir. host is the registry's
// address, with which repository URIs begin.
func NewStore(dir, host string, scope wire.Scope, now func() time.Time) (*Store, error) {
	for _, sub := range []string{"sha256", "uploads"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("preparing the registry's blob directory: %w", err)
		}
	}
	return &Store{
		scope: scope, host: host, dir: dir, now: now,
		repos: map[string]*repository{}, uploads: map[string]*upload{}, tokens: map[string]time.Time{},
	}, nil
}

func (s *Store) repo(name string) (*repository, error) {
	r, ok := s.repos[name]
	if !ok {
		return nil, ErrRepositoryUnknown
	}
	return r, nil
}

// Manifest finds a manifest by tag or digest.
func (s *Store) Manifest(repo, reference string) (*Manifest, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, err := s.repo(repo)
	if err != nil {
		return nil, err
	}
	return r.find(reference)
}

func (r *repository) find(reference string) (*Manifest, error) {
	digest, tagged := r.tags[reference]
	if !tagged {
		parsed, err := v1.NewHash(reference)
		if err != nil {
			return nil, ErrManifestUnknown
		}
		digest = parsed
	}
	m, ok := r.manifests[digest]
	if !ok {
		return nil, ErrManifestUnknown
	}
	return m, nil
}

// PutManifest stores a manifest under a tag or its digest. Everything it refers to must
// have been pushed before.
func (s *Store) PutManifest(repo, reference, mediaType string, raw []byte) (*Manifest, error) {
	digest, _, err := v1.SHA256(strings.NewReader(string(raw)))
	if err != nil {
		return nil, fmt.Errorf("hashing a manifest for %s: %w", repo, err)
	}
	m := &Manifest{Digest: digest, MediaType: mediaType, Raw: raw, PushedAt: s.now()}
	if err := json.Unmarshal(raw, &m.parsed); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifestInvalid, err)
	}
	if m.MediaType == "" {
		m.MediaType = m.parsed.MediaType
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.repo(repo)
	if err != nil {
		return nil, err
	}
	byDigest := strings.Contains(reference, ":")
	if byDigest && reference != digest.String() {
		return nil, ErrDigestMismatch
	}
	if err := r.checkReferences(m.parsed); err != nil {
		return nil, err
	}
	if _, taken := r.tags[reference]; taken && r.immutable(reference) {
		return nil, ErrTagImmutable
	}
	if known, ok := r.manifests[digest]; ok {
		m = known
	} else {
		r.manifests[digest] = m
	}
	if !byDigest && reference != "" {
		r.tags[reference] = digest
	}
	return m, nil
}

// checkReferences returns an error unless the repository has everything that a manifest
// refers to.
func (r *repository) checkReferences(m manifestBody) error {
	layers := m.Layers
	if m.Config != nil {
		layers = append(slices.Clone(layers), *m.Config)
	}
	for _, d := range layers {
		if _, ok := r.blobs[d.Digest]; !ok && d.MediaType.IsDistributable() && d.Data == nil {
			return fmt.Errorf("%w: %s", ErrBlobUnknown, d.Digest)
		}
	}
	for _, d := range m.Manifests {
		if _, ok := r.manifests[d.Digest]; !ok {
			return fmt.Errorf("%w: %s", ErrManifestUnknown, d.Digest)
		}
	}
	return nil
}

// immutable reports whether an existing tag must not be moved. ECR refuses even a push
// of the same digest (aws/containers-roadmap#2380).
func (r *repository) immutable(tag string) bool {
	excluded := slices.ContainsFunc(r.exclusions, func(f ecrtypes.ImageTagMutabilityExclusionFilter) bool {
		ok, err := filepath.Match(aws.ToString(f.Filter), tag)
		return err == nil && ok
	})
	switch r.mutability {
	case ecrtypes.ImageTagMutabilityImmutable:
		return true
	case ecrtypes.ImageTagMutabilityImmutableWithExclusion:
		return !excluded
	case ecrtypes.ImageTagMutabilityMutableWithExclusion:
		return excluded
	default:
		return false
	}
}

// remove deletes one tag, or a manifest with all its tags.
func (r *repository) remove(reference string) (*Manifest, error) {
	m, err := r.find(reference)
	if err != nil {
		return nil, err
	}
	if _, tagged := r.tags[reference]; tagged {
		delete(r.tags, reference)
		if len(r.tagsOf(m.Digest)) > 0 {
			return m, nil // the image has other tags
		}
	}
	for _, tag := range r.tagsOf(m.Digest) {
		delete(r.tags, tag)
	}
	delete(r.manifests, m.Digest)
	return m, nil
}

func (r *repository) tagsOf(digest v1.Hash) []string {
	var tags []string
	for tag, d := range r.tags {
		if d == digest {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	return tags
}
