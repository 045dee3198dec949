package scheduler

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestExpression(t *testing.T) {
	start := time.Date(2026, 1, 30, 12, 0, 30, 0, time.UTC) // a Friday
	for text, want := range map[string][]string{
		"rate(5 minutes)":             {"2026-01-30T12:00:30Z", "2026-01-30T12:05:30Z"},
		"rate(1 day)":                 {"2026-01-30T12:00:30Z", "2026-01-31T12:00:30Z"},
		"at(2026-02-01T10:00:00)":     {"2026-02-01T10:00:00Z"},
		"at(2026-01-01T10:00:00)":     nil,
		"cron(0 3 * * ? *)":           {"2026-01-31T03:00:00Z", "2026-02-01T03:00:00Z"},
		"cron(*/20 12-13 ? * * *)":    {"2026-01-30T12:20:00Z", "2026-01-30T12:40:00Z", "2026-01-30T13:00:00Z"},
		"cron(/20 12-13 ? * * *)":     {"2026-01-30T12:20:00Z", "2026-01-30T12:40:00Z", "2026-01-30T13:00:00Z"},
		"cron(5/30 0 1,15 * ? *)":     {"2026-02-01T00:05:00Z", "2026-02-01T00:35:00Z", "2026-02-15T00:05:00Z"},
		"cron(0 9 ? * MON-FRI *)":     {"2026-02-02T09:00:00Z", "2026-02-03T09:00:00Z"},
		"cron(0 9 ? * SAT-SUN *)":     {"2026-01-31T09:00:00Z", "2026-02-01T09:00:00Z"},
		"cron(0 9 ? MAR L 2027)":      {"2027-03-06T09:00:00Z", "2027-03-13T09:00:00Z"},
		"cron(0 9 ? * 6L *)":          {"2026-02-27T09:00:00Z", "2026-03-27T09:00:00Z"},
		"cron(0 9 ? * TUE#2 *)":       {"2026-02-10T09:00:00Z", "2026-03-10T09:00:00Z"},
		"cron(0 9 L * ? *)":           {"2026-01-31T09:00:00Z", "2026-02-28T09:00:00Z"},
		"cron(0 9 L-2 * ? *)":         {"2026-02-26T09:00:00Z", "2026-03-29T09:00:00Z"},
		"cron(0 9 LW * ? *)":          {"2026-02-27T09:00:00Z", "2026-03-31T09:00:00Z"},
		"cron(0 9 1W * ? *)":          {"2026-02-02T09:00:00Z", "2026-03-02T09:00:00Z"},
		"cron(0 9 30W JAN,MAY ? *)":   {"2026-05-29T09:00:00Z"},
		"cron(0 0 29 2 ? *)":          {"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"},
		"cron(0 0 1 1 ? 2025)":        nil,
		"cron(0 0 1 1 ? 2030-2031)":   {"2030-01-01T00:00:00Z", "2031-01-01T00:00:00Z"},
		"cron(59 23 31 DEC ? 2026/2)": {"2026-12-31T23:59:00Z", "2028-12-31T23:59:00Z"},
	} {
		t.Run(text, func(t *testing.T) {
			parsed, err := parseExpression(text, time.UTC)
			require.NoError(t, err)
			after := start.Add(-time.Nanosecond)
			for _, moment := range want {
				at, ok := parsed.next(after, start)
				require.True(t, ok)
				require.Equal(t, moment, at.Format(time.RFC3339))
				after = at
			}
			if len(want) < 2 && text[0] != 'c' || len(want) == 0 {
				_, ok := parsed.next(after, start)
				require.False(t, ok)
			}
		})
	}
	for _, text := range []string{
		"", "5 minutes", "rate(0 minutes)", "rate(1 week)", "rate(1.5 hours)", "at(2026-02-30T10:00:00)", "at(tomorrow)", "cron(0 3 * * *)",
		"cron(0 3 * * * *)", "cron(0 3 ? * ? *)", "cron(60 3 * * ? *)", "cron(0 24 * * ? *)", "cron(0 3 32 * ? *)", "cron(0 3 * 13 ? *)",
		"cron(0 3 ? * 8 *)", "cron(0 3 ? * MON#6 *)", "cron(0 3 ? * X#1 *)", "cron(0 3 ? * 9L *)", "cron(0 3 40W * ? *)", "cron(0/0 3 * * ? *)", "cron(0-x 3 * * ? *)", "cron(0 3 L-31 * ? *)", "cron(0 3 L-x * ? *)", "cron(0 3 * * ? 2200)", "cron(0 3 * * ? 2026,7)",
	} {
		_, err := parseExpression(text, time.UTC)
		require.Error(t, err, text)
	}
}
