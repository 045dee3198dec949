package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/dagger"
	"github.com/slipway-cd/slipway/ci/internal/release/notify"
)

// Notifications has the receivers of notifications of releases. Secrets stay references, as
// in [Account].
type Notifications struct {
	// +private
	URL *dagger.Secret
	// +private
	Key *dagger.Secret
	// +private
	SlackURL *dagger.Secret
	// +private
	DeploymentsToken *dagger.Secret
	// +private
	Repository string
	// +private
	API string
}

// settings returns the receivers.
func (n Notifications) settings(ctx context.Context) (s notify.Settings, err error) {
	s.GitHub.Repository, s.GitHub.API = n.Repository, n.API
	for _, secret := range []struct {
		from *dagger.Secret
		to   *string
	}{{n.URL, &s.URL}, {n.Key, &s.Key}, {n.SlackURL, &s.SlackURL}, {n.DeploymentsToken, &s.GitHub.Token}} {
		if secret.from == nil {
			continue
		}
		text, err := secret.from.Plaintext(ctx)
		if err != nil {
			return s, fmt.Errorf("reading the settings of notifications: %w", err)
		}
		*secret.to = strings.TrimSpace(text) // a file ends in a newline
	}
	return s, nil
}
