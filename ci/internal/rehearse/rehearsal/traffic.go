package rehearsal

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"dagger/slipway/internal/report"
)

// The load: enough that a rollout of a few seconds sees a thousand requests,
// little enough that the machine has time for the rollout.
const (
	clients         = 4
	requestInterval = 5 * time.Millisecond
	requestTimeout  = 5 * time.Second
)

// traffic asks the system for pages while a release goes on, and counts.
type traffic struct {
	served, failed atomic.Int64
	firstFailure   atomic.Pointer[string]
	stop           context.CancelFunc
	done           sync.WaitGroup
	client         *http.Client
}

// startTraffic starts clients that ask for paths below base, one after the
// other, until stopped.
func startTraffic(ctx context.Context, base string, paths []string) *traffic {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t := &traffic{stop: cancel, client: &http.Client{
		Timeout:   requestTimeout,
		Transport: &http.Transport{Proxy: nil, MaxIdleConnsPerHost: clients}, // all of it is on loopback
	}}
	for n := range clients {
		t.done.Go(func() { t.run(ctx, base, paths, n) })
	}
	return t
}

func (t *traffic) run(ctx context.Context, base string, paths []string, n int) {
	ticker := time.NewTicker(requestInterval)
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
		return errors.New(url + " answers " + response.Status)
	}
	return nil
}

// count is what has flowed so far.
func (t *traffic) count() report.Traffic {
	return report.Traffic{Served: t.served.Load(), Failed: t.failed.Load()}
}

// end stops the clients and waits for them.
func (t *traffic) close() report.Traffic {
	t.stop()
	t.done.Wait()
	t.client.CloseIdleConnections()
	return t.count()
}
