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
	// NoColor draws without colours and without a look: https://no-color.org.
	NoColor bool

	w     io.Writer
	width func() int

	mu     sync.Mutex
	status []string
	drawn  []int // columns of each line of status on the screen
}

// NewLive draws on w, a terminal that is width columns wide; 0 where nobody knows.
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
	width := l.width()
	if rows := l.rows(width); rows > 0 {
		fmt.Fprintf(&frame, cursorUp, rows)
		frame.WriteString(clearBelow)
	}
	frame.WriteString(text)
	l.drawn = nil
	for _, line := range l.status {
		line = clip(line, width)
		l.drawn = append(l.drawn, len([]rune(line)))
		if !l.NoColor {
			line = dim + line + normal
		}
		frame.WriteString(line + "\n")
	}
	io.WriteString(l.w, frame.String())
}

// rows is how many rows the status takes. A terminal that was made narrower since it
// was drawn has wrapped it.
func (l *Live) rows(width int) int {
	rows := len(l.drawn)
	for _, columns := range l.drawn {
		if width > 0 && columns > width {
			rows += (columns - 1) / width
		}
	}
	return rows
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
