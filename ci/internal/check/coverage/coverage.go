// Package coverage reads the profiles of `go test -coverprofile`, compares them with a
// minimum, and renders them as HTML, Markdown, Cobertura XML and a merged profile.
//
// Paths in a report are slash-separated and relative to the root of the source tree, not
// to the module, because code hosts, editors and coverage services expect that.
package coverage

import (
	"path"

	"golang.org/x/tools/cover"
)

// Report is the coverage of the modules of one source tree.
type Report struct {
	Modules []Module
}

// Module is the coverage of one Go module.
type Module struct {
	// Dir is the module's directory, "." at the root of the source tree.
	Dir string
	// ImportPath is the module's path as its go.mod declares it.
	ImportPath string
	// Packages are sorted by import path.
	Packages []Package

	mode string // set, count or atomic
}

// Package is the coverage of one Go package.
type Package struct {
	ImportPath string
	// Dir is the package's directory.
	Dir string
	// Files are sorted by path.
	Files []File
}

// File is the coverage of one source file.
type File struct {
	// Path is the file's path in the source tree.
	Path string

	profile *cover.Profile
	// source is nil if the file is not in the tree: its statements count, but it is
	// shown without its text.
	source []byte
}

// Totals counts statements, Go's own unit of coverage.
type Totals struct {
	Covered, Statements int
}

// Percent returns the coverage in percent, rounded down to two decimals, so that only full
// coverage is shown as 100 and no value below a minimum is shown as the minimum. It is 0
// without statements.
func (t Totals) Percent() float64 {
	if t.Statements == 0 {
		return 0
	}
	return float64(t.Covered*10_000/t.Statements) / 100
}

// Meets reports whether the exact coverage is at least minimum percent, or there are no
// statements.
func (t Totals) Meets(minimum float64) bool {
	return float64(t.Covered)*100 >= minimum*float64(t.Statements)
}

func (t Totals) plus(other Totals) Totals {
	return Totals{Covered: t.Covered + other.Covered, Statements: t.Statements + other.Statements}
}

// Totals sums all modules.
func (r Report) Totals() Totals { return sum(r.Modules) }

// Totals sums the module's packages.
func (m Module) Totals() Totals { return sum(m.Packages) }

// Totals sums the package's files.
func (p Package) Totals() Totals { return sum(p.Files) }

// Totals sums the file's statements.
func (f File) Totals() Totals {
	var t Totals
	for _, block := range f.profile.Blocks {
		t.Statements += block.NumStmt
		if block.Count > 0 {
			t.Covered += block.NumStmt
		}
	}
	return t
}

func sum[T interface{ Totals() Totals }](parts []T) Totals {
	var t Totals
	for _, part := range parts {
		t = t.plus(part.Totals())
	}
	return t
}

// Name is the file's name without its directory.
func (f File) Name() string { return path.Base(f.Path) }
