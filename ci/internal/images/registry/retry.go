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

// Retries: five tries in about four seconds ride out a registry's hiccup and a
// throttled burst, and do not hide one that is down.
const (
	maxAttempts = 5
	minBackoff  = 250 * time.Millisecond
	maxBackoff  = 8 * time.Second
	// maxRetryAfter is the longest Retry-After that is obeyed.
	maxRetryAfter = time.Minute
)

// retryableStatuses are the statuses of answers that another try may better.
var retryableStatuses = []int{
	http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
	http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
}

// uploadError is a failure after which an upload may start anew.
type uploadError struct {
	error
	wait time.Duration // how long to leave the registry alone
}

func (b *uploadError) Unwrap() error { return b.error }

// retryTransport tries again what may have failed by chance. The content of an upload is
// not sent twice to the same place, where the registry may have a part of it.
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

// isUploadUnknown tells that the registry does not know an upload that it opened: it forgot
// it, or has finished it and the answer was lost.
func isUploadUnknown(kind requestKind, response *http.Response) bool {
	return response != nil && response.StatusCode == http.StatusNotFound && (kind == sendUpload || kind == finishUpload)
}

// shouldRetry says whether to try again, and after what wait.
func (r retryTransport) shouldRetry(req *http.Request, failed int, response *http.Response, err error) (time.Duration, bool) {
	if failed >= maxAttempts || req.Context().Err() != nil {
		return 0, false
	}
	if err != nil {
		refused := errors.Is(err, syscall.ECONNREFUSED) && IsLoopback(req.URL.Host) // nor will there be
		return backoff(failed), isTransient(err) && !refused
	}
	if !slices.Contains(retryableStatuses, response.StatusCode) {
		return 0, false
	}
	after := retryAfter(response, r.clock.Now())
	return max(backoff(failed), after), after <= maxRetryAfter
}

// isTransient says whether a request that got no answer may get one next time.
func isTransient(err error) bool {
	var certificate *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	var authority x509.UnknownAuthorityError
	var wrong *digestError
	return !errors.Is(err, errInsecure) && !errors.Is(err, context.Canceled) && !errors.As(err, &wrong) &&
		!errors.As(err, &certificate) && !errors.As(err, &header) && !errors.As(err, &authority)
}

// rewind is the request with its body from the start, if it has one.
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

// backoff is how long to wait after so many failures in a row: twice as long each
// time, and up to half of it left out at random, so that publishers who failed
// together do not come back together.
func backoff(failed int) time.Duration {
	wait := min(maxBackoff, minBackoff<<(failed-1))
	return wait - rand.N(wait/2)
}

// retryAfter is how long an answer asks to be left alone; 0 if it does not.
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

// drain reads an answer to its end, which keeps its connection of use.
func drain(response *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
	_ = response.Body.Close()
}
