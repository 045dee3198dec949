// Package contract asks a running backend, whatever stands in front of it,
// whether it keeps what its API promises. The smoke test of a release is the
// part of it that any service must keep.
package contract

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// requestTimeout bounds each request, from connecting to the last byte.
const requestTimeout = 10 * time.Second

// promise is one thing that clients may rely on.
type promise struct {
	name string
	kept func(ctx context.Context, a asker) error
}

// promises are only about paths that a load balancer leads to the backend.
var promises = []promise{
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

// Check asks the system at base, such as "http://localhost", about all of it.
// version is the release that must answer; empty means any. The error joins the
// promises that are broken, by name.
func Check(ctx context.Context, base, version string) error {
	transport := http.DefaultTransport.(*http.Transport).Clone() // by the proxy that the environment names
	defer transport.CloseIdleConnections()
	a := asker{base: base, version: version, client: &http.Client{
		Transport: transport, Timeout: requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	var broken []error
	for _, p := range promises {
		if err := p.kept(ctx, a); err != nil {
			broken = append(broken, fmt.Errorf("%s: %w", p.name, err))
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return errors.Join(broken...)
}
