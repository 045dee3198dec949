package identity

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNewWithValues(t *testing.T) {
	before := time.Now()
	instance := New("web-1", "v7")
	require.Equal(t, "web-1", instance.Hostname)
	require.Equal(t, "v7", instance.Version)
	require.NotNil(t, net.ParseIP(instance.IP()).To4())
	require.WithinRange(t, instance.StartedAt, before, time.Now())
	require.Equal(t, time.UTC, instance.StartedAt.Location())
}

func TestNewWithDefaults(t *testing.T) {
	hostname, err := os.Hostname()
	require.NoError(t, err)
	instance := New("", "")
	require.Equal(t, hostname, instance.Hostname)
	require.NotEmpty(t, instance.Version)
}

func TestVersion(t *testing.T) {
	tests := map[string]struct {
		info *debug.BuildInfo
		want string
	}{
		"no build info": {nil, "dev"},
		"working tree":  {&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "dev"},
		"unset":         {&debug.BuildInfo{}, "dev"},
		"released":      {&debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}, "v1.2.3"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, buildVersion(test.info)) })
	}
}

func TestLookupHostname(t *testing.T) {
	tests := map[string]struct {
		name string
		err  error
		want string
	}{
		"known":   {"web-1", nil, "web-1"},
		"empty":   {"", nil, "unknown"},
		"failing": {"", errors.New("no /proc"), "unknown"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, lookupHostname("unknown", func() (string, error) { return test.name, test.err }))
		})
	}
}

func TestFirstIPv4(t *testing.T) {
	cidr := func(s string) net.Addr {
		ip, network, err := net.ParseCIDR(s)
		require.NoError(t, err)
		return &net.IPNet{IP: ip, Mask: network.Mask}
	}
	tests := map[string]struct {
		addresses []net.Addr
		want      string
	}{
		"none":            {nil, "127.0.0.1"},
		"loopback only":   {[]net.Addr{cidr("127.0.0.1/8"), cidr("::1/128")}, "127.0.0.1"},
		"passes over v6":  {[]net.Addr{cidr("127.0.0.1/8"), cidr("2001:db8::1/64"), cidr("10.0.10.7/24")}, "10.0.10.7"},
		"Fargate":         {[]net.Addr{cidr("169.254.172.2/22"), cidr("10.0.11.9/24")}, "10.0.11.9"},
		"first of two":    {[]net.Addr{cidr("10.0.0.1/24"), cidr("10.0.0.2/24")}, "10.0.0.1"},
		"other addresses": {[]net.Addr{&net.UnixAddr{Name: "x"}}, "127.0.0.1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, firstIPv4(test.addresses)) })
	}
}

// exampleResponse is the documentation's example, shortened.
const exampleResponse = `{"DockerId": "cd189a933e5849daa93386466019ab50-2495160603", "Name": "curl",
	"Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": ["192.0.2.3"], "AttachmentIndex": 0}],
	"Limits": {"CPU": 10, "Memory": 128}}`

func TestResolve(t *testing.T) {
	tests := map[string]struct {
		status int
		body   string
		ip     string
		err    string
	}{
		"Fargate":        {200, exampleResponse, "192.0.2.3", ""},
		"v6 comes first": {200, `{"Networks":[{"IPv4Addresses":["2001:db8::1"]},{"IPv4Addresses":["10.0.0.9"]}]}`, "10.0.0.9", ""},
		"no networks":    {200, `{}`, "", "the response has no IPv4 address"},
		"nonsense":       {200, `{"Networks":[{"IPv4Addresses":["<script>"]}]}`, "", "the response has no IPv4 address"},
		"not JSON":       {200, `<html>`, "", "decoding the response"},
		"endless":        {200, `{"Name":"` + strings.Repeat("x", metadataLimit) + `"}`, "", "decoding the response"},
		"refused":        {403, ``, "", "status 403 Forbidden"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.body))
			}))
			defer endpoint.Close()
			instance := New("web-1", "v7")
			host := instance.IP()
			err := instance.Resolve(t.Context(), endpoint.URL)
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				require.ErrorContains(t, err, endpoint.URL)
				require.Equal(t, host, instance.IP(), "an error must leave the host's address in place")
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.ip, instance.IP())
		})
	}
}

func TestResolveWithoutECS(t *testing.T) {
	instance := New("web-1", "v7")
	host := instance.IP()
	require.NoError(t, instance.Resolve(t.Context(), ""))
	require.Equal(t, host, instance.IP())
}

func TestResolveBadEndpoint(t *testing.T) {
	instance := New("web-1", "v7")
	require.Error(t, instance.Resolve(t.Context(), "http://bad host/"))
	require.Error(t, instance.Resolve(t.Context(), "ftp://127.0.0.1/"))
}

// silentEndpoint starts an endpoint that never responds.
func silentEndpoint(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	return "http://" + ln.Addr().String()
}

func TestResolveTimeout(t *testing.T) {
	start := time.Now()
	err := New("web-1", "v7").Resolve(t.Context(), silentEndpoint(t))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.GreaterOrEqual(t, time.Since(start), metadataTimeout)
}

func TestResolveContextCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, New("web-1", "v7").Resolve(ctx, silentEndpoint(t)), context.Canceled)
}
