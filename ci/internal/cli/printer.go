package cli

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"dagger/slipway/internal/report/outcome"
)

// printer is standard output, or standard error. It goes on when something cannot
// be written, and remembers that: what a command does must not depend on who reads,
// nor what the tools do that it runs. Several may write to it at once.
type printer struct {
	w io.Writer

	mu  sync.Mutex
	err error
}

func (p *printer) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		_, p.err = p.w.Write(data)
	}
	return len(data), nil
}

// exitCode is the exit code of a command that ended with code, given whether it
// could print what it returns. What was done to production is told as it is,
// printed or not; a reader that wanted no more, as head does, is no failure.
func (a *app) exitCode(code outcome.Code) outcome.Code {
	if a.stdout.err == nil || errors.Is(a.stdout.err, syscall.EPIPE) {
		return code
	}
	fmt.Fprintf(a.stderr, "slipway: printing: %s\n", a.stdout.err)
	if code == outcome.Done && !a.productionChanged {
		return outcome.Failed
	}
	return code
}
