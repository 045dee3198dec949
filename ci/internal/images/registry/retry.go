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
	tries     = 5
	firstWait = 250 * time.Millisecond
	longWait  = 8 * time.Second
	// patience is the longest Retry-After that is obeyed.
	patience = time.Minute
)

// passing are the statuses of answers that another try may better.
var passing = []int{
	http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
	http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
}

// broken is a failure after which an upload may start anew.
type broken struct {
	error
	after time.Duration // how long to leave the registry alone
}

func (b *broken) Unwrap() error { return b.error }

// retrying tries again what may have failed by chance. The content of an upload is
// not sent twice to the same place, where the registry may have a part of it.
type retrying struct {
	inner http.RoundTripper
	clock Clock
}

func (r retrying) RoundTrip(req *http.Request) (*http.Response, error) {
	for failed := 1; ; failed++ {
		answer, err := r.inner.RoundTrip(req)
		wait, again := r.verdict(req, failed, answer, err)
		if kind := kindOf(req); again && kind == sendUpload || lost(kind, answer) {
			if answer != nil {
				err = transport.CheckError(answer)
				discard(answer)
			}
			return nil, &broken{err, wait}
		}
		if !again {
			return answer, err
		}
		next, ok := rewound(req)
		if !ok {
			return answer, err
		}
		if answer != nil {
			discard(answer)
		}
		if err := r.clock.Sleep(req.Context(), wait); err != nil {
			return nil, err
		}
		req = next
	}
}

// lost tells that the registry does not know an upload that it opened: it forgot
// it, or has finished it and the answer was lost.
func lost(kind kind, answer *http.Response) bool {
	return answer != nil && answer.StatusCode == http.StatusNotFound && (kind == sendUpload || kind == finishUpload)
}

// verdict says whether to try again, and after what wait.
func (r retrying) verdict(req *http.Request, failed int, answer *http.Response, err error) (time.Duration, bool) {
	if failed >= tries || req.Context().Err() != nil {
		return 0, false
	}
	if err != nil {
		nobody := errors.Is(err, syscall.ECONNREFUSED) && IsLoopback(req.URL.Host) // nor will there be
		return pause(failed), transient(err) && !nobody
	}
	if !slices.Contains(passing, answer.StatusCode) {
		return 0, false
	}
	asked := retryAfter(answer, r.clock.Now())
	return max(pause(failed), asked), asked <= patience
}

// transient says whether a request that got no answer may get one next time.
func transient(err error) bool {
	var certificate *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	var authority x509.UnknownAuthorityError
	var wrong *digestError
	return !errors.Is(err, errPlain) && !errors.Is(err, context.Canceled) && !errors.As(err, &wrong) &&
		!errors.As(err, &certificate) && !errors.As(err, &header) && !errors.As(err, &authority)
}

// rewound is the request with its body from the start, if it has one.
func rewound(req *http.Request) (*http.Request, bool) {
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

// pause is how long to wait after so many failures in a row: twice as long each
// time, and up to half of it left out at random, so that publishers who failed
// together do not come back together.
func pause(failed int) time.Duration {
	wait := min(longWait, firstWait<<(failed-1))
	return wait - rand.N(wait/2)
}

// retryAfter is how long an answer asks to be left alone; 0 if it does not.
// https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
func retryAfter(answer *http.Response, now time.Time) time.Duration {
	value := answer.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// discard reads an answer to its end, which keeps its connection of use.
func discard(answer *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10))
	_ = answer.Body.Close()
}
