package ecr

import (
	"context"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

// minTokenLife is how much of its life a token must have left; it lives for twelve
// hours, and a push takes minutes.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html
const minTokenLife = time.Hour

// login is a login that renews itself. It fits authn.ContextAuthenticator, which
// is asked before each request.
type login struct {
	api API
	now func() time.Time

	mu sync.Mutex
	token
}

// renew asks for a token. It ends by itself: the client bounds its calls.
func (l *login) renew(ctx context.Context) error {
	fresh, err := requestToken(ctx, l.api)
	if err != nil {
		return err
	}
	l.token = fresh
	return nil
}

// Authorization fits authn.Authenticator.
func (l *login) Authorization() (*authn.AuthConfig, error) {
	return l.AuthorizationContext(context.Background())
}

// AuthorizationContext gives the token, a new one if the held one is near its
// end. Where AWS gives none, the held one serves for as long as it is good.
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
