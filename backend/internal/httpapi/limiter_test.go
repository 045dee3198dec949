package httpapi

import (
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLimit(t *testing.T) {
	s, logged := newServer(t, func(o *Options) { o.RateLimit, o.RateBurst = 1, 3 })
	r := run(t, s)
	as := func(target, client string) answer {
		return askOver(t, r, http.MethodGet, target, "X-Forwarded-For", client)
	}
	// Where the other addresses come from is the client's own invention.
	for n := range 3 {
		require.Equal(t, 200, as("/api/", fmt.Sprintf("198.51.100.%d, 203.0.113.7", n)).StatusCode)
	}
	resp := as("/api/", "198.51.100.9, 203.0.113.7")
	require.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
	require.Equal(t, "1", resp.Header.Get("Retry-After"))
	require.Equal(t, map[string]any{"error": "too many requests", "request_id": resp.Header.Get("X-Request-ID")}, resp.json(t))
	lines := logged.lines(t, "request")
	require.Equal(t, "203.0.113.7", lines[3]["client"])
	require.InDelta(t, 429, lines[3]["status"], 0)
	require.EqualValues(t, 1, s.meter.limited.Get())

	require.Equal(t, 200, as("/api/", "203.0.113.8").StatusCode, "another client")
	require.Equal(t, 200, as("/health", "203.0.113.7").StatusCode, "not below /api")
	for range 10 {
		require.Equal(t, 200, as("/api/", "127.0.0.1").StatusCode, "this host itself")
	}
}

func TestLimiterTellsHouseholdsApart(t *testing.T) {
	l := newLimiter(1, 1)
	tests := []struct {
		client string
		want   bool
	}{
		{"2001:db8:0:1::1", true},
		{"2001:db8:0:1::2", false},
		{"2001:db8:0:2::1", true},
		{"203.0.113.7", true},
		{"203.0.113.8", true},
		{"203.0.113.7", false},
	}
	for _, tt := range tests {
		require.Equal(t, tt.want, l.allow(netip.MustParseAddr(tt.client)), tt.client)
	}
	require.Equal(t, netip.Addr{}, household(netip.Addr{}))
}

func TestLimiterIsBounded(t *testing.T) {
	l := newLimiter(1, 1)
	client := netip.MustParseAddr("10.0.0.0")
	for range 2 * remembered {
		client = client.Next()
		require.True(t, l.allow(client))
	}
	require.Equal(t, remembered, l.buckets.Len())
}

func TestLimiterAtOnce(t *testing.T) {
	l := newLimiter(1, 10)
	var admitted atomic.Int64
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if l.allow(netip.MustParseAddr("203.0.113.7")) {
				admitted.Add(1)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 10, admitted.Load())
}
