package ecr

import (
	"context"

	"github.com/google/go-containerregistry/pkg/authn"
)

// Authenticator returns the login alone.
func (a Account) Authenticator(ctx context.Context) (authn.Authenticator, error) { return a.login(ctx) }
