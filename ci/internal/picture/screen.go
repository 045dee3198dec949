package picture

import (
	"context"
	"errors"
	"fmt"
	"image/color"
	"os"
	"os/exec"
	"regexp"
	"strings"

	"github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
)

// Screen is what a terminal shows: rows of pieces of one look each, without the
// empty rows at the end.
type Screen [][]Piece

// Piece is text of one look, and where it begins.
type Piece struct {
	Text          string
	Column, Width int
	Colour        string // such as "#56d364"; "" for the terminal's own
	Bold, Faint   bool
}

// Text is the screen without its look.
func (s Screen) Text() string {
	var b strings.Builder
	for _, row := range s {
		end := 0
		for _, p := range row {
			b.WriteString(strings.Repeat(" ", p.Column-end) + p.Text)
			end = p.Column + p.Width
		}
		b.WriteString("\n")
	}
	return b.String()
}

// errMissed is told when a program ended before its moment.
var errMissed = errors.New("the moment to take a picture never came")

// Record runs a command in a terminal of this size. It returns what the terminal
// showed the first time that moment was true of it, and at the end.
func Record(ctx context.Context, command *exec.Cmd, columns, rows int, moment func(Screen) bool) (during, after Screen, err error) {
	terminal, err := pty.StartWithSize(command, &pty.Winsize{Cols: uint16(columns), Rows: uint16(rows)})
	if err != nil {
		return nil, nil, fmt.Errorf("starting %s in a terminal: %w", command.Path, err)
	}
	defer terminal.Close()
	stop := context.AfterFunc(ctx, func() { _ = command.Process.Signal(os.Interrupt) }) // it may have ended
	defer stop()
	emulator := vt.NewEmulator(columns, rows)
	buffer := make([]byte, 32<<10)
	for {
		n, readErr := terminal.Read(buffer)
		for _, frame := range frames(buffer[:n]) {
			if _, err := emulator.Write(frame); err != nil {
				return nil, nil, fmt.Errorf("showing what %s prints: %w", command.Path, err)
			}
			after = look(emulator)
			if during == nil && moment(after) {
				during = after
			}
		}
		if readErr != nil { // Linux says EIO when the other end is closed
			break
		}
	}
	if err := command.Wait(); err != nil {
		return nil, nil, fmt.Errorf("running %s: %w:\n%s", command.Path, err, after.Text())
	}
	if during == nil {
		return nil, nil, fmt.Errorf("%w of %s:\n%s", errMissed, command.Path, after.Text())
	}
	return during, after, ctx.Err()
}

// redraw begins a frame: the cursor goes up, to write over what is there.
var redraw = regexp.MustCompile(`\x1b\[\d+A`)

// frames cuts what a program has printed before each frame that it draws: on a slow
// machine several are read at once.
func frames(printed []byte) [][]byte {
	var list [][]byte
	begin := 0
	for _, at := range redraw.FindAllIndex(printed, -1) {
		list = append(list, printed[begin:at[0]])
		begin = at[0]
	}
	return append(list, printed[begin:])
}

// look is what the emulator shows.
func look(emulator *vt.Emulator) Screen {
	var s Screen
	for y := range emulator.Height() {
		var row []Piece
		for x := 0; x < emulator.Width(); {
			cell := emulator.CellAt(x, y)
			if cell == nil || cell.Width == 0 {
				x++
				continue
			}
			piece := Piece{
				Text: cell.Content, Column: x, Width: cell.Width, Colour: hex(emulator, cell.Style.Fg),
				Bold: cell.Style.Attrs&uv.AttrBold != 0, Faint: cell.Style.Attrs&uv.AttrFaint != 0,
			}
			x += cell.Width
			if n := len(row) - 1; n >= 0 && row[n].continues(piece) {
				row[n].Text += piece.Text
				row[n].Width += piece.Width
				continue
			}
			row = append(row, piece)
		}
		s = append(s, trimmed(row))
	}
	for len(s) > 0 && len(s[len(s)-1]) == 0 {
		s = s[:len(s)-1]
	}
	return s
}

// continues tells whether a piece is of the same look, and right behind.
func (p Piece) continues(next Piece) bool {
	return p.Column+p.Width == next.Column && p.Colour == next.Colour && p.Bold == next.Bold && p.Faint == next.Faint
}

// trimmed is a row without what shows nothing at its end.
func trimmed(row []Piece) []Piece {
	for n := len(row) - 1; n >= 0; n-- {
		text := strings.TrimRight(row[n].Text, " ")
		row[n].Width -= len(row[n].Text) - len(text)
		row[n].Text = text
		if text != "" {
			return row[:n+1]
		}
	}
	return nil
}

// palette are a terminal's sixteen colours, readable on [ground].
var palette = [16]string{
	"#484f58", "#ff7b72", "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#e6edf3",
	"#8b949e", "#ffa198", "#7ee787", "#f2cc60", "#a5d6ff", "#e2c5ff", "#b3f0ff", "#ffffff",
}

// hex is a colour as SVG writes it.
func hex(emulator *vt.Emulator, c color.Color) string {
	switch c := c.(type) {
	case nil:
		return ""
	case ansi.BasicColor:
		return palette[c]
	case ansi.IndexedColor:
		if int(c) < len(palette) {
			return palette[c]
		}
		return hex(emulator, emulator.IndexedColor(int(c)))
	}
	r, g, b, _ := c.RGBA()
	return fmt.Sprintf("#%02x%02x%02x", r>>8, g>>8, b>>8)
}
