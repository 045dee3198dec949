package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// maxManifest is the maximum size of a manifest, as the distribution specification
// recommends.
const maxManifest = 4 << 20

var (
	errUploadUnknown = errors.New("upload does not exist")
	errRange         = errors.New("the content does not start at the end of the upload")
)

// ServeHTTP serves the OCI distribution protocol below /v2/.
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if !s.authorized(r) {
		w.Header().Set("Www-Authenticate", `Basic realm="http://`+s.host+`/",service="ecr.amazonaws.com"`)
		writeError(w, http.StatusUnauthorized, "UNAUTHORIZED", "Not Authorized")
		return
	}
	path := strings.Trim(strings.TrimPrefix(r.URL.Path, "/v2"), "/")
	if path == "" {
		w.WriteHeader(http.StatusOK)
		return
	}
	repo, kind, rest, ok := splitPath(path)
	if !ok {
		writeError(w, http.StatusNotFound, "UNSUPPORTED", "no such resource: "+r.URL.Path)
		return
	}
	var err error
	switch kind {
	case "manifests":
		err = s.serveManifest(w, r, repo, rest)
	case "uploads":
		err = s.serveUpload(w, r, repo, rest)
	case "blobs":
		err = s.serveBlob(w, r, repo, rest)
	case "tags":
		err = s.serveTags(w, r, repo)
	case "referrers":
		err = s.serveReferrers(w, r, repo, rest)
	}
	if err != nil {
		s.writeStoreError(w, err, repo, rest)
	}
}

// splitPath splits <repository>/<kind>/<rest>. Repositories may contain slashes.
func splitPath(path string) (repo, kind, rest string, ok bool) {
	parts := strings.Split(path, "/")
	n := len(parts)
	switch {
	case n >= 3 && parts[n-2] == "blobs" && parts[n-1] == "uploads":
		return strings.Join(parts[:n-2], "/"), "uploads", "", true
	case n >= 4 && parts[n-3] == "blobs" && parts[n-2] == "uploads":
		return strings.Join(parts[:n-3], "/"), "uploads", parts[n-1], true
	case n >= 3 && slices.Contains([]string{"manifests", "blobs", "tags", "referrers"}, parts[n-2]):
		return strings.Join(parts[:n-2], "/"), parts[n-2], parts[n-1], true
	default:
		return "", "", "", false
	}
}

func (s *Store) serveManifest(w http.ResponseWriter, r *http.Request, repo, reference string) error {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		m, err := s.Manifest(repo, reference)
		if err != nil {
			return err
		}
		w.Header().Set("Docker-Content-Digest", m.Digest.String())
		w.Header().Set("Content-Type", m.MediaType)
		w.Header().Set("Content-Length", strconv.Itoa(len(m.Raw)))
		if r.Method == http.MethodGet {
			_, _ = w.Write(m.Raw)
		}
		return nil
	case http.MethodPut:
		raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxManifest))
		if err != nil {
			return fmt.Errorf("%w: %w", ErrManifestInvalid, err)
		}
		m, err := s.PutManifest(repo, reference, r.Header.Get("Content-Type"), raw)
		if err != nil {
			return err
		}
		if m.parsed.Subject != nil {
			w.Header().Set("Oci-Subject", m.parsed.Subject.Digest.String())
		}
		w.Header().Set("Location", "/v2/"+repo+"/manifests/"+m.Digest.String())
		w.Header().Set("Docker-Content-Digest", m.Digest.String())
		w.WriteHeader(http.StatusCreated)
		return nil
	default: // ECR deletes images only by its API
		return errUnsupported
	}
}

var errUnsupported = errors.New("the operation is unsupported")

func (s *Store) serveUpload(w http.ResponseWriter, r *http.Request, repo, id string) error {
	query := r.URL.Query()
	switch r.Method {
	case http.MethodPost:
		if h, err := v1.NewHash(query.Get("mount")); err == nil && s.mountBlob(repo, query.Get("from"), h) {
			return s.writeCreated(w, repo, h)
		}
		id, err := s.startUpload(repo)
		if err != nil {
			return err
		}
		if query.Get("digest") != "" {
			return s.completeUpload(w, r, repo, id)
		}
		return writeUploadStatus(w, http.StatusAccepted, repo, id, 0)
	case http.MethodGet: // the status of an upload
		size, err := s.uploadSize(repo, id)
		if err != nil {
			return err
		}
		return writeUploadStatus(w, http.StatusNoContent, repo, id, size)
	case http.MethodPatch:
		if err := s.checkRange(r, repo, id); err != nil {
			return err
		}
		size, err := s.appendUpload(repo, id, r.Body)
		if err != nil {
			return err
		}
		return writeUploadStatus(w, http.StatusAccepted, repo, id, size)
	case http.MethodPut:
		return s.completeUpload(w, r, repo, id)
	case http.MethodDelete:
		if err := s.abortUpload(repo, id); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	default:
		return errUnsupported
	}
}

