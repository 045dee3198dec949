// Package outputtest lets tests wait for the output of a program.
package outputtest

import (
	"bytes"
	"regexp"
	"sync"
)

// MatchWriter is a writer that keeps its input and calls a function once a pattern
// matches. It is safe for concurrent use.
type MatchWriter struct {
	pattern *regexp.Regexp

	mu      sync.Mutex
	onMatch func(match []string) // nil once it was called
	text    bytes.Buffer
}

// NewMatchWriter returns a writer that calls onMatch, during Write, with the first match
// of a pattern and its groups.
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

// String returns everything written so far.
func (l *MatchWriter) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
