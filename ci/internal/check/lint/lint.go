// Package lint is the lint stage: it runs every tool that looks for faults in
// the source tree, and tells all that they find in one order and one form.
//
// Tools that write SARIF are in tools.go, others in files of their own: the invocation
// as a step, and what its output means. A tool that cannot be had is never taken for
// one that found nothing.
package lint

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"dagger/slipway/internal/report/outcome"
)

// Kind names checks that belong together, and can be asked for by name.
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

// Kinds are all kinds, in the order in which they start: the long ones first.
func Kinds() []Kind {
	return []Kind{GolangciLint, Govulncheck, Terraform, Gofumpt, Actionlint, Nginx, TFLint, Security}
}

// ParseKinds reads names of kinds; none means all. An unknown one is a usage
// error that says what was meant.
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
			hint := "there are " + strings.Join(known, ", ")
			if near := outcome.Nearest(name, known); near != "" {
				hint = fmt.Sprintf("did you mean %s?", near)
			}
			return nil, outcome.Usagef("no check %q: %s", name, hint)
		}
	}
	return slices.DeleteFunc(Kinds(), func(kind Kind) bool { return !wanted[kind] }), nil
}

// Finding is one thing that a tool found wrong. Its JSON is part of the
// interface.
type Finding struct {
	Tool string `json:"tool"`
	// File is slash-separated and relative to the root of the source tree,
	// unless it lies outside. It is "" where the tool names none.
	File string `json:"file"`
	// Line and Column count from 1; 0 where the tool tells none.
	Line   int `json:"line"`
	Column int `json:"column"`
	// Rule is the tool's name for what is wrong, to look up or to silence it by.
	Rule string `json:"rule"`
	Text string `json:"text"`
	// Fix is the mend, in words or as a difference; "" where the tool knows none.
	Fix string `json:"fix"`
}

// Location is where the finding is, as terminals and editors understand it.
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

// String is the finding in one line.
func (f Finding) String() string {
	return fmt.Sprintf("%s: %s (%s/%s)", f.Location(), outcome.OneLine(f.Text), f.Tool, f.Rule)
}

// compare orders findings by where they are.
func compare(a, b Finding) int {
	return cmp.Or(
		cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
		cmp.Compare(a.Tool, b.Tool), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Text, b.Text),
	)
}
