// Package journal is the log: JSON, one object a line, written in batches.
//
// A write to the operating system costs as much as the rest of a request does.
// So lines wait for each other for a moment, except for those that somebody is
// waiting for: warnings and errors.
package journal

import (
	"io"
	"log/slog"
	"sync"
	"time"
)

const (
	// patience is how long a line waits at most.
	patience = 50 * time.Millisecond
	// capacity is how many bytes wait at most. It bounds the memory: when it is
	// reached, whoever logs has to wait until they are written.
	capacity = 32 << 10
)

// Journal collects lines. It is safe for concurrent use.
//
// Whoever makes one must Flush it before the process ends. A goroutine that may
// panic does so itself, deferred, because the process ends with it. What a line
// costs that is lost on SIGKILL is known: it is no older than patience.
type Journal struct {
	mu      sync.Mutex
	out     io.Writer
	waiting []byte
	timer   *time.Timer
}

// New makes a journal that writes to out, never more than one batch at a time.
// Only whole lines are written, so what else ends up there never stands in the
// middle of one.
func New(out io.Writer) *Journal {
	j := &Journal{out: out, waiting: make([]byte, 0, capacity)}
	j.timer = time.AfterFunc(patience, j.Flush)
	j.timer.Stop()
	return j
}

// Logger writes lines of a level and above to the journal.
func (j *Journal) Logger(level slog.Leveler) *slog.Logger {
	return slog.New(&handler{Handler: slog.NewJSONHandler(j, &slog.HandlerOptions{Level: level}), journal: j, plain: true})
}

// Write takes a line. What it returns is not what becomes of it: there is
// nobody to tell when the log cannot be written.
func (j *Journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.waiting)+len(line) > capacity {
		j.write()
	}
	if len(line) > capacity {
		_, _ = j.out.Write(line)
		return len(line), nil
	}
	j.take(append(j.waiting, line...))
	return len(line), nil
}

// take replaces what waits by the same with another line behind.
func (j *Journal) take(waiting []byte) {
	if len(j.waiting) == 0 {
		j.timer.Reset(patience)
	}
	j.waiting = waiting
}

// Flush writes what waits. It returns when that has arrived.
func (j *Journal) Flush() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.write()
}

// write drops what cannot be written, so that the next batch has its chance.
func (j *Journal) write() {
	j.timer.Stop()
	if len(j.waiting) > 0 {
		_, _ = j.out.Write(j.waiting)
		j.waiting = j.waiting[:0]
	}
}
