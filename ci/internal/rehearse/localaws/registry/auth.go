package registry

import (
	"net/http"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// tokenLifetime is how long ECR's registry passwords are valid.
const tokenLifetime = 12 * time.Hour

// issueToken returns a new registry password and its expiry.
func (s *Store) issueToken() (string, time.Time) {
	password, expires := wire.RandomHex(64), s.now().Add(tokenLifetime)
	s.mu.Lock()
	defer s.mu.Unlock()
	for old, end := range s.tokens {
		if s.now().After(end) {
			delete(s.tokens, old)
		}
	}
	s.tokens[password] = expires
	return password, expires
}

// authorized reports whether a request has a valid password of GetAuthorizationToken.
func (s *Store) authorized(r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	if !ok || user != "AWS" {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	expires, ok := s.tokens[password]
	return ok && s.now().Before(expires)
}
