package terraform

import (
	"bytes"
	"fmt"
	"io"
	"sync"
)

// longest is the longest line that Progress keeps, in bytes. Terraform's
// messages are far shorter; the plan as JSON, which it must not tell, is one
// line of any length.
const longest = 1 << 20

// Progress is a writer that takes Terraform's streams as they come and tells
// people the text of what happens to resources, one line each, and of tests which
// failed and how many there were. It tells no diagnostics, which the stage does, and
// nothing of any other output.
type Progress struct {
	W io.Writer

	mu      sync.Mutex
	line    []byte
	tooLong bool
}

// Write implements io.Writer. It never fails: telling is not what the run is for.
func (p *Progress) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for rest := data; len(rest) > 0; {
		part, after, ended := bytes.Cut(rest, []byte("\n"))
		rest = after
		p.add(part)
		if ended {
			p.tell()
		}
	}
	return len(data), nil
}

func (p *Progress) add(part []byte) {
	if p.tooLong = p.tooLong || len(p.line)+len(part) > longest; p.tooLong {
		p.line = nil
		return
	}
	p.line = append(p.line, part...)
}

func (p *Progress) tell() {
	if m, ok := parseMessage(p.line); ok {
		switch {
		case m.Run != nil && m.Run.Failed():
			_, _ = fmt.Fprintf(p.W, "%s: run %q: %s\n", m.Run.Path, m.Run.Run, m.Run.Status)
		case told[m.Type] && m.Text != "":
			_, _ = io.WriteString(p.W, m.Text+"\n")
		}
	}
	p.line, p.tooLong = p.line[:0], false
}

// told are the types of message that people want to see. Outputs of
// provisioners are not among them: they may hold anything.
var told = map[string]bool{
	TypeChangeSummary: true,
	TypeApplyStart:    true, "apply_progress": true, TypeApplyComplete: true, TypeApplyErrored: true,
	"provision_errored": true, "test_summary": true,
}

// tell picks the same of Terraform's streams where sed has to: what is installed, and
// what happens to resources and in tests. It leaves out the identifier of a resource,
// which may be a secret, and addresses of modules, which may have one.
const tell = `s/^\{"@level":"info","@message":"((Initializing|Installing|Installed|Finding|Reusing|Using) [^"\\]*)".*"type":"init_output"\}$/\1/p
/^\{"@level":"info".*"type":"(refresh_start|planned_change|apply_start|apply_progress|apply_complete|test_file|test_run|test_summary|change_summary)"\}$/{
s/^\{"@level":"info","@message":"(([^"\\]|\\.)*)".*$/\1/
s/ \[id=.*$//
s/\\"/"/g
p
}`
