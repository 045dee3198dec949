package task

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"time"
)

// maxLine is the length at which Docker's log drivers split a line.
const maxLine = 16 << 10

// LogFunc receives a container's output, line by line. It may be called concurrently,
// from one goroutine per container.
type LogFunc func(at time.Time, line string)

// copyLines reads output to its end and passes each line to log. Longer lines than
// maxLine are split.
func copyLines(r io.Reader, log LogFunc) {
	b := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := b.ReadSlice('\n')
		if len(line) > 0 && log != nil {
			log(time.Now().UTC(), strings.TrimRight(string(line), "\r\n"))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}
