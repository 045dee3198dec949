package coverage

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/tools/cover"
)

// Limits of a valid profile. They prevent a damaged profile from causing endless work or
// an integer overflow.
const (
	maxLine       = 1 << 20
	maxStatements = math.MaxInt32
)

// ReadModule reads the profile of the module importPath in the directory dir of tree. It
// leaves out files that match exclude and generated files
// (https://go.dev/s/generatedcode).
func ReadModule(tree fs.FS, dir, importPath string, profile io.Reader, exclude Globs) (Module, error) {
	module := Module{Dir: path.Clean(dir), ImportPath: importPath}
	profiles, err := cover.ParseProfilesFromReader(profile)
	if err != nil {
		return Module{}, fmt.Errorf("reading the coverage profile of %s: %w", module.Dir, err)
	}
	packages := map[string]*Package{}
	for _, p := range profiles {
		file, err := module.file(tree, p)
		if err != nil {
			return Module{}, fmt.Errorf("reading the coverage profile of %s: %w", module.Dir, err)
		}
		module.mode = p.Mode
		if exclude.Match(file.Path) || generated(file.source) {
			continue
		}
		name := path.Dir(p.FileName)
		if packages[name] == nil {
			packages[name] = &Package{ImportPath: name, Dir: path.Dir(file.Path)}
		}
		packages[name].Files = append(packages[name].Files, file)
	}
	for _, p := range packages {
		module.Packages = append(module.Packages, *p)
	}
	slices.SortFunc(module.Packages, func(a, b Package) int { return strings.Compare(a.ImportPath, b.ImportPath) })
	return module, nil
}

// file validates p and reads its source.
func (m Module) file(tree fs.FS, p *cover.Profile) (File, error) {
	for _, b := range p.Blocks {
		ordered := b.StartLine < b.EndLine || b.StartLine == b.EndLine && b.StartCol <= b.EndCol
		if b.StartLine < 1 || !ordered || b.EndLine > maxLine || b.NumStmt > maxStatements {
			return File{}, fmt.Errorf("%s:%d.%d,%d.%d with %d statements is not a block of code",
				p.FileName, b.StartLine, b.StartCol, b.EndLine, b.EndCol, b.NumStmt)
		}
	}
	relative, inside := strings.CutPrefix(p.FileName, m.ImportPath+"/")
	name := path.Join(m.Dir, relative)
	if !inside || !fs.ValidPath(relative) || !fs.ValidPath(name) {
		return File{}, fmt.Errorf("file %s does not belong to module %s", p.FileName, m.ImportPath)
	}
	source, err := fs.ReadFile(tree, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return File{}, err
	}
	return File{Path: name, profile: p, source: source}, nil
}

// header matches white space and comments before the code. mark matches the line that
// marks a generated file.
var (
	header = regexp.MustCompile(`^(?:\s|//.*\n|/\*(?s:.*?)\*/)*`)
	mark   = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.\r?$`)
)

func generated(source []byte) bool { return mark.Match(header.Find(source)) }

// WriteProfile writes one profile of all modules, with the import paths that `go tool
// cover` resolves in a workspace. It fails if modules have different coverage modes.
func (r Report) WriteProfile(w io.Writer) error {
	mode := ""
	for _, m := range r.Modules {
		if mode != "" && m.mode != "" && m.mode != mode {
			return fmt.Errorf("merging coverage: module %s was measured in mode %s, others in mode %s", m.Dir, m.mode, mode)
		}
		if m.mode != "" {
			mode = m.mode
		}
	}
	if mode == "" {
		mode = "atomic"
	}
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "mode: %s\n", mode)
	for file := range r.files() {
		for _, b := range file.profile.Blocks {
			fmt.Fprintf(out, "%s:%d.%d,%d.%d %d %d\n", file.profile.FileName,
				b.StartLine, b.StartCol, b.EndLine, b.EndCol, b.NumStmt, b.Count)
		}
	}
	return out.Flush()
}

// files yields every file in the order of the report.
func (r Report) files() func(yield func(File) bool) {
	return func(yield func(File) bool) {
		for _, m := range r.Modules {
			for _, p := range m.Packages {
				for _, f := range p.Files {
					if !yield(f) {
						return
					}
				}
			}
		}
	}
}
