package gotest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// maxEvent limits a line of the event stream. The go command splits a test's output into
// lines of at most a few kilobytes.
const maxEvent = 16 << 20

// event is one line of `go test -json`: a test event (`go doc test2json`) or
// a build event (`go help buildjson`), which has an ImportPath.
type event struct {
	Action      string
	Package     string
	Test        string
	Elapsed     float64 // seconds
	Output      string
	FailedBuild string
	ImportPath  string
}

// readEvents calls each for every event of stream, and stray for every other line, such as
// output of a tool that the go command runs.
func readEvents(stream io.Reader, each func(event), stray func(line string)) error {
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, maxEvent)
	for lines.Scan() {
		line := lines.Bytes()
		var e event
		if !bytes.HasPrefix(line, []byte("{")) || json.Unmarshal(line, &e) != nil {
			stray(lines.Text() + "\n")
			continue
		}
		each(e)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading the events of go test: %w", err)
	}
	return nil
}
