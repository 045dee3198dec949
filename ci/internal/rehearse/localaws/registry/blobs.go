package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// upload is a blob upload in progress. It is written to disk and hashed as it arrives,
// so that it needs no memory.
type upload struct {
	mu   sync.Mutex
	repo string
	file *os.File
	sum  hash.Hash
	size int64
}

func (s *Store) blobPath(h v1.Hash) string { return filepath.Join(s.dir, h.Algorithm, h.Hex) }

// startUpload starts an upload and returns its id.
func (s *Store) startUpload(repo string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.repo(repo); err != nil {
		return "", err
	}
	id := wire.NewUUID()
	f, err := os.Create(filepath.Join(s.dir, "uploads", id))
	if err != nil {
		return "", fmt.Errorf("starting an upload: %w", err)
	}
	s.uploads[id] = &upload{repo: repo, file: f, sum: sha256.New()}
	return id, nil
}

// appendUpload adds content to an upload and returns its size so far.
func (s *Store) appendUpload(repo, id string, r io.Reader) (int64, error) {
	u, err := s.upload(repo, id)
	if err != nil {
		return 0, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	n, err := io.Copy(io.MultiWriter(u.file, u.sum), r)
	u.size += n
	if err != nil {
		return u.size, fmt.Errorf("receiving blob content: %w", err)
	}
	return u.size, nil
}

// uploadSize returns the size of an upload so far.
func (s *Store) uploadSize(repo, id string) (int64, error) {
	u, err := s.upload(repo, id)
	if err != nil {
		return 0, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.size, nil
}

// checkRange returns an error unless a request's content starts at the upload's end.
func (s *Store) checkRange(r *http.Request, repo, id string) error {
	from, _, ok := strings.Cut(r.Header.Get("Content-Range"), "-")
	if !ok {
		return nil
	}
	size, err := s.uploadSize(repo, id)
	if err != nil {
		return err
	}
	if from != strconv.FormatInt(size, 10) {
		return errRange
	}
	return nil
}

func (s *Store) upload(repo, id string) (*upload, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	u, ok := s.uploads[id]
	if !ok || u.repo != repo {
		return nil, errUploadUnknown
	}
	return u, nil
}

// finishUpload adds an upload to its repository's blobs, if its content has the
// declared digest.
func (s *Store) finishUpload(repo, id string, want v1.Hash) error {
	u, err := s.upload(repo, id)
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.uploads, id)
	if err := u.file.Close(); err != nil {
		return fmt.Errorf("closing an upload: %w", err)
	}
	got := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(u.sum.Sum(nil))}
	if got != want {
		_ = os.Remove(u.file.Name())
		return ErrDigestMismatch
	}
	if err := os.Rename(u.file.Name(), s.blobPath(want)); err != nil {
		return fmt.Errorf("storing blob %s: %w", want, err)
	}
	r, err := s.repo(repo)
	if err != nil {
		return err
	}
	r.blobs[want] = u.size
	return nil
}

func (s *Store) abortUpload(repo, id string) error {
	u, err := s.upload(repo, id)
	if err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.uploads, id)
	s.mu.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	_ = u.file.Close()
	return os.Remove(u.file.Name())
}

// mountBlob adds a blob of one repository to another without a transfer.
func (s *Store) mountBlob(to, from string, h v1.Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	src, dst := s.repos[from], s.repos[to]
	if src == nil || dst == nil {
		return false
	}
	size, ok := src.blobs[h]
	if ok {
		dst.blobs[h] = size
	}
	return ok
}

// blobSize returns the size of a repository's blob.
func (s *Store) blobSize(repo string, h v1.Hash) (int64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, err := s.repo(repo)
	if err != nil {
		return 0, err
	}
	size, ok := r.blobs[h]
	if !ok {
		return 0, ErrBlobUnknown
	}
	return size, nil
}

// Blob opens a blob of any repository.
func (s *Store) Blob(h v1.Hash) (*os.File, error) {
	f, err := os.Open(s.blobPath(h))
	if err != nil {
		return nil, fmt.Errorf("opening blob %s: %w", h, err)
	}
	return f, nil
}

// Close discards unfinished uploads.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, u := range s.uploads {
		_ = u.file.Close()
		delete(s.uploads, id)
	}
}
