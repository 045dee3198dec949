// Package registry publishes images to an OCI registry, finds them and attaches
// artifacts to them.
//
// The protocol is go-containerregistry's, over a transport with its own retries:
// the library's retries ignore a cancelled context and Retry-After, and resend only
// the rest of a manifest. This package decides when a tag is written, and from
// where a layer is mounted.
package registry

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

const (
	// maxUploads is the maximum number of concurrent blob uploads, whatever the
	// number of images: enough to fill a connection. [RateLimits] limit requests
	// per second.
	maxUploads = 8
	// keychainTTL is how long the credentials of a credential helper are cached:
	// less than any token's lifetime, more than the duration of a push.
	keychainTTL = 30 * time.Minute
)

// Clock returns the time and sleeps.
type Clock interface {
	Now() time.Time
	Sleep(ctx context.Context, d time.Duration) error
}

// Options configure a registry.
type Options struct {
	// Auth provides the credentials. It is called before each request, so that it
	// can renew them. If nil, Keychain applies.
	Auth authn.Authenticator
	// Keychain provides the credentials by registry name; if nil, requests are
	// anonymous.
	Keychain authn.Keychain
	// RateLimits are the registry's limits; the zero value has none.
	RateLimits RateLimits
	// RepositoryHint is how to create a missing repository.
	RepositoryHint string
	// LoginHint is how to log in if the registry rejects the credentials.
	LoginHint string
	// Clock is used for retries and limits; if nil, the system clock.
	Clock Clock
	// StallTimeout is how long a connection may be idle during a request; 0 means a
	// minute.
	StallTimeout time.Duration
}

// Registry is an OCI registry, or the repositories below a prefix. It is safe for
// concurrent use and remembers uploaded blobs: use one Registry for a whole
// publication to upload each blob once.
type Registry struct {
	// Host is the registry's host and port, such as
	// "123456789012.dkr.ecr.us-east-1.amazonaws.com".
	Host string
	// Prefix is prepended to the name of every repository; it may be empty.
	Prefix string

	name      name.Registry
	options   Options
	transport *http.Transport
	// client sends all requests, without credentials.
	client      http.RoundTripper
	uploadSlots chan struct{}
	blobs       knownBlobs

	mu          sync.Mutex
	connections map[string]*connection
}

// New returns the registry at an address HOST[/PREFIX], without sending a request.
// An invalid address is a usage error.
func New(address string, o Options) (*Registry, error) {
	if scheme, _, ok := strings.Cut(address, "://"); ok {
		return nil, outcome.Usagef("invalid registry %q: want HOST[:PORT][/PREFIX], without %s://", address, scheme)
	}
	host, prefix, _ := strings.Cut(strings.TrimSuffix(address, "/"), "/")
	parsed, err := name.NewRegistry(host, name.StrictValidation)
	if err != nil {
		return nil, outcome.Usagef("invalid registry %q: want HOST[:PORT][/PREFIX], such as registry.example.com/team", address)
	}
	if prefix != "" {
		if _, err := name.NewRepository(host + "/" + prefix); err != nil {
			return nil, outcome.Usagef("invalid registry %q: the prefix %q may have only lower-case letters, digits and . _ - /", address, prefix)
		}
	}
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.StallTimeout == 0 {
		o.StallTimeout = stallTimeout
	}
	if o.Keychain != nil {
		o.Keychain = authn.RefreshingKeychain(o.Keychain, keychainTTL)
	}
	r := &Registry{
		Host: host, Prefix: prefix, name: parsed, options: o, transport: newTransport(o.StallTimeout),
		uploadSlots: make(chan struct{}, maxUploads), connections: map[string]*connection{},
	}
	r.client = transport.NewUserAgent(retryTransport{
		inner: newRateLimitTransport(countingTransport{tlsTransport{r.transport}}, o.RateLimits, o.Clock),
		clock: o.Clock,
	}, "slipway")
	return r, nil
}

// Close closes idle connections. The registry stays usable.
func (r *Registry) Close() { r.transport.CloseIdleConnections() }

// IsLoopback reports whether a host is this machine. Plain HTTP is allowed only
// there.
func IsLoopback(host string) bool {
	if only, _, err := net.SplitHostPort(host); err == nil {
		host = only
	}
	host = strings.Trim(host, "[]")
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// Reference returns the reference of an image by its digest, the only kind that
// deployments use.
func (r *Registry) Reference(repository string, digest v1.Hash) string {
	return r.Host + "/" + r.path(repository) + "@" + digest.String()
}

// Login returns the registry's credentials for another program. ok is false if that
// program finds them itself, in Docker's configuration.
func (r *Registry) Login(ctx context.Context) (login authn.AuthConfig, ok bool, err error) {
	if r.options.Auth == nil {
		return authn.AuthConfig{}, false, nil
	}
	found, err := authn.Authorization(ctx, r.options.Auth)
	if err != nil {
		return authn.AuthConfig{}, false, fmt.Errorf("finding the credentials for %s: %w", r.Host, err)
	}
	return *found, true, nil
}

func (r *Registry) path(repository string) string {
	if r.Prefix == "" {
		return repository
	}
	return r.Prefix + "/" + repository
}

// connection is the state of one repository. It has its own login, because registry
// tokens are per repository.
type connection struct {
	registry *Registry
	name     name.Repository

	mu      sync.Mutex
	wrapper http.RoundTripper // nil before the login
	pusher  *remote.Pusher
}

// connect returns the logged-in connection of a repository.
func (r *Registry) connect(ctx context.Context, repository string) (*connection, error) {
	target, err := name.NewRepository(r.Host + "/" + r.path(repository))
	if err != nil {
		return nil, outcome.Usagef("invalid repository name %q: it may have only lower-case letters, digits and . _ - /", r.path(repository))
	}
	r.mu.Lock()
	c := r.connections[target.RepositoryStr()]
	if c == nil {
		c = &connection{registry: r, name: target}
		r.connections[target.RepositoryStr()] = c
	}
	r.mu.Unlock()
	return c, c.login(ctx)
}

func (c *connection) login(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wrapper != nil {
		return nil
	}
	auth, err := c.registry.auth(ctx, c.name)
	if err != nil {
		return err
	}
	wrapper, err := transport.NewWithContext(ctx, c.name.Registry, auth, c.registry.client, []string{c.name.Scope(transport.PushScope)})
	if err != nil {
		return c.explain(ctx, "connecting", err)
	}
	c.wrapper = wrapper
	c.pusher, err = remote.NewPusher(c.remote(ctx)...)
	return err
}

// auth returns the credentials for a repository.
func (r *Registry) auth(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	switch {
	case r.options.Auth != nil:
		return r.options.Auth, nil
	case r.options.Keychain == nil:
		return authn.Anonymous, nil
	}
	auth, err := authn.Resolve(ctx, r.options.Keychain, target)
	if err != nil {
		return nil, outcome.Usagef("finding the credentials for %s: %w", r.Host, err)
	}
	return auth, nil
}

// remote returns the library's options for the connection. Retries are disabled,
// because the transport retries.
func (c *connection) remote(ctx context.Context) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx), remote.WithTransport(c.wrapper), remote.WithRetryBackoff(remote.Backoff{Steps: 1}),
	}
}
