package httpapi

import (
	"fmt"
	"net/http"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRateLimit(t *testing.T) {
	s, logged := newServer(t, func(o *Options) { o.RateLimit, o.RateBurst = 1, 60 })
	r := run(t, s)
	as := func(target, client string) response {
		return sendOver(t, r, http.MethodGet, target, "X-Forwarded-For", client)
	}
	// The client chooses the other addresses.
	for n := range 60 {
		require.Equal(t, 200, as("/api/", fmt.Sprintf("198.51.100.%d, 203.0.113.7", n)).StatusCode)
	}
	resp := as("/api/", "198.51.100.99, 203.0.113.7")
	require.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
	require.Regexp(t, `^([1-9]|[1-5][0-9]|60)$`, resp.Header.Get("Retry-After"))
	require.Equal(t, map[string]any{"error": "too many requests", "request_id": resp.Header.Get("X-Request-ID")}, resp.json(t))
	last := logged.withMessage(t, "request")[60]
	require.Equal(t, "203.0.113.7", last["client"])
	require.InDelta(t, 429, last["status"], 0)
	require.EqualValues(t, 1, s.metrics.rateLimited.Get())

	require.Equal(t, 200, as("/api/", "203.0.113.8").StatusCode, "another client")
	require.Equal(t, 200, as("/health", "203.0.113.7").StatusCode, "not below /api")
	for range 100 {
		require.Equal(t, 200, as("/api/", "127.0.0.1").StatusCode, "this host itself")
	}
}

// TestLimitAtLeastConfigured has a burst that is smaller than the rate, or not a multiple
// of it: clients may still make requests at the full rate.
func TestLimitAtLeastConfigured(t *testing.T) {
	for burst, most := range map[int]int{1: 100, 100: 100, 101: 200, 250: 300} {
		s, _ := newServer(t, func(o *Options) { o.RateLimit, o.RateBurst = 100, burst })
		header := send(t, s, http.MethodGet, "/api/", "X-Forwarded-For", "203.0.113.7").Header
		require.Equal(t, fmt.Sprint(most), header.Get("X-RateLimit-Limit"), burst)
		require.Equal(t, fmt.Sprint(most/100), header.Get("X-RateLimit-Reset"), burst)
	}
}

func TestRateLimitKey(t *testing.T) {
	for client, want := range map[string]string{
		"2001:db8:0:1::1": "2001:db8:0:1::",
		"2001:db8:0:1::2": "2001:db8:0:1::",
		"2001:db8:0:2::1": "2001:db8:0:2::",
		"203.0.113.7":     "203.0.113.7",
	} {
		require.Equal(t, want, rateLimitKey(netip.MustParseAddr(client)).String())
	}
	require.Equal(t, netip.Addr{}, rateLimitKey(netip.Addr{}))
}
