// Package registry is an OCI registry: it publishes images there, finds them and
// attaches artifacts to them.
//
// What is sent and read is go-containerregistry's, over a transport that tries
// again: the library's own sleeps through a cancelled context, does not know
// Retry-After and sends a manifest's rest the second time. What is decided here is
// which tag is written when, and where a layer is mounted from.
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

	"dagger/slipway/internal/clock"
	"dagger/slipway/internal/report/outcome"
)

const (
	// maxUploads is how many blobs go up at a time, whatever the number of images:
	// enough to fill a line. What a registry takes a second is a matter of [Limits].
	maxUploads = 8
	// keychainTTL is how long what a credential helper says is believed. It is below
	// the life of every token that is worth the name, and above that of a push.
	keychainTTL = 30 * time.Minute
)

// Clock tells the time and waits.
type Clock interface {
	Now() time.Time
	Sleep(ctx context.Context, d time.Duration) error
}

// Options say how a registry is spoken to.
type Options struct {
	// Auth logs in. It is asked before each request, so one that renews itself
	// outlives any push. Nil means what Keychain has.
	Auth authn.Authenticator
	// Keychain finds the login by the registry's name; nil means none.
	Keychain authn.Keychain
	// RateLimits are kept; none by default.
	RateLimits RateLimits
	// RepositoryHint says what creates a repository that does not exist.
	RepositoryHint string
	// LoginHint says how to log in where the registry does not take the login.
	LoginHint string
	// Clock times retries and limits; nil means the computer's.
	Clock Clock
	// StallTimeout is how long the registry may neither send nor take a byte; 0 means a
	// minute.
	StallTimeout time.Duration
}

// Registry is an OCI registry, or the part of one below a prefix. It is safe for
// use by several goroutines, and knows what it has sent: one Registry for a
// whole publication sends no blob twice.
type Registry struct {
	// Host is the registry's host and port, such as
	// "123456789012.dkr.ecr.us-east-1.amazonaws.com".
	Host string
	// Prefix stands before the name of every repository; it may be empty.
	Prefix string

	name      name.Registry
	options   Options
	transport *http.Transport
	// client carries everything that is said to the registry, before the login.
	client      http.RoundTripper
	uploadSlots chan struct{}
	blobs       knownBlobs

	mu          sync.Mutex
	connections map[string]*connection
}

// New makes a registry of its address, HOST[/PREFIX]. Nothing is asked of it yet.
// An address that cannot be one is a usage error.
func New(address string, o Options) (*Registry, error) {
	if scheme, _, ok := strings.Cut(address, "://"); ok {
		return nil, outcome.Usagef("registry %q: write HOST[:PORT][/PREFIX], without %s://", address, scheme)
	}
	host, prefix, _ := strings.Cut(strings.TrimSuffix(address, "/"), "/")
	parsed, err := name.NewRegistry(host, name.StrictValidation)
	if err != nil {
		return nil, outcome.Usagef("registry %q: write HOST[:PORT][/PREFIX], such as registry.example.com/team", address)
	}
	if prefix != "" {
		if _, err := name.NewRepository(host + "/" + prefix); err != nil {
			return nil, outcome.Usagef("registry %q: the prefix %q must be of lower-case letters, digits and . _ - /", address, prefix)
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

// Close closes connections that are not in use. The registry may be used on.
func (r *Registry) Close() { r.transport.CloseIdleConnections() }

// IsLoopback tells whether a host is this machine itself. Only there is plain HTTP
// spoken, and an embedded registry found.
func IsLoopback(host string) bool {
	if only, _, err := net.SplitHostPort(host); err == nil {
		host = only
	}
	host = strings.Trim(host, "[]")
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// Reference names an image of a repository by its digest, the only way in which
// deployments name one.
func (r *Registry) Reference(repository string, digest v1.Hash) string {
	return r.Host + "/" + r.path(repository) + "@" + digest.String()
}

// Login is the login for another program that is to talk to the registry. ok is
// false where that program finds it by itself, as Docker's configuration has it.
func (r *Registry) Login(ctx context.Context) (login authn.AuthConfig, ok bool, err error) {
	if r.options.Auth == nil {
		return authn.AuthConfig{}, false, nil
	}
	found, err := authn.Authorization(ctx, r.options.Auth)
	if err != nil {
		return authn.AuthConfig{}, false, fmt.Errorf("finding the login for %s: %w", r.Host, err)
	}
	return *found, true, nil
}

func (r *Registry) path(repository string) string {
	if r.Prefix == "" {
		return repository
	}
	return r.Prefix + "/" + repository
}

// connection is what is known and open for one repository. Logins are by
// repository, because tokens are.
type connection struct {
	registry *Registry
	name     name.Repository

	mu      sync.Mutex
	wrapper http.RoundTripper // nil until the login
	pusher  *remote.Pusher
}

// connect finds the connection of a repository and logs in.
func (r *Registry) connect(ctx context.Context, repository string) (*connection, error) {
	target, err := name.NewRepository(r.Host + "/" + r.path(repository))
	if err != nil {
		return nil, outcome.Usagef("%q cannot be the name of a repository: it must be of lower-case letters, digits and . _ - /", r.path(repository))
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

// auth is the login for a repository.
func (r *Registry) auth(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	switch {
	case r.options.Auth != nil:
		return r.options.Auth, nil
	case r.options.Keychain == nil:
		return authn.Anonymous, nil
	}
	auth, err := authn.Resolve(ctx, r.options.Keychain, target)
	if err != nil {
		return nil, outcome.Usagef("finding the login for %s: %w", r.Host, err)
	}
	return auth, nil
}

// remote are the library's options for the connection. What it would retry has
// been retried below it.
func (c *connection) remote(ctx context.Context) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx), remote.WithTransport(c.wrapper), remote.WithRetryBackoff(remote.Backoff{Steps: 1}),
	}
}
