package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/config/source"
	"dagger/slipway/internal/report/outcome"
)

// packagesFile has what go tells of the packages of a program.
const packagesFile = "packages.json"

// modules are what the tree gives to a Go service's binary: its own module, and
// those that its go.mod replaces by folders.
type modules struct {
	Builder
	service platform.Service
	held    source.CommittedFiles
	paths   map[string]string // import path of a module, by its folder
	rules   ignore
}

// goPackage is a package as `go list -json` tells it.
type goPackage struct {
	Dir, ImportPath string
	Standard        bool
	Module          *struct {
		Dir     string
		Main    bool
		Replace *struct{ Version string }
	}
	GoFiles, SFiles, HFiles, SysoFiles, EmbedFiles, EmbedPatterns []string
}

// moduleFolders are the service's folder, and those of the tree that its go.mod
// puts in the place of modules.
func (b Builder) moduleFolders(service platform.Service) []string {
	folders := []string{service.Path}
	module, err := b.module(service)
	if err != nil {
		return folders
	}
	for _, r := range module.Replace {
		if folder := path.Join(service.Path, filepath.ToSlash(r.New.Path)); r.New.Version == "" && !strings.HasPrefix(folder+"/", "../") {
			folders = append(folders, folder)
		}
	}
	return folders
}

// modules reads what the commit holds of a service, and compares with it what go
// reads first.
func (b Builder) modules(ctx context.Context, service platform.Service) (modules, error) {
	m := modules{Builder: b, service: service, paths: map[string]string{}}
	always := append(deciding(service), path.Join(service.Path, "vendor", "modules.txt"))
	var err error
	if m.rules, err = readIgnore(b.Source.Dir, service.Path); err != nil {
		return m, err
	}
	module, err := b.module(service)
	if err != nil {
		return m, err
	}
	if module.Module != nil {
		m.paths[service.Path] = module.Module.Mod.Path
	}
	for _, r := range module.Replace {
		if r.New.Version == "" && !filepath.IsAbs(r.New.Path) {
			m.paths[path.Join(service.Path, filepath.ToSlash(r.New.Path))] = r.Old.Path
		}
	}
	folders := deciding(service)
	for folder := range m.paths {
		folders = append(folders, folder)
		always = append(always, path.Join(folder, "go.mod"), path.Join(folder, "go.sum"))
	}
	if m.held, err = b.Source.CommittedFiles(ctx, folders...); err != nil {
		return m, err
	}
	return m, m.held.Check(ctx, always, b.Exact)
}

// check compares with the commit what go compiles for a platform, and what it would
// if it were there.
func (m modules) check(ctx context.Context, target v1.Platform, chain toolchain) error {
	packages, err := m.list(ctx, target, chain)
	if err != nil {
		return err
	}
	at, compared := map[string]string{}, []string(nil) // folders by import path
	for _, p := range packages {
		folder, known := m.folder(packages, p)
		at[p.ImportPath] = folder
		if !known {
			continue
		}
		for _, name := range slices.Concat(p.GoFiles, p.SFiles, p.HFiles, p.SysoFiles, p.EmbedFiles) {
			name = path.Join(folder, filepath.ToSlash(name))
			inside, own := strings.CutPrefix(name, m.service.Path+"/")
			if made, err := m.rules.enters(inside, false); err != nil || !made || !own {
				compared = append(compared, name)
			}
		}
	}
	for folder, importPath := range m.paths {
		files, err := m.held.In(folder)
		if err != nil {
			return err
		}
		if folder == m.service.Path { // go says nothing of a main package that has no file
			main := importPath
			if slices.ContainsFunc(files, func(f source.File) bool { return strings.HasPrefix(f.Name, serverPackage+"/") }) {
				main = path.Join(importPath, serverPackage)
			}
			at[main] = path.Join(folder, strings.TrimPrefix(main, importPath))
		}
		for _, f := range files {
			if !f.Exists && wanted(packages, at, importPath, folder, f) {
				compared = append(compared, path.Join(folder, f.Name))
			}
		}
	}
	return m.held.Check(ctx, compared, m.Exact)
}

