package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// output keeps each write by itself.
type output struct {
	mu     sync.Mutex
	writes []string
	err    error
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writes = append(o.writes, string(p))
	return len(p), o.err
}

func (o *output) batches() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.writes
}

// messages are those of the lines of a batch, each of which must be whole.
func messages(t *testing.T, batch string) []string {
	t.Helper()
	var all []string
	require.True(t, strings.HasSuffix(batch, "\n"))
	for line := range strings.Lines(batch) {
		var fields struct{ Msg string }
		require.NoError(t, json.Unmarshal([]byte(line), &fields), line)
		all = append(all, fields.Msg)
	}
	return all
}

func TestLinesWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out output
		log := New(&out).Logger(slog.LevelInfo)
		log.Info("one")
		time.Sleep(patience - time.Millisecond)
		log.Info("two")
		log.Debug("not asked for")
		synctest.Wait()
		require.Empty(t, out.batches())
		time.Sleep(time.Millisecond) // one has waited long enough
		synctest.Wait()
		require.Len(t, out.batches(), 1)
		require.Equal(t, []string{"one", "two"}, messages(t, out.batches()[0]))

		time.Sleep(time.Hour) // nothing to write
		log.Info("three")
		require.Len(t, out.batches(), 1)
		time.Sleep(patience)
		synctest.Wait()
		require.Len(t, out.batches(), 2)
		require.Equal(t, []string{"three"}, messages(t, out.batches()[1]))
	})
}

func TestWarningsDoNotWait(t *testing.T) {
	for _, level := range []slog.Level{slog.LevelWarn, slog.LevelError} {
		for name, derive := range map[string]func(*slog.Logger) *slog.Logger{
			"plain":           func(log *slog.Logger) *slog.Logger { return log },
			"with attributes": func(log *slog.Logger) *slog.Logger { return log.With("a", 1) },
			"with a group":    func(log *slog.Logger) *slog.Logger { return log.WithGroup("g") },
		} {
			t.Run(level.String()+" "+name, func(t *testing.T) {
				var out output
				log := derive(New(&out).Logger(slog.LevelInfo))
				log.Info("before")
				require.Empty(t, out.batches())
				log.Log(t.Context(), level, "now")
				require.Len(t, out.batches(), 1)
				require.Equal(t, []string{"before", "now"}, messages(t, out.batches()[0]))
			})
		}
	}
}

// TestNothingIsLost has the journal flushed as it is before the process ends,
// by its end or by a panic.
func TestNothingIsLost(t *testing.T) {
	var out output
	journal := New(&out)
	require.Panics(t, func() {
		defer journal.Flush()
		journal.Logger(slog.LevelInfo).Info("the last words")
		panic("x")
	})
	require.Equal(t, []string{"the last words"}, messages(t, out.batches()[0]))
	journal.Flush()
	require.Len(t, out.batches(), 1, "there is nothing left to write")
}

func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out output
		journal := New(&out)
		log := journal.Logger(slog.LevelInfo)
		const lines = 2000
		for n := range lines {
			log.Info(fmt.Sprint(n), slog.String("padding", strings.Repeat("x", n%200)))
		}
		require.LessOrEqual(t, cap(journal.waiting), capacity)
		log.Info("long", slog.String("padding", strings.Repeat("x", 3*capacity)))
		journal.Flush()
		next := 0
		for _, batch := range out.batches() {
			for _, message := range messages(t, batch) {
				if next < lines {
					require.Equal(t, fmt.Sprint(next), message)
				} else {
					require.Equal(t, "long", message)
				}
				next++
			}
		}
		require.Equal(t, lines+1, next)
		require.Equal(t, capacity, cap(journal.waiting))
	})
}

func TestManyAtOnce(t *testing.T) {
	var out output
	journal := New(&out)
	log := journal.Logger(slog.LevelInfo)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 500 {
				log.Info("x")
			}
			log.Warn("x")
		})
	}
	all.Wait()
	journal.Flush()
	count := 0
	for _, batch := range out.batches() {
		count += len(messages(t, batch))
	}
	require.Equal(t, 8*501, count)
}

// TestAWriteThatFails loses what could not be written, and nothing after it.
func TestAWriteThatFails(t *testing.T) {
	out := output{err: errors.New("no space left")}
	log := New(&out).Logger(slog.LevelInfo)
	log.Warn("lost")
	out.err = nil
	log.Warn("written")
	require.Len(t, out.batches(), 2)
	require.Equal(t, []string{"written"}, messages(t, out.batches()[1]))
}

func BenchmarkLine(b *testing.B) {
	b.ReportAllocs()
	log := New(discard{}).Logger(slog.LevelInfo)
	for b.Loop() {
		log.LogAttrs(b.Context(), slog.LevelInfo, "request", slog.String("path", "/api/"), slog.Int("status", 200))
	}
}

// discard is not io.Discard, for which slog does nothing at all.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
