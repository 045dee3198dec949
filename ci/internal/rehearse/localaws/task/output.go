package task

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"time"
)

// maxLine is where Docker's log drivers split a line.
const maxLine = 16 << 10

// Sink takes a container's output, line by line. It may be called from several
// goroutines, one for each container.
type LogFunc func(at time.Time, line string)

// copyLines reads output until its end and hands every line to the sink; lines
// longer than maxLine arrive in pieces.
func copyLines(r io.Reader, sink LogFunc) {
	b := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := b.ReadSlice('\n')
		if len(line) > 0 && sink != nil {
			sink(time.Now().UTC(), strings.TrimRight(string(line), "\r\n"))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}
