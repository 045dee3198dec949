package cli

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// printer is standard output or standard error. After a write error it discards further
// output and keeps the error, so that a release does not depend on its reader. It is safe
// for concurrent use.
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

// open reports whether output still reaches its reader.
func (p *printer) open() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err == nil
}

// exitCode returns the exit code of a command that ended with code, considering whether
// its document was printed. If production may have changed, code is returned unchanged. A
// reader that closes the pipe, such as head, is not a failure.
func (a *app) exitCode(code outcome.Code) outcome.Code {
	if a.stdout.err == nil || errors.Is(a.stdout.err, syscall.EPIPE) {
		return code
	}
	fmt.Fprintf(a.stderr, "slipway: cannot print: %s\n", a.stdout.err)
	if code == outcome.Done && !a.productionChanged {
		return outcome.Failed
	}
	return code
}
