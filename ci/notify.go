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
	secrets := []secretText{{n.URL, &s.URL}, {n.Key, &s.Key}, {n.SlackURL, &s.SlackURL}, {n.DeploymentsToken, &s.GitHub.Token}}
	if err := readSecrets(ctx, secrets...); err != nil {
		return s, fmt.Errorf("reading the settings of notifications: %w", err)
	}
	for _, secret := range secrets {
		*secret.to = strings.TrimSpace(*secret.to) // a file ends in a newline
	}
	return s, nil
}
