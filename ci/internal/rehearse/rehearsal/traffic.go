package rehearsal

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/report"
)

// The load: about a thousand requests in a rollout of a few seconds, but not so many that
// they slow it down. The clients take turns, so that an interruption of 5 ms is seen.
const (
	clients         = 4
	requestInterval = 20 * time.Millisecond // between those of a client
	shortInterval   = 5 * time.Millisecond
	requestTimeout  = 5 * time.Second
)

// intervalFor returns the interval for a number of paths. If traffic is shifted, each path gets
// as many requests as one alone would, because versions are compared by their figures.
func intervalFor(paths int, shifts bool) time.Duration {
	if !shifts {
		return requestInterval
	}
	return max(shortInterval, requestInterval/time.Duration(paths))
}

// traffic sends requests during a release and counts the results.
type traffic struct {
	served, failed atomic.Int64
	firstFailure   atomic.Pointer[string]
	stop           context.CancelFunc
	done           sync.WaitGroup
	client         *http.Client
}

// startTraffic starts clients that request the paths below base in turn, while the release shifts
// traffic or not.
func startTraffic(ctx context.Context, base string, paths []string, shifts bool) *traffic {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t := &traffic{stop: cancel, client: &http.Client{
		Timeout:   requestTimeout,
		Transport: &http.Transport{Proxy: nil, MaxIdleConnsPerHost: clients}, // all of it is on loopback
	}}
	if len(paths) > 0 { // of web services
		interval := intervalFor(len(paths), shifts)
		for n := range clients {
			t.done.Go(func() {
				select { // the clients take turns
				case <-ctx.Done():
				case <-time.After(time.Duration(n) * interval / clients):
				}
				t.run(ctx, base, paths, n, interval)
			})
		}
	}
	return t
}

func (t *traffic) run(ctx context.Context, base string, paths []string, n int, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		if err := t.get(ctx, base+paths[n%len(paths)]); err == nil {
			t.served.Add(1)
		} else if ctx.Err() == nil {
			t.failed.Add(1)
			text := err.Error()
			t.firstFailure.CompareAndSwap(nil, &text)
		}
		n++
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

func (t *traffic) get(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := t.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode >= http.StatusInternalServerError {
		return errors.New(url + " responded with status " + response.Status)
	}
	return nil
}

// count returns the results so far.
func (t *traffic) count() report.Traffic {
	return report.Traffic{Served: t.served.Load(), Failed: t.failed.Load()}
}

// close stops the clients and returns the results.
func (t *traffic) close() report.Traffic {
	t.stop()
	t.done.Wait()
	t.client.CloseIdleConnections()
	return t.count()
}
