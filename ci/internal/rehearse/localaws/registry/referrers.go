package registry

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func (s *Store) serveTags(w http.ResponseWriter, r *http.Request, repo string) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	rep, err := s.repo(repo)
	if err != nil {
		return err
	}
	tags := []string{}
	for tag := range rep.tags {
		if tag > r.URL.Query().Get("last") {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	if n, err := strconv.Atoi(r.URL.Query().Get("n")); err == nil && n >= 0 && n < len(tags) {
		tags = tags[:n]
		w.Header().Set("Link", fmt.Sprintf(`</v2/%s/tags/list?n=%d&last=%s>; rel="next"`, repo, n, tags[max(n-1, 0)]))
	}
	writeJSON(w, "application/json", map[string]any{"name": repo, "tags": tags})
	return nil
}

func (s *Store) serveReferrers(w http.ResponseWriter, r *http.Request, repo, digest string) error {
	subject, err := v1.NewHash(digest)
	if err != nil {
		return ErrDigestMismatch
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	rep, err := s.repo(repo)
	if err != nil {
		return err
	}
	kind := r.URL.Query().Get("artifactType")
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}
	for _, m := range rep.manifests {
		p := m.parsed
		if p.Subject == nil || p.Subject.Digest != subject || kind != "" && p.artifactType() != kind {
			continue
		}
		index.Manifests = append(index.Manifests, v1.Descriptor{
			MediaType: types.MediaType(m.MediaType), Size: int64(len(m.Raw)), Digest: m.Digest,
			ArtifactType: p.artifactType(), Annotations: p.Annotations,
		})
	}
	slices.SortFunc(index.Manifests, func(a, b v1.Descriptor) int { return strings.Compare(a.Digest.Hex, b.Digest.Hex) })
	if kind != "" {
		w.Header().Set("Oci-Filters-Applied", "artifactType")
	}
	writeJSON(w, string(types.OCIImageIndex), index)
	return nil
}
