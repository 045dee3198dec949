package picture

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

// Size of the terminal.
const (
	columns = 118
	rows    = 80 // nothing scrolls away
)

// maxRehearsals bounds how often it is tried: the embedded ECS is fast, and the moment
// at which both versions run may lie between two frames.
const maxRehearsals = 20

// both says that a service has tasks of the new revision, be they on their way, and
// still some of the old one.
var both = regexp.MustCompile(`task:2 [●○]+ +\S+task:1 ●`)

// terminal is a rehearsal in a terminal: while both versions run, and its end.
func (t tree) terminal(ctx context.Context) ([]byte, error) {
	var during, after Screen
	for try := 1; during == nil; try++ {
		command := exec.CommandContext(ctx, t.slipway, "rehearse", "--skip-tests")
		command.Dir = t.dir
		command.Env = append(os.Environ(), "TERM=xterm-256color")
		var err error
		during, after, err = Record(ctx, command, columns, rows, func(s Screen) bool { return both.MatchString(s.Text()) })
		if err != nil && (try == maxRehearsals || !errors.Is(err, errMissed)) {
			return nil, err
		}
	}
	row := func(text string, faint bool) Screen {
		return Screen{{{Text: text, Width: len([]rune(text)), Faint: faint}}}
	}
	shown := row("$ slipway rehearse --skip-tests", false)
	shown = append(shown, during...)
	shown = append(shown, nil)
	shown = append(shown, row("⋯ and when it is over:", true)...)
	shown = append(shown, nil)
	shown = append(shown, ending(after)...)
	return shown.SVG("slipway rehearse", "A terminal while slipway rehearse releases two services: the stages, what happens, and the tasks of both versions; then the report. "+
		strings.Join(strings.Fields(ending(after).Text()), " ")), nil
}

// ending is the report at the end of a screen: it begins where the commit stands
// first in a line.
func ending(s Screen) Screen {
	report := regexp.MustCompile(`^[0-9a-f]{12}(-dirty)?: `)
	for n, row := range s {
		if report.MatchString(Screen{row}.Text()) {
			return s[n:]
		}
	}
	return nil
}
