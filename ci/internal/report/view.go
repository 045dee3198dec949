package report

import (
	"fmt"
	"io"
	"strings"
	"sync"
)

// Plain is a view for logs: lines without a status.
type Plain struct{ W io.Writer }

// Line writes a line.
func (p Plain) Line(text string) { fmt.Fprintln(p.W, Printable(text)) }

// Status does nothing.
func (Plain) Status([]string) {}

// Close does nothing.
func (Plain) Close() {}

// Live is a view for terminals: lines scroll above the status lines, which are redrawn.
type Live struct {
	// NoColor turns colors and styles off: https://no-color.org.
	NoColor bool

	w     io.Writer
	width func() int

	mu     sync.Mutex
	status []string
	drawn  []int // columns of each status line on the screen
}

// NewLive returns a view on w, a terminal of width columns; 0 if the width is unknown.
func NewLive(w io.Writer, width func() int) *Live {
	return &Live{w: w, width: width}
}

// Line writes a line above the status.
func (l *Live) Line(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draw(Printable(text) + "\n")
}

// Status replaces the status lines.
func (l *Live) Status(lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status = nil
	for _, line := range lines {
		l.status = append(l.status, Printable(line))
	}
	l.draw("")
}

// Close removes the status lines.
func (l *Live) Close() { l.Status(nil) }

// Control sequences of ECMA-48.
const (
	cursorUp   = "\x1b[%dA"
	clearBelow = "\r\x1b[J"
	dim        = "\x1b[2m"
	normal     = "\x1b[0m"
)

// draw replaces the status on the screen by text and the current status, in one write
// so that it does not flicker.
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

// rows returns how many rows the status takes. It wraps if the terminal was made
// narrower since it was drawn.
func (l *Live) rows(width int) int {
	rows := len(l.drawn)
	for _, columns := range l.drawn {
		if width > 0 && columns > width {
			rows += (columns - 1) / width
		}
	}
	return rows
}

// clip shortens a line to the width of the terminal, so that it does not wrap.
func clip(line string, width int) string {
	runes := []rune(line)
	if width < 2 || len(runes) < width {
		return line
	}
	return string(runes[:width-2]) + "…"
}
