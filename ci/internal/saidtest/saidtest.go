// Package saidtest lets tests listen to what a program says.
package saidtest

import (
	"bytes"
	"regexp"
	"sync"
)

// Listener is a writer that keeps what is written to it, and tells once that a
// pattern has come. It is safe for concurrent use.
type Listener struct {
	pattern *regexp.Regexp

	mu    sync.Mutex
	heard func(match []string) // nil once it was told
	text  bytes.Buffer
}

// New listens for a pattern. heard is called while it is written, with the first
// match and its groups.
func New(pattern string, heard func(match []string)) *Listener {
	return &Listener{pattern: regexp.MustCompile(pattern), heard: heard}
}

func (l *Listener) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(data)
	if l.heard == nil {
		return len(data), nil
	}
	if match := l.pattern.FindStringSubmatch(l.text.String()); match != nil {
		l.heard(match)
		l.heard = nil
	}
	return len(data), nil
}

// String is all that was said so far.
func (l *Listener) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
