package coverage

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
)

//go:embed page.html
var pageHTML string

var page = template.Must(template.New("coverage").Parse(pageHTML))

// pageFile is a file on the page.
type pageFile struct {
	File
	ID    string
	Lines [][]segment // nil if the source is not in the tree
}

// segment is a part of a line with one execution count.
type segment struct {
	Class string // "hit", "miss", or "" for code that is not measured
	Count int
	Text  string
}

type pageModule struct {
	Module
	Minimum  float64
	Passes   bool
	Packages []pagePackage
}

type pagePackage struct {
	Package
	ID    string
	Files []pageFile
}

// WriteHTML writes a self-contained page without scripts: the packages with their
// coverage, and every file with its uncovered code marked.
func (r Report) WriteHTML(w io.Writer, gate Gate) error {
	view := struct {
		Totals  Totals
		Modules []pageModule
	}{Totals: r.Totals()}
	packages, files := 0, 0
	for _, m := range r.Modules {
		minimum := gate.For(m.Dir)
		module := pageModule{Module: m, Minimum: minimum, Passes: m.Totals().Meets(minimum)}
		for _, p := range m.Packages {
			packages++
			pkg := pagePackage{Package: p, ID: fmt.Sprintf("p%d", packages)}
			for _, f := range p.Files {
				files++
				pkg.Files = append(pkg.Files, pageFile{File: f, ID: fmt.Sprintf("f%d", files), Lines: f.segments()})
			}
			module.Packages = append(module.Packages, pkg)
		}
		view.Modules = append(view.Modules, module)
	}
	if err := page.Execute(w, view); err != nil {
		return fmt.Errorf("writing the coverage page: %w", err)
	}
	return nil
}

// segments splits the source into lines, and each line at block boundaries.
func (f File) segments() [][]segment {
	if f.source == nil {
		return nil
	}
	boundaries := f.profile.Boundaries(f.source)
	lines := [][]segment{nil}
	var open []segment // the enclosing blocks, innermost last
	start := 0
	flush := func(end int) {
		if start == end {
			return
		}
		current := segment{}
		if len(open) > 0 {
			current = open[len(open)-1]
		}
		current.Text = string(f.source[start:end])
		last := len(lines) - 1
		lines[last] = append(lines[last], current)
		start = end
	}
	for i, char := range f.source {
		for len(boundaries) > 0 && boundaries[0].Offset <= i {
			flush(i)
			if b := boundaries[0]; b.Start {
				open = append(open, segment{Class: class(b.Count), Count: b.Count})
			} else if len(open) > 0 {
				open = slices.Delete(open, len(open)-1, len(open))
			}
			boundaries = boundaries[1:]
		}
		if char == '\n' {
			flush(i)
			start = i + 1
			lines = append(lines, nil)
		}
	}
	flush(len(f.source))
	if len(lines[len(lines)-1]) == 0 {
		lines = lines[:len(lines)-1]
	}
	return lines
}

func class(count int) string {
	if count > 0 {
		return "hit"
	}
	return "miss"
}
