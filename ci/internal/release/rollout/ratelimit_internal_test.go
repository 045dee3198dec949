package rollout

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tickingClock is a clock that advances by a second at every read.
type tickingClock struct{ seconds atomic.Int64 }

func (s *tickingClock) Now() time.Time                             { return time.Unix(s.seconds.Add(1), 0) }
func (s *tickingClock) Sleep(context.Context, time.Duration) error { return nil }

// TestRateLimiterIsConcurrent checks that of many concurrent calls the last waits until
// the limit allows all.
func TestRateLimiterIsConcurrent(t *testing.T) {
	const jobs, each, perSecond, burst = 16, 500, 0.5, 5
	clock, q := &tickingClock{}, newRateLimiter(perSecond, burst)
	began := clock.Now()
	last := make([]time.Duration, jobs)
	var all sync.WaitGroup
	for n := range jobs {
		all.Go(func() {
			for range each {
				wait := q.reserve(clock)
				last[n] = max(last[n], wait+time.Unix(clock.seconds.Load(), 0).Sub(began))
			}
		})
	}
	all.Wait()
	latest := time.Duration(0)
	for _, end := range last {
		latest = max(latest, end)
	}
	require.GreaterOrEqual(t, latest.Seconds(), (jobs*each-burst)/perSecond-1)
}
