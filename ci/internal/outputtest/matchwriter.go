// Package outputtest lets tests listen to what a program says.
package outputtest

import (
	"bytes"
	"regexp"
	"sync"
)

// Listener is a writer that keeps what is written to it, and tells once that a
// pattern has come. It is safe for concurrent use.
type MatchWriter struct {
	pattern *regexp.Regexp

	mu      sync.Mutex
	onMatch func(match []string) // nil once it was told
	text    bytes.Buffer
}

// New listens for a pattern. heard is called while it is written, with the first
// match and its groups.
func NewMatchWriter(pattern string, onMatch func(match []string)) *MatchWriter {
	return &MatchWriter{pattern: regexp.MustCompile(pattern), onMatch: onMatch}
}

func (l *MatchWriter) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(data)
	if l.onMatch == nil {
		return len(data), nil
	}
	if match := l.pattern.FindStringSubmatch(l.text.String()); match != nil {
		l.onMatch(match)
		l.onMatch = nil
	}
	return len(data), nil
}

// String is all that was said so far.
func (l *MatchWriter) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
