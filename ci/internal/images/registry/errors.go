package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// digestError is the error of a registry that stored a blob under another digest.
type digestError struct{ registry, got, sent string }

func (w *digestError) Error() string {
	return fmt.Sprintf("the registry %s stored digest %s instead of %s: the registry or a proxy is faulty", w.registry, w.got, w.sent)
}

// explain describes an error in one line: the operation, the registry's response
// and the next step.
func (c *connection) explain(ctx context.Context, operation string, err error) error {
	if err == nil {
		return nil
	}
	what := fmt.Sprintf("%s (%s in %s)", operation, c.name.RepositoryStr(), c.registry.Host)
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
	if source, ok := errors.AsType[*sourceError](err); ok {
		return source.error
	}
	blob := blobSuffix(err)
	if response, ok := errors.AsType[*transport.Error](err); ok {
		return c.responseError(what+blob, response)
	}
	var wrong *digestError
	switch {
	case errors.As(err, &wrong):
		return fmt.Errorf("%s: %w", what, wrong)
	case errors.Is(err, errCorrupt):
		return fmt.Errorf("%s%s: %w: build it again", what, blob, errCorrupt)
	case errors.Is(err, errInsecure):
		return outcome.Usagef("%s: %w", what, errInsecure)
	}
	return c.connectionError(what+blob, err)
}

// responseError explains an error response.
func (c *connection) responseError(what string, response *transport.Error) error {
	text := responseText(response)
	host := c.registry.Host
	switch code := response.StatusCode; {
	case hasErrorCode(response, transport.NameUnknownErrorCode):
		return outcome.Usagef("the registry %s has no repository %s: %s", host, c.name.RepositoryStr(), cmp.Or(c.registry.options.RepositoryHint, "create it first"))
	case code == http.StatusUnauthorized:
		return outcome.Usagef("%s: the registry rejected the credentials (%s): %s", what, text, cmp.Or(c.registry.options.LoginHint, "docker login "+host))
	case code == http.StatusForbidden:
		return fmt.Errorf("%s: the registry denied access (%s): allow these credentials to pull from and push to the repository", what, text)
	case code == http.StatusTooManyRequests:
		return fmt.Errorf("%s: the registry throttles requests even after %d attempts (%s): try again later, or request a higher limit", what, maxAttempts, text)
	case code >= http.StatusInternalServerError:
		return fmt.Errorf("%s: the registry failed in all of %d attempts (%s): try again later", what, maxAttempts, text)
	case code == http.StatusNotFound && response.Request != nil && kindOf(response.Request) == startUpload:
		return outcome.Usagef("the registry %s has no repository %s (%s): %s", host, c.name.RepositoryStr(), text, cmp.Or(c.registry.options.RepositoryHint, "create it first"))
	}
	return fmt.Errorf("%s: the registry returned %s", what, text)
}

// connectionError explains a request without a response.
func (c *connection) connectionError(what string, err error) error {
	var dns *net.DNSError
	var op *net.OpError
	var wrapped *url.Error
	switch {
	case errors.As(err, &dns):
		return fmt.Errorf("%s: host %s not found: check the registry's name and the network", what, dns.Name)
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Errorf("%s: the registry cannot be reached (%w): check its address and the network", what, op.Err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%s: no data transferred for %s: the registry or the connection to it hangs: try again later", what, c.registry.options.StallTimeout)
	case errors.As(err, &wrapped):
		return fmt.Errorf("%s: %w: try again", what, wrapped.Err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// responseText returns the status and the message of an error response.
func responseText(response *transport.Error) string {
	for _, d := range response.Errors {
		if d.Message != "" {
			return fmt.Sprintf("%d %s: %s", response.StatusCode, d.Code, outcome.OneLine(d.Message))
		}
	}
	return fmt.Sprintf("%d %s", response.StatusCode, http.StatusText(response.StatusCode))
}

func hasErrorCode(response *transport.Error, code transport.ErrorCode) bool {
	return slices.ContainsFunc(response.Errors, func(d transport.Diagnostic) bool { return d.Code == code })
}

// blobError is an error about one blob.
type blobError struct {
	digest string
	err    error
}

func (f *blobError) Error() string { return "blob " + f.digest + ": " + f.err.Error() }
func (f *blobError) Unwrap() error { return f.err }

// blobSuffix returns the digest of the blob that an error is about, as a suffix of
// the operation.
func blobSuffix(err error) string {
	if f, ok := errors.AsType[*blobError](err); ok {
		return ", blob " + f.digest
	}
	return ""
}