// writeUploadStatus writes the location and size of an upload.
func writeUploadStatus(w http.ResponseWriter, status int, repo, id string, size int64) error {
	w.Header().Set("Location", "/v2/"+repo+"/blobs/uploads/"+id)
	w.Header().Set("Docker-Upload-Uuid", id)
	w.Header().Set("Range", fmt.Sprintf("0-%d", max(size-1, 0)))
	w.WriteHeader(status)
	return nil
}

// completeUpload handles the last part of an upload, which is all of a monolithic one.
func (s *Store) completeUpload(w http.ResponseWriter, r *http.Request, repo, id string) error {
	h, err := v1.NewHash(r.URL.Query().Get("digest"))
	if err != nil {
		return ErrDigestMismatch
	}
	if err := s.checkRange(r, repo, id); err != nil {
		return err
	}
	if _, err := s.appendUpload(repo, id, r.Body); err != nil {
		return err
	}
	if err := s.finishUpload(repo, id, h); err != nil {
		return err
	}
	return s.writeCreated(w, repo, h)
}

func (s *Store) writeCreated(w http.ResponseWriter, repo string, h v1.Hash) error {
	w.Header().Set("Location", "/v2/"+repo+"/blobs/"+h.String())
	w.Header().Set("Docker-Content-Digest", h.String())
	w.WriteHeader(http.StatusCreated)
	return nil
}

func (s *Store) serveBlob(w http.ResponseWriter, r *http.Request, repo, digest string) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return errUnsupported
	}
	h, err := v1.NewHash(digest)
	if err != nil {
		return ErrBlobUnknown
	}
	if _, err := s.blobSize(repo, h); err != nil {
		return err
	}
	f, err := s.Blob(h)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("reading blob %s: %w", h, err)
	}
	w.Header().Set("Docker-Content-Digest", digest)
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", info.ModTime(), f)
	return nil
}

// writeStoreError writes an error of the store with ECR's message.
func (s *Store) writeStoreError(w http.ResponseWriter, err error, repo, reference string) {
	switch {
	case errors.Is(err, ErrRepositoryUnknown):
		writeError(w, http.StatusNotFound, "NAME_UNKNOWN",
			fmt.Sprintf("The repository with name '%s' does not exist in the registry with id '%s'", repo, s.scope.Account))
	case errors.Is(err, ErrManifestUnknown):
		writeError(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "Requested image not found")
	case errors.Is(err, ErrManifestInvalid):
		writeError(w, http.StatusBadRequest, "MANIFEST_INVALID", err.Error())
	case errors.Is(err, ErrBlobUnknown):
		writeError(w, http.StatusNotFound, "BLOB_UNKNOWN", err.Error())
	case errors.Is(err, ErrTagImmutable):
		writeError(w, http.StatusBadRequest, "TAG_INVALID", immutableMessage(repo, reference))
	case errors.Is(err, ErrDigestMismatch):
		writeError(w, http.StatusBadRequest, "DIGEST_INVALID", err.Error())
	case errors.Is(err, errUploadUnknown):
		writeError(w, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", err.Error())
	case errors.Is(err, errRange):
		writeError(w, http.StatusRequestedRangeNotSatisfiable, "RANGE_INVALID", err.Error())
	case errors.Is(err, errUnsupported):
		writeError(w, http.StatusMethodNotAllowed, "UNSUPPORTED", err.Error())
	default:
		writeError(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
	}
}

func immutableMessage(repo, tag string) string {
	return fmt.Sprintf("The image tag '%s' already exists in the '%s' repository and cannot be overwritten because the tag is immutable.", tag, repo)
}

func writeError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}

func writeJSON(w http.ResponseWriter, mediaType string, body any) {
	w.Header().Set("Content-Type", mediaType)
	_ = json.NewEncoder(w).Encode(body)
}
