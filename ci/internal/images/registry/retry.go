package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Retries: five attempts in about four seconds bridge a short failure and
// throttling, but do not hide an outage.
const (
	maxAttempts = 5
	minBackoff  = 250 * time.Millisecond
	maxBackoff  = 8 * time.Second
	// maxRetryAfter is the longest Retry-After that is respected.
	maxRetryAfter = time.Minute
)

// retryableStatuses are the statuses after which another attempt may succeed.
var retryableStatuses = []int{
	http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
	http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
}

// uploadError is a failure after which an upload can be restarted.
type uploadError struct {
	error
	wait time.Duration // before the next attempt
}

func (b *uploadError) Unwrap() error { return b.error }

// retryTransport retries requests after transient failures. It does not resend an
// upload's content to the same upload, of which the registry may have a part.
type retryTransport struct {
	inner http.RoundTripper
	clock Clock
}

func (r retryTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	for failed := 1; ; failed++ {
		response, err := r.inner.RoundTrip(req)
		wait, retry := r.shouldRetry(req, failed, response, err)
		if kind := kindOf(req); retry && kind == sendUpload || isUploadUnknown(kind, response) {
			if response != nil {
				err = transport.CheckError(response)
				drain(response)
			}
			return nil, &uploadError{err, wait}
		}
		if !retry {
			return response, err
		}
		next, ok := rewind(req)
		if !ok {
			return response, err
		}
		if response != nil {
			drain(response)
		}
		if err := r.clock.Sleep(req.Context(), wait); err != nil {
			return nil, err
		}
		req = next
	}
}

// isUploadUnknown reports whether the registry does not know an upload that it
// opened: it dropped the upload, or finished it and the response was lost.
func isUploadUnknown(kind requestKind, response *http.Response) bool {
	return response != nil && response.StatusCode == http.StatusNotFound && (kind == sendUpload || kind == finishUpload)
}

// shouldRetry reports whether to retry, and after which delay.
func (r retryTransport) shouldRetry(req *http.Request, failed int, response *http.Response, err error) (time.Duration, bool) {
	if failed >= maxAttempts || req.Context().Err() != nil {
		return 0, false
	}
	if err != nil {
		refused := errors.Is(err, syscall.ECONNREFUSED) && IsLoopback(req.URL.Host) // a retry would not help
		return backoff(failed), isTransient(err) && !refused
	}
	if !slices.Contains(retryableStatuses, response.StatusCode) {
		return 0, false
	}
	after := retryAfter(response, r.clock.Now())
	return max(backoff(failed), after), after <= maxRetryAfter
}

// isTransient reports whether a request that failed without a response may succeed
// next time.
func isTransient(err error) bool {
	var certificate *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	var authority x509.UnknownAuthorityError
	var wrong *digestError
	return !errors.Is(err, errInsecure) && !errors.Is(err, context.Canceled) && !errors.As(err, &wrong) &&
		!errors.As(err, &certificate) && !errors.As(err, &header) && !errors.As(err, &authority)
}

// rewind returns the request with its body reset to the start.
func rewind(req *http.Request) (*http.Request, bool) {
	if req.Body == nil || req.Body == http.NoBody {
		return req, true
	}
	if req.GetBody == nil {
		return nil, false
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, false
	}
	next := req.Clone(req.Context())
	next.Body = body
	return next, true
}

// backoff returns the delay after a number of consecutive failures: it doubles each
// time, and up to half of it is dropped at random, so that clients that failed
// together do not retry together.
func backoff(failed int) time.Duration {
	wait := min(maxBackoff, minBackoff<<(failed-1))
	return wait - rand.N(wait/2)
}

// retryAfter returns the delay that a response asks for, or 0.
// https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
func retryAfter(response *http.Response, now time.Time) time.Duration {
	value := response.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// drain reads a response to its end, so that its connection can be reused.
func drain(response *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
	_ = response.Body.Close()
}