// list asks go for the packages of the program.
func (m modules) list(ctx context.Context, target v1.Platform, chain toolchain) ([]goPackage, error) {
	out, err := os.MkdirTemp("", "slipway-list-")
	if err != nil {
		return nil, fmt.Errorf("making room for the build: %w", err)
	}
	defer os.RemoveAll(out)
	s := m.goStep("list the packages of", m.service, target, chain, "list", "-e", "-deps", "-buildvcs=false",
		"-json=Dir,ImportPath,Standard,Module,GoFiles,SFiles,HFiles,SysoFiles,EmbedFiles,EmbedPatterns", m.mainPackage(m.service))
	s.Stdout = packagesFile
	result, err := m.Exec.Run(ctx, s, out)
	if err != nil {
		return nil, err
	}
	said := outcome.OneLine(result.Stderr)
	if strings.Contains(said, "inconsistent vendoring") {
		first, _, _ := strings.Cut(said, " To ignore the vendor directory")
		return nil, outcome.Usagef("%s: run go mod vendor in %s, and commit it", first, m.service.Path)
	}
	if result.ExitCode != 0 {
		return nil, fmt.Errorf("go list for %s ended with exit code %d: %s", target, result.ExitCode, said)
	}
	file, err := os.Open(filepath.Join(out, packagesFile))
	if err != nil {
		return nil, fmt.Errorf("reading what go list said: %w", cause(err))
	}
	defer file.Close()
	var packages []goPackage
	for decoder := json.NewDecoder(file); ; {
		var p goPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading what go list said: %w", err)
		}
		packages = append(packages, p)
	}
}

// folder is where in the tree a package is; others are Go's own or of its module cache.
func (m modules) folder(packages []goPackage, p goPackage) (string, bool) {
	main := slices.IndexFunc(packages, func(p goPackage) bool { return p.Module != nil && p.Module.Main && p.Module.Dir != "" })
	if main < 0 || p.Standard || p.Dir == "" {
		return "", false
	}
	// By the main module's folder: in a container the tree is elsewhere.
	relative, err := filepath.Rel(packages[main].Module.Dir, p.Dir)
	if err != nil {
		return "", false
	}
	relative = filepath.ToSlash(relative)
	local := p.Module == nil || p.Module.Main || p.Module.Replace != nil && p.Module.Replace.Version == "" || strings.HasPrefix(relative, "vendor/")
	return path.Join(m.service.Path, relative), local
}

// wanted tells whether a file that is not there, of the module of importPath in
// folder, would be part of the program: it is in one of its packages, or one embeds
// it.
func wanted(packages []goPackage, at map[string]string, importPath, folder string, f source.File) bool {
	dir := path.Dir(f.Name)
	if f.Submodule {
		dir = f.Name
	}
	of := path.Join(importPath, dir)
	if vendored, ok := strings.CutPrefix(dir, "vendor/"); ok {
		of = vendored
	}
	_, listed := at[of]
	if listed && !f.Submodule && !strings.HasSuffix(f.Name, "_test.go") && slices.Contains([]string{".go", ".s", ".h", ".syso"}, path.Ext(f.Name)) {
		return true
	}
	for _, p := range packages {
		if f.Submodule && (p.ImportPath == of || strings.HasPrefix(p.ImportPath, of+"/")) {
			return true
		}
		inside, ok := strings.CutPrefix(path.Join(folder, f.Name), at[p.ImportPath]+"/")
		if ok && at[p.ImportPath] != "" && slices.ContainsFunc(p.EmbedPatterns, func(pattern string) bool { return embeds(pattern, inside, f.Submodule) }) {
			return true
		}
	}
	return false
}

// embeds tells whether a pattern of go:embed takes a file, or what a submodule may
// have: https://pkg.go.dev/embed#hdr-Directives.
func embeds(pattern, file string, submodule bool) bool {
	pattern = strings.TrimPrefix(pattern, "all:")
	if submodule && strings.HasPrefix(pattern, file+"/") {
		return true
	}
	for part := file; part != "."; part = path.Dir(part) {
		if matches, _ := path.Match(pattern, part); matches {
			return true
		}
	}
	return pattern == "."
}
