package gotest

import (
	"io"

	"github.com/slipway-cd/slipway/ci/internal/check/coverage"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// Results of the stage and of each module.
const (
	Succeeded = "succeeded"
	Failed    = "failed"
)

// Summary is the result of the stage, and its JSON document.
type Summary struct {
	// Result is [Failed] if a module failed.
	Result  string   `json:"result"`
	Modules []Module `json:"modules"`
	// DurationMS is the duration of the stage in milliseconds.
	DurationMS int64 `json:"duration_ms"`
	// Race is set if the race detector was on.
	Race bool `json:"race"`

	covered coverage.Report
	gate    coverage.Gate
}

// Text writes the summary for a terminal.
func (s Summary) Text(w io.Writer) error {
	_, err := io.WriteString(w, s.String())
	return err
}

// JSON writes the summary as one JSON document.
func (s Summary) JSON(w io.Writer) error { return report.WriteJSON(w, s) }

// Markdown writes the summary for a pull request or a job summary.
func (s Summary) Markdown(w io.Writer) error {
	_, err := io.WriteString(w, s.markdown())
	return err
}

// Module is the result of one module.
//
// Tests, examples and fuzz targets count as tests. A test with subtests counts through its
// subtests, and by itself only if it failed while none of them did.
type Module struct {
	// Path is the module's directory in the source tree.
	Path string `json:"path"`
	// Result is [Failed] if there is a failure or the coverage is too low.
	Result string `json:"result"`
	// Coverage is the share of covered statements in percent, rounded down to two
	// decimals.
	Coverage float64 `json:"coverage"`
	// MinCoverage is the minimum coverage in percent.
	MinCoverage float64 `json:"min_coverage"`
	// CoverageMet is set if the exact coverage is at least the minimum.
	CoverageMet bool `json:"coverage_met"`
	// Statements is the number of statements.
	Statements int `json:"statements"`
	// Tests is the number of tests that passed or failed.
	Tests int `json:"tests"`
	// Passed is the number of tests that passed.
	Passed int `json:"passed"`
	// Failed is the number of failures: failed tests and other failures, such as a
	// package that does not compile.
	Failed int `json:"failed"`
	// Skipped is the number of skipped tests.
	Skipped    int       `json:"skipped"`
	DurationMS int64     `json:"duration_ms"`
	Failures   []Failure `json:"failures,omitempty"`
	Skips      []Skip    `json:"skips,omitempty"`
}

// Failure is a failed test or another failure.
type Failure struct {
	// Package is the import path of the package, or of the module if the failure is in no
	// package.
	Package string `json:"package"`
	// Test is empty if the failure is not in a test.
	Test string `json:"test,omitempty"`
	// Message describes the failure on one line.
	Message string `json:"message"`
	// Output is the test's own output, the compiler's message, the panic.
	Output string `json:"output"`
	// File is relative to the source tree, and empty if unknown.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
}

// Skip is a skipped test.
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
