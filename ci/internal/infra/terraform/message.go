package terraform

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Message is a line of Terraform's machine-readable output.
// https://developer.hashicorp.com/terraform/internals/machine-readable-ui
type Message struct {
	Level      string       `json:"@level"`
	Text       string       `json:"@message"`
	At         time.Time    `json:"@timestamp"`
	TestFile   string       `json:"@testfile"`
	TestRun    string       `json:"@testrun"`
	Type       string       `json:"type"`
	Terraform  string       `json:"terraform"` // of "version"
	Diagnostic *Diagnostic  `json:"diagnostic"`
	Hook       *Hook        `json:"hook"`
	Changes    *Counts      `json:"changes"`
	Outputs    Outputs      `json:"outputs"`
	Run        *TestRun     `json:"test_run"`
	Summary    *TestSummary `json:"test_summary"`
}

// The message types that the pipeline reads.
const (
	TypeDiagnostic    = "diagnostic"
	TypeApplyStart    = "apply_start"
	TypeApplyComplete = "apply_complete"
	TypeApplyErrored  = "apply_errored"
	TypeOutputs       = "outputs"
	TypeChangeSummary = "change_summary"
)

// Hook is the operation on one resource.
type Hook struct {
	Resource struct {
		Address string `json:"addr"`
	} `json:"resource"`
	Action  string  `json:"action"`
	IDValue string  `json:"id_value"`
	Elapsed float64 `json:"elapsed_seconds"` // seconds
}

// Counts are Terraform's counts of a plan or an apply.
type Counts struct {
	Add       int    `json:"add"`
	Change    int    `json:"change"`
	Import    int    `json:"import"`
	Remove    int    `json:"remove"`
	Operation string `json:"operation"`
}

// Outputs are the root module's outputs by name.
type Outputs map[string]Output

// Output is an output. A sensitive one has no value.
type Output struct {
	Sensitive bool            `json:"sensitive"`
	Value     json.RawMessage `json:"value,omitempty"`
}

// TestRun is the state of a run of `terraform test`.
type TestRun struct {
	Path string `json:"path"`
	Run  string `json:"run"`
	// Status is "pass", "fail", "error" or "skip"; "" while it runs.
	Status string `json:"status"`
}

// HasFailed reports whether the run failed.
func (r TestRun) HasFailed() bool { return r.Status == "fail" || r.Status == "error" }

// TestSummary is the result of `terraform test`.
type TestSummary struct {
	Status  string `json:"status"`
	Passed  int    `json:"passed"`
	Failed  int    `json:"failed"`
	Errored int    `json:"errored"`
	Skipped int    `json:"skipped"`
}

// ReadMessages reads the messages of a stream and skips other lines.
func ReadMessages(r io.Reader) ([]Message, error) {
	var messages []Message
	reader := bufio.NewReader(r)
	for {
		line, err := reader.ReadBytes('\n')
		if m, ok := parseMessage(line); ok {
			messages = append(messages, m)
		}
		if errors.Is(err, io.EOF) {
			return messages, nil
		}
		if err != nil {
			return messages, err
		}
	}
}

// ReadStream reads the messages in a step's output file. A missing file has none.
func ReadStream(name string) ([]Message, error) {
	file, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading Terraform's output: %w", err)
	}
	defer file.Close()
	messages, err := ReadMessages(file)
	if err != nil {
		return nil, fmt.Errorf("reading Terraform's output: %w", err)
	}
	return messages, nil
}

const initAnnouncement = "Terraform encountered problems during initialisation"

// parseMessage parses one line. It accepts a message whose other parts have an
// unexpected type.
func parseMessage(line []byte) (Message, bool) {
	var m Message
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] != '{' {
		return m, false
	}
	var shape *json.UnmarshalTypeError
	if err := json.Unmarshal(line, &m); err != nil && !errors.As(err, &shape) {
		return m, false
	}
	return m, m.Type != ""
}

// Warnings returns the warnings among the messages.
func Warnings(messages []Message) []Diagnostic {
	var found []Diagnostic
	for _, m := range messages {
		if m.Diagnostic != nil && m.Diagnostic.Severity == SeverityWarning {
			found = append(found, *m.Diagnostic)
		}
	}
	return found
}

// Errors returns the errors among the messages, except for the one that only
// announces others.
func Errors(messages []Message) []Diagnostic {
	var found []Diagnostic
	for _, m := range messages {
		if m.Diagnostic != nil && m.Diagnostic.Severity == SeverityError && !strings.HasPrefix(m.Diagnostic.Summary, initAnnouncement) {
			found = append(found, *m.Diagnostic)
		}
	}
	return found
}
