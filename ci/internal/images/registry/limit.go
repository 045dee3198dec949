package registry

import (
	"net/http"
	"time"

	"golang.org/x/time/rate"
)

// Limits are how many requests of a kind a registry takes a second; 0 means that
// it names no limit. They are kept rather than run into: a request that was
// refused costs more than one that waited.
type Limits struct {
	// StartUploads and FinishUploads of blobs, and PutManifests, which write images
	// and tags.
	StartUploads, FinishUploads, PutManifests int
}

// limited keeps the limits of a registry.
type limited struct {
	inner                http.RoundTripper
	clock                Clock
	start, finish, write *rate.Limiter
}

func newLimited(inner http.RoundTripper, l Limits, c Clock) http.RoundTripper {
	limiter := func(perSecond int) *rate.Limiter {
		if perSecond == 0 {
			return rate.NewLimiter(rate.Inf, 0)
		}
		return rate.NewLimiter(rate.Limit(perSecond), perSecond)
	}
	return limited{inner: inner, clock: c, start: limiter(l.StartUploads), finish: limiter(l.FinishUploads), write: limiter(l.PutManifests)}
}

func (l limited) RoundTrip(req *http.Request) (*http.Response, error) {
	if limiter := l.of(req); limiter != nil {
		now := l.clock.Now()
		if wait := limiter.ReserveN(now, 1).DelayFrom(now); wait > 0 {
			if err := l.clock.Sleep(req.Context(), wait.Round(time.Millisecond)); err != nil {
				return nil, err
			}
		}
	}
	return l.inner.RoundTrip(req)
}

// of is the limiter of a request's kind, nil if it has none.
func (l limited) of(req *http.Request) *rate.Limiter {
	return map[kind]*rate.Limiter{startUpload: l.start, finishUpload: l.finish, putManifest: l.write}[kindOf(req)]
}
