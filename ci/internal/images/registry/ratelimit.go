package registry

import (
	"net/http"
	"time"

	"golang.org/x/time/rate"
)

// RateLimits are a registry's limits in requests per second; 0 means no limit. They
// are kept in advance: a throttled request costs more than a delayed one.
type RateLimits struct {
	// StartUploads and FinishUploads are for blobs, PutManifests for images and
	// tags.
	StartUploads, FinishUploads, PutManifests int
}

// rateLimitTransport delays requests to stay within a registry's limits.
type rateLimitTransport struct {
	inner                http.RoundTripper
	clock                Clock
	start, finish, write *rate.Limiter
}

func newRateLimitTransport(inner http.RoundTripper, l RateLimits, c Clock) http.RoundTripper {
	limiter := func(perSecond int) *rate.Limiter {
		if perSecond == 0 {
			return rate.NewLimiter(rate.Inf, 0)
		}
		return rate.NewLimiter(rate.Limit(perSecond), perSecond)
	}
	return rateLimitTransport{inner: inner, clock: c, start: limiter(l.StartUploads), finish: limiter(l.FinishUploads), write: limiter(l.PutManifests)}
}

func (l rateLimitTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if limiter := l.limiter(req); limiter != nil {
		now := l.clock.Now()
		if wait := limiter.ReserveN(now, 1).DelayFrom(now); wait > 0 {
			if err := l.clock.Sleep(req.Context(), wait.Round(time.Millisecond)); err != nil {
				return nil, err
			}
		}
	}
	return l.inner.RoundTrip(req)
}

// limiter returns the limiter for a request, or nil if it is not limited.
func (l rateLimitTransport) limiter(req *http.Request) *rate.Limiter {
	return map[requestKind]*rate.Limiter{startUpload: l.start, finishUpload: l.finish, putManifest: l.write}[kindOf(req)]
}
