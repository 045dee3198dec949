package terraform

import (
	"bytes"
	"fmt"
	"io"
	"sync"
)

// maxLine is the maximum length in bytes of a line that Progress keeps. Terraform's
// messages are much shorter, but the JSON plan, which it must not show, is one line
// of any length.
const maxLine = 1 << 20

// Progress is a writer that reads Terraform's messages as they arrive and writes a
// line for each change to a resource, each failed test, and the numbers of tests and of
// changes, if there are any. It omits diagnostics, which the stage reports, and all other
// output.
type Progress struct {
	W io.Writer

	mu      sync.Mutex
	line    []byte
	tooLong bool
}

// Write implements io.Writer. It never fails, because progress is not essential.
func (p *Progress) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for rest := data; len(rest) > 0; {
		part, after, ended := bytes.Cut(rest, []byte("\n"))
		rest = after
		p.add(part)
		if ended {
			p.writeLine()
		}
	}
	return len(data), nil
}

func (p *Progress) add(part []byte) {
	if p.tooLong = p.tooLong || len(p.line)+len(part) > maxLine; p.tooLong {
		p.line = nil
		return
	}
	p.line = append(p.line, part...)
}

func (p *Progress) writeLine() {
	if m, ok := parseMessage(p.line); ok {
		switch {
		case m.Run != nil && m.Run.HasFailed():
			_, _ = fmt.Fprintf(p.W, "%s: run %q: %s\n", m.Run.Path, m.Run.Run, m.Run.Status)
		case m.Changes != nil && *m.Changes == Counts{Operation: m.Changes.Operation}: // none, as in a refresh
		case progressTypes[m.Type] && m.Text != "":
			_, _ = io.WriteString(p.W, m.Text+"\n")
		}
	}
	p.line, p.tooLong = p.line[:0], false
}

// progressTypes are the message types to show. The output of provisioners is not
// shown: it may contain secrets.
var progressTypes = map[string]bool{
	TypeChangeSummary: true,
	TypeApplyStart:    true, "apply_progress": true, TypeApplyComplete: true, TypeApplyErrored: true,
	"provision_errored": true, "test_summary": true,
}

// logFilter selects the same of Terraform's event streams with sed: what is installed, and
// what happens to resources and in tests. It leaves out the identifier of a resource,
// which may be a secret, and addresses of modules, which may have one.
const logFilter = `s/^\{"@level":"info","@message":"((Initializing|Installing|Installed|Finding|Reusing|Using) [^"\\]*)".*"type":"init_output"\}$/\1/p
/^\{"@level":"info".*"type":"(refresh_start|planned_change|apply_start|apply_progress|apply_complete|test_file|test_run|test_summary|change_summary)"\}$/{
s/^\{"@level":"info","@message":"(([^"\\]|\\.)*)".*$/\1/
s/ \[id=.*$//
s/\\"/"/g
p
}`
