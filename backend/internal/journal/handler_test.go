package journal

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// same checks that a record is written as by slog's own handler, and says
// whether it was plain.
func same(t *testing.T, record slog.Record) bool {
	t.Helper()
	var want bytes.Buffer
	require.NoError(t, slog.NewJSONHandler(&want, nil).Handle(context.Background(), record))
	var got bytes.Buffer
	journal := New(&got)
	require.NoError(t, journal.Logger(slog.LevelInfo).Handler().Handle(context.Background(), record))
	journal.Flush()
	require.Equal(t, want.String(), got.String())
	return New(&got).add(&record)
}

func recordOf(message string, attrs ...slog.Attr) slog.Record {
	record := slog.NewRecord(time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC), slog.LevelInfo, message, 0)
	record.AddAttrs(attrs...)
	return record
}

func TestLinesAreThoseOfSlog(t *testing.T) {
	zone := time.FixedZone("", 2*60*60)
	late, none := recordOf("x"), recordOf("x")
	late.Time, none.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Time{}
	elsewhere, odd := recordOf("x"), recordOf("x")
	elsewhere.Time, odd.Level = elsewhere.Time.In(zone), slog.LevelInfo+2
	long := string(bytes.Repeat([]byte("x"), longest))
	half := slog.String("a", long[:longest/2])
	tests := map[string]struct {
		record slog.Record
		plain  bool
	}{
		"a request": {recordOf("request",
			slog.String("request_id", "0b4a1f0e-6f6e-4f4e-9d8e-0d6e1d2c3b4a"), slog.String("trace_id", ""),
			slog.String("method", "GET"), slog.String("path", "/api/"), slog.Int("status", 200),
			slog.Float64("duration_ms", 0.123), slog.String("client", "203.0.113.7")), true},
		"nothing else":      {recordOf("x"), true},
		"another zone":      {elsewhere, true},
		"another level":     {odd, true},
		"numbers":           {recordOf("", slog.Int64("a", math.MinInt64), slog.Float64("b", 0), slog.Float64("c", -1.5), slog.Float64("d", 1e20)), true},
		"markup":            {recordOf("<a&b>", slog.String("<", ">'")), true},
		"with exponents":    {recordOf("x", slog.Float64("a", 1e21)), false},
		"tiny":              {recordOf("x", slog.Float64("a", 1e-7)), false},
		"a quote":           {recordOf("x", slog.String("a", `"`)), false},
		"a backslash":       {recordOf("x", slog.String("a", `\`)), false},
		"a line break":      {recordOf("x", slog.String("a", "\n")), false},
		"invalid UTF-8":     {recordOf("x", slog.String("a", "\xff")), false},
		"beyond ASCII":      {recordOf("x", slog.String("a", "é")), false},
		"message":           {recordOf("\n"), false},
		"key":               {recordOf("x", slog.String("\"", "")), false},
		"no key":            {recordOf("x", slog.Attr{}), false},
		"a group":           {recordOf("x", slog.Group("a", slog.Int("b", 1))), false},
		"an error":          {recordOf("x", slog.Any("error", errors.New("y"))), false},
		"duration":          {recordOf("x", slog.Duration("a", time.Second)), false},
		"no time":           {none, false},
		"far in the future": {late, false},
		"long":              {recordOf("x", slog.String("a", long)), false},
		"longer in all":     {recordOf("x", half, half, half, half, half, half, half, half, half, half, half, half, half, half, half, half), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { require.Equal(t, tt.plain, same(t, tt.record)) })
	}
}

func FuzzLine(f *testing.F) {
	f.Add("request", "path", "/api/", 200, 0.123, int64(1767323045678901234))
	f.Add("", "", "\xff\u2028\"\\\x7f", -1, 1e-9, int64(0))
	f.Fuzz(func(t *testing.T, message, key, text string, number int, fraction float64, nanoseconds int64) {
		if math.IsNaN(fraction) || math.IsInf(fraction, 0) {
			t.Skip("slog writes its own error for those, with Go's address of the type")
		}
		record := recordOf(message, slog.String(key, text), slog.Int("n", number), slog.Float64("f", fraction))
		record.Time = time.Unix(0, nanoseconds).UTC()
		same(t, record)
	})
}
