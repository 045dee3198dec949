package signature

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/theupdateframework/go-tuf/v2/metadata/fetcher"

	"dagger/slipway/internal/outcome"
)

// cacheDays is how long sigstore's trusted root is believed without asking anew.
const cacheDays = 1

// bounded carries requests within a context and a deadline: the library that
// reads sigstore's root knows neither.
type bounded struct{ ctx context.Context }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	return http.DefaultTransport.RoundTrip(req.WithContext(b.ctx))
}

// public reads what sigstore says of its public services, through The Update
// Framework, whose root of trust is in this program. A copy is kept in the user's
// cache.
func public(ctx context.Context) (*tuf.Client, error) {
	carrier := fetcher.NewDefaultFetcher()
	carrier.SetHTTPClient(&http.Client{Timeout: callTimeout, Transport: bounded{ctx}})
	carrier.SetRetry(callPause, callRetries)
	o := tuf.DefaultOptions().WithContext(ctx).WithFetcher(carrier).WithCacheValidity(cacheDays)
	if cache, err := os.UserCacheDir(); err == nil {
		o = o.WithCachePath(filepath.Join(cache, "slipway", "sigstore"))
	} else {
		o = o.WithDisableLocalCache()
	}
	client, err := tuf.New(o)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("reading sigstore's trusted root: %w", context.Cause(ctx))
		}
		return nil, fmt.Errorf("reading sigstore's trusted root from %s: %s: name a copy of it with --trusted-root, or use --key", o.RepositoryBaseURL, line(err))
	}
	return client, nil
}

// PublicRoot is what sigstore's public services are known by.
func PublicRoot(ctx context.Context) (Root, error) {
	client, err := public(ctx)
	if err != nil {
		return nil, err
	}
	trusted, err := root.GetTrustedRoot(client)
	if err != nil {
		return nil, fmt.Errorf("reading sigstore's trusted root: %s", line(err))
	}
	return trusted, nil
}

// ReadRoot reads a trusted root from a file, as cosign trusted-root create writes
// it.
func ReadRoot(file string) (Root, error) {
	trusted, err := root.NewTrustedRootFromPath(file)
	if err != nil {
		return nil, outcome.Usagef("trusted root %s: %s: write it with cosign trusted-root create", file, unreadable(err))
	}
	return trusted, nil
}

// ReadServices reads from a file where sigstore's services are.
func ReadServices(file string) (*root.SigningConfig, error) {
	services, err := root.NewSigningConfigFromPath(file)
	if err != nil {
		return nil, outcome.Usagef("signing configuration %s: %s: write it with cosign signing-config create", file, unreadable(err))
	}
	return services, nil
}

// unreadable says why a file could not be read. What is in it is not repeated:
// somebody may have named a key.
func unreadable(err error) string {
	var failed *os.PathError
	if errors.As(err, &failed) {
		return failed.Err.Error()
	}
	return "it is not in sigstore's form"
}
