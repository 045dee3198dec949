// Package contract checks that a running backend behaves as its API documents, directly or
// behind a load balancer. The smoke test of a release checks only what holds for every
// service.
package contract

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// requestTimeout limits each request, including reading the response.
const requestTimeout = 10 * time.Second

// check is one guarantee of the API.
type check struct {
	name string
	run  func(ctx context.Context, a client) error
}

// checks use only paths that the load balancer forwards to the backend.
var checks = []check{
	{"the instance says who it is", instance},
	{"/api is /api/", withoutSlash},
	{"a query changes nothing", query},
	{"health", health},
	{"HEAD is GET without a body", head},
	{"another method is refused", method},
	{"an unknown path is refused", unknown},
	{"request ids", requestIDs},
	{"headers", headers},
	{"the document", document},
	{"headers of a load balancer", largeHeaders},
}

// Check runs all checks on the system at base, such as "http://localhost". version is the
// expected version; empty means any. The error joins the failed checks by name.
func Check(ctx context.Context, base, version string) error {
	transport := http.DefaultTransport.(*http.Transport).Clone() // uses the proxy of the environment
	defer transport.CloseIdleConnections()
	a := client{base: base, version: version, http: &http.Client{
		Transport: transport, Timeout: requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	var broken []error
	for _, p := range checks {
		if err := p.run(ctx, a); err != nil {
			broken = append(broken, fmt.Errorf("%s: %w", p.name, err))
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return errors.Join(broken...)
}
