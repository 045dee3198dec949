package forwarded_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"slipway/backend/internal/forwarded"
)

func TestClient(t *testing.T) {
	const balancer = "10.0.1.5"
	tests := map[string]struct {
		peer  string
		hops  int
		lines []string
		want  string
	}{
		"no header":                 {balancer, 1, nil, balancer},
		"empty header":              {balancer, 1, []string{""}, balancer},
		"one hop":                   {balancer, 1, []string{"203.0.113.7"}, "203.0.113.7"},
		"forged before it":          {balancer, 1, []string{"127.0.0.1, 203.0.113.7"}, "203.0.113.7"},
		"forged in a line before":   {balancer, 1, []string{"127.0.0.1", "203.0.113.7"}, "203.0.113.7"},
		"no trust":                  {balancer, 0, []string{"203.0.113.7"}, balancer},
		"a stranger's header":       {"198.51.100.1", 1, []string{"203.0.113.7"}, "198.51.100.1"},
		"two hops":                  {balancer, 2, []string{"6.6.6.6, 203.0.113.7, 10.0.2.9"}, "203.0.113.7"},
		"two hops over two lines":   {balancer, 2, []string{"6.6.6.6, 203.0.113.7", "10.0.2.9"}, "203.0.113.7"},
		"fewer hops than told":      {balancer, 3, []string{"203.0.113.7"}, "203.0.113.7"},
		"with a port":               {balancer, 1, []string{"203.0.113.7:4711"}, "203.0.113.7"},
		"version 6":                 {balancer, 1, []string{"2001:db8::1"}, "2001:db8::1"},
		"version 6 with a port":     {balancer, 1, []string{"[2001:db8::1]:4711"}, "2001:db8::1"},
		"mapped":                    {"::ffff:10.0.1.5", 1, []string{"::ffff:203.0.113.7"}, "203.0.113.7"},
		"blanks":                    {balancer, 1, []string{"x,\t 203.0.113.7 "}, "203.0.113.7"},
		"malformed":                 {balancer, 1, []string{"203.0.113.7, unknown"}, balancer},
		"malformed further left":    {balancer, 2, []string{"<script>, 203.0.113.7"}, "203.0.113.7"},
		"a zone":                    {balancer, 1, []string{"fe80::1%eth0"}, balancer},
		"a line break":              {balancer, 1, []string{"203.0.113.7\n203.0.113.8"}, balancer},
		"nothing but commas":        {balancer, 1, []string{",,,"}, balancer},
		"much too long":             {balancer, 1, []string{strings.Repeat("1", 1<<16)}, balancer},
		"a very long chain":         {balancer, 1, []string{strings.Repeat("6.6.6.6,", 1<<12) + "203.0.113.7"}, "203.0.113.7"},
		"invalid UTF-8":             {balancer, 1, []string{"\xff\xfe"}, balancer},
		"octal":                     {balancer, 1, []string{"0203.0.113.7"}, balancer},
		"loopback, as in a sidecar": {"127.0.0.1", 1, []string{"203.0.113.7"}, "203.0.113.7"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, netip.MustParseAddr(tt.want), forwarded.ClientAddress(netip.MustParseAddr(tt.peer), bytesOf(tt.lines), tt.hops))
		})
	}
}

func bytesOf(lines []string) [][]byte {
	var all [][]byte
	for _, line := range lines {
		all = append(all, []byte(line))
	}
	return all
}

// FuzzClient checks that a client cannot choose its address: the proxy's entry is used.
func FuzzClient(f *testing.F) {
	f.Add("", 1)
	f.Add("6.6.6.6, 7.7.7.7", 1)
	f.Add("[::1]:80,\x00", 2)
	f.Add("::ffff:1.2.3.4%1,,", 9)
	f.Fuzz(func(t *testing.T, forged string, hops int) {
		peer, own := netip.MustParseAddr("10.0.1.5"), netip.MustParseAddr("203.0.113.7")
		for _, lines := range [][]string{{forged, own.String()}, {forged + "," + own.String()}} {
			require.Equal(t, own, forwarded.ClientAddress(peer, bytesOf(lines), 1))
			client := forwarded.ClientAddress(peer, bytesOf(lines), hops)
			require.True(t, client.IsValid())
			require.Empty(t, client.Zone())
			require.False(t, client.Is4In6())
		}
		require.Equal(t, own, forwarded.ClientAddress(own, bytesOf([]string{forged}), hops))
	})
}
