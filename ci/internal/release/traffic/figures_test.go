package traffic_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/release/traffic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCompare(t *testing.T) {
	figures := func(requests, errors int, p90 time.Duration) traffic.Figures {
		return traffic.Figures{Requests: requests, Errors: errors, P90: p90}
	}
	const ms = time.Millisecond
	errorsWorse, slower := "percentage point above it", "more than twice and more than 200ms longer"
	for name, tt := range map[string]struct {
		previous, current traffic.Figures
		want              string
	}{
		"no traffic":                          {},
		"no requests to the new version":      {figures(1000, 0, 50*ms), figures(0, 0, 0), ""},
		"49 requests, all failed":             {figures(1000, 0, 50*ms), figures(49, 49, 9*time.Second), ""},
		"50 requests, all failed":             {figures(1000, 0, 50*ms), figures(50, 50, 50*ms), "the new version answered 50 of 50 requests (100.0 %) with 5xx, the previous one 0 of 1000 requests (0.0 %): more than 1 percentage point above it"},
		"2 failed":                            {figures(1000, 0, 50*ms), figures(50, 2, 50*ms), ""},
		"3 failed":                            {figures(1000, 0, 50*ms), figures(50, 3, 50*ms), errorsWorse},
		"3 failed of many":                    {figures(1000, 0, 50*ms), figures(300, 3, 50*ms), ""},
		"4 failed of 300":                     {figures(1000, 0, 50*ms), figures(300, 4, 50*ms), errorsWorse},
		"both fail alike":                     {figures(1000, 200, 50*ms), figures(100, 21, 50*ms), ""},
		"exactly a percentage point":          {figures(1000, 10, 50*ms), figures(1000, 20, 50*ms), ""},
		"more than a percentage point":        {figures(1000, 10, 50*ms), figures(1000, 21, 50*ms), errorsWorse},
		"better":                              {figures(1000, 100, 900*ms), figures(1000, 0, 50*ms), ""},
		"the previous one had no request":     {figures(0, 0, 0), figures(1000, 11, 9*time.Second), errorsWorse},
		"no comparison of times without one":  {figures(0, 0, 0), figures(1000, 0, 9*time.Second), ""},
		"nor with 49 requests":                {figures(49, 0, 50*ms), figures(1000, 0, 9*time.Second), ""},
		"twice as slow":                       {figures(50, 0, 300*ms), figures(50, 0, 600*ms), ""},
		"more than twice as slow":             {figures(50, 0, 300*ms), figures(50, 0, 601*ms), "the new version answers 90 % of requests within 601ms, the previous one within 300ms: more than twice and more than 200ms longer"},
		"three times as slow by less":         {figures(50, 0, 50*ms), figures(50, 0, 150*ms), ""},
		"by 200 ms":                           {figures(50, 0, 50*ms), figures(50, 0, 250*ms), ""},
		"by more than 200 ms":                 {figures(50, 0, 50*ms), figures(50, 0, 251*ms), slower},
		"slower by 500 ms, but not twice":     {figures(50, 0, time.Second), figures(50, 0, 1500*ms), ""},
		"both worse: the errors are reported": {figures(50, 0, 50*ms), figures(50, 50, time.Second), errorsWorse},
	} {
		got := traffic.Compare(tt.previous, tt.current)
		if tt.want == "" {
			require.Empty(t, got, name)
		} else {
			require.Contains(t, got, tt.want, name)
		}
	}
}
