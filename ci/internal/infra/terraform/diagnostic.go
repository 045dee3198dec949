package terraform

import (
	"fmt"
	"path"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// The severities of diagnostics.
const (
	SeverityError   = "error"
	SeverityWarning = "warning"
)

// Diagnostic is an error or warning of Terraform.
type Diagnostic struct {
	Severity string `json:"severity"`
	Summary  string `json:"summary"`
	Detail   string `json:"detail"`
	Address  string `json:"address"`
	Range    *Range `json:"range"`
}

// Range is a location in the configuration, relative to the root module.
type Range struct {
	Filename string   `json:"filename"`
	Start    Position `json:"start"`
}

// Position is a position in a file; both start at 1.
type Position struct {
	Line   int `json:"line"`
	Column int `json:"column"`
}

// Location returns where d is in the source tree, such as "terraform/main.tf:3", or
// the address of a resource, or "".
func (d Diagnostic) Location(dir string) string {
	switch {
	case d.Range != nil && d.Range.Filename != "":
		return fmt.Sprintf("%s:%d", path.Join(dir, d.Range.Filename), d.Range.Start.Line)
	default:
		return d.Address
	}
}

// Line returns d in one line with its location.
func (d Diagnostic) Line(dir string) string {
	line := d.Message()
	if place := d.Location(dir); place != "" {
		line = place + ": " + line
	}
	return line
}

// Message returns d in one line without its location.
func (d Diagnostic) Message() string {
	message := outcome.OneLine(d.Summary)
	if detail := outcome.OneLine(d.Detail); detail != "" {
		message += ": " + detail
	}
	return message
}
