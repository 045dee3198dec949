package ecr

import (
	"context"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

// minTokenLife is the remaining lifetime below which a token is renewed. A token is
// valid for twelve hours, and a push takes minutes.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html
const minTokenLife = time.Hour

// login is an authn.ContextAuthenticator that renews its token. It is called before
// each request.
type login struct {
	api API
	now func() time.Time

	mu sync.Mutex
	token
}

// renew requests a new token. The client limits the duration of its calls.
func (l *login) renew(ctx context.Context) error {
	fresh, err := requestToken(ctx, l.api)
	if err != nil {
		return err
	}
	l.token = fresh
	return nil
}

// Authorization implements authn.Authenticator.
func (l *login) Authorization() (*authn.AuthConfig, error) {
	return l.AuthorizationContext(context.Background())
}

// AuthorizationContext returns the token, renewed if it expires soon. If the
// renewal fails, the current token is used until it expires.
func (l *login) AuthorizationContext(ctx context.Context) (*authn.AuthConfig, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if left := l.expires.Sub(l.now()); left < minTokenLife {
		if err := l.renew(ctx); err != nil && left <= 0 {
			return nil, err
		}
	}
	return &authn.AuthConfig{Username: l.user, Password: l.password}, nil
}
