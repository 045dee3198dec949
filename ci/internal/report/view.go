package report

import (
	"fmt"
	"io"
	"strings"
	"sync"
)

// Plain is a view for logs: one line a line, and no status.
type Plain struct{ W io.Writer }

// Line writes one line.
func (p Plain) Line(text string) { fmt.Fprintln(p.W, text) }

// Status writes nothing: a log has no place for what does not stay.
func (Plain) Status([]string) {}

// Close does nothing.
func (Plain) Close() {}

// Live is a view for terminals: lines scroll by above a status block that is
// drawn again and again.
type Live struct {
	w     io.Writer
	width func() int

	mu     sync.Mutex
	status []string
	drawn  int // lines of status on the screen
}

// NewLive draws on w, a terminal that is width columns wide.
func NewLive(w io.Writer, width func() int) *Live {
	return &Live{w: w, width: width}
}

// Line writes one line above the status.
func (l *Live) Line(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draw(text + "\n")
}

// Status replaces the status.
func (l *Live) Status(lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status = lines
	l.draw("")
}

// Close takes the status off the screen.
func (l *Live) Close() { l.Status(nil) }

// Control sequences of ECMA-48.
const (
	cursorUp   = "\x1b[%dA"
	clearBelow = "\r\x1b[J"
	dim        = "\x1b[2m"
	normal     = "\x1b[0m"
)

// draw writes text where the status stood, and the status below it, in one
// write so that nothing flickers.
func (l *Live) draw(text string) {
	var frame strings.Builder
	if l.drawn > 0 {
		fmt.Fprintf(&frame, cursorUp, l.drawn)
		frame.WriteString(clearBelow)
	}
	frame.WriteString(text)
	width := l.width()
	for _, line := range l.status {
		frame.WriteString(dim + clip(line, width) + normal + "\n")
	}
	l.drawn = len(l.status)
	io.WriteString(l.w, frame.String())
}

// clip shortens a line to the width of the terminal: a wrapped line would
// spoil the count of lines to go up.
func clip(line string, width int) string {
	runes := []rune(line)
	if width < 2 || len(runes) < width {
		return line
	}
	return string(runes[:width-2]) + "…"
}
