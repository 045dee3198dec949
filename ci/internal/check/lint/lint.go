// Package lint is the lint stage: it runs linters and scanners on the source tree and
// reports their findings in a common format.
//
// Tools that write SARIF are in tools.go, others in files of their own. A missing tool is
// reported as skipped, not as a check without findings.
package lint

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Kind is a kind of check, which --only selects.
type Kind string

// The kinds of check.
const (
	GolangciLint Kind = "golangci-lint" // Go: bugs, style, security
	Gofumpt      Kind = "gofumpt"       // Go: format
	Govulncheck  Kind = "govulncheck"   // Go: known vulnerabilities that the code reaches
	Actionlint   Kind = "actionlint"    // GitHub workflows
	Nginx        Kind = "nginx"         // Nginx configuration, as Nginx reads it
	Terraform    Kind = "terraform"     // Terraform: format, and the configuration in itself
	TFLint       Kind = "tflint"        // Terraform: practice
	Security     Kind = "security"      // secrets in files, and misconfiguration of the platform
)

// Kinds returns all kinds in the order in which they start: the slow ones first.
func Kinds() []Kind {
	return []Kind{GolangciLint, Govulncheck, Terraform, Gofumpt, Actionlint, Nginx, TFLint, Security}
}

// ParseKinds parses names of kinds; none means all. An unknown name is a usage error with
// a suggestion.
func ParseKinds(names []string) ([]Kind, error) {
	if len(names) == 0 {
		return Kinds(), nil
	}
	var known []string
	wanted := map[Kind]bool{}
	for _, kind := range Kinds() {
		known = append(known, string(kind))
	}
	for _, name := range names {
		wanted[Kind(name)] = true
		if !slices.Contains(known, name) {
			return nil, outcome.Usagef("unknown check %q: %s", name, outcome.Suggestion(name, known))
		}
	}
	return slices.DeleteFunc(Kinds(), func(kind Kind) bool { return !wanted[kind] }), nil
}

// Finding is a finding of a tool. Its JSON is part of the interface.
type Finding struct {
	Tool string `json:"tool"`
	// File is slash-separated and relative to the root of the source tree, or absolute
	// outside of it. It is "" if the tool names no file.
	File string `json:"file"`
	// Line and Column count from 1; 0 means unknown.
	Line   int `json:"line"`
	Column int `json:"column"`
	// Rule is the id of the tool's rule.
	Rule string `json:"rule"`
	Text string `json:"text"`
	// Fix is how to fix it, as text or a diff; "" if the tool suggests nothing.
	Fix string `json:"fix"`
}

// Location returns the location in the form FILE:LINE:COLUMN, or "-" without a file.
func (f Finding) Location() string {
	switch {
	case f.File == "":
		return "-"
	case f.Line == 0:
		return f.File
	case f.Column == 0:
		return fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	return fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Column)
}

// String returns the finding on one line.
func (f Finding) String() string {
	return fmt.Sprintf("%s: %s (%s/%s)", f.Location(), outcome.OneLine(f.Text), f.Tool, f.Rule)
}

// compare orders findings by location.
func compare(a, b Finding) int {
	return cmp.Or(
		cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
		cmp.Compare(a.Tool, b.Tool), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Text, b.Text),
	)
}
