package gotest

import (
	"io"

	"dagger/slipway/internal/check/coverage"
	"dagger/slipway/internal/report"
)

// Outcomes of the stage and of each module.
const (
	Succeeded = "succeeded"
	Failed    = "failed"
)

// Summary is the outcome of the stage, and its JSON.
type Summary struct {
	// Result is [Failed] where a module failed.
	Result  string   `json:"result"`
	Modules []Module `json:"modules"`
	// DurationMS is the time that all modules took together, in milliseconds.
	DurationMS int64 `json:"duration_ms"`
	// Race says whether the race detector was on.
	Race bool `json:"race"`

	covered coverage.Report
	gate    coverage.Gate
}

// Text writes the summary for a terminal.
func (s Summary) Text(w io.Writer) error {
	_, err := io.WriteString(w, s.String())
	return err
}

// JSON writes the summary as one document.
func (s Summary) JSON(w io.Writer) error { return report.WriteJSON(w, s) }

// Markdown writes the summary for a pull request or a job's page.
func (s Summary) Markdown(w io.Writer) error {
	_, err := io.WriteString(w, s.markdown())
	return err
}

// Module is the outcome of one module.
//
// A test here is a test, example or fuzz target without subtests, or a subtest
// without subtests; one that has subtests is counted through them, and by
// itself only where it failed while none of them did.
type Module struct {
	// Path is the module's directory in the source tree.
	Path string `json:"path"`
	// Result is [Failed] where there is a failure, or too little coverage.
	Result string `json:"result"`
	// Coverage is the covered share of statements in percent, rounded down to
	// two decimals.
	Coverage float64 `json:"coverage"`
	// MinCoverage is the gate's minimum in percent.
	MinCoverage float64 `json:"min_coverage"`
	// CoverageMet says whether the exact share is at least the minimum.
	CoverageMet bool `json:"coverage_met"`
	// Statements is how many statements count.
	Statements int `json:"statements"`
	// Tests is how many tests ran: those that passed and those that failed.
	Tests int `json:"tests"`
	// Passed is how many tests passed.
	Passed int `json:"passed"`
	// Failed is how many failures there are: failed tests, and whatever else
	// went wrong, like a package that does not compile.
	Failed int `json:"failed"`
	// Skipped is how many tests skipped themselves.
	Skipped    int       `json:"skipped"`
	DurationMS int64     `json:"duration_ms"`
	Failures   []Failure `json:"failures,omitempty"`
	Skips      []Skip    `json:"skips,omitempty"`
}

// Failure is one thing that went wrong.
type Failure struct {
	// Package is the import path of the package, or of the module where no
	// package is to blame.
	Package string `json:"package"`
	// Test is empty where it is no test that failed.
	Test string `json:"test,omitempty"`
	// Message says it in one line.
	Message string `json:"message"`
	// Output is the test's own output, the compiler's message, the panic.
	Output string `json:"output"`
	// File is relative to the source tree, and empty where no place is known.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
}

// Skip is a test that skipped itself.
type Skip struct {
	Package string `json:"package"`
	Test    string `json:"test"`
	Reason  string `json:"reason"`
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
}

// totals sums the modules.
func (s Summary) totals() (passed, failed, skipped int) {
	for _, m := range s.Modules {
		passed += m.Passed
		failed += m.Failed
		skipped += m.Skipped
	}
	return passed, failed, skipped
}
