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

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// packagesFile is the output of go list.
const packagesFile = "packages.json"

// goModules are the modules in the source tree that a Go service's binary is
// compiled from: its own, and those that its go.mod replaces by folders.
type goModules struct {
	Builder
	service   platform.Service
	committed source.CommittedFiles
	paths     map[string]string // module path by folder
	rules     ignoreRules
}

// goPackage is a package in the output of go list -json.
type goPackage struct {
	Dir, ImportPath, Name string
	Standard              bool
	Module                *struct {
		Dir     string
		Main    bool
		Replace *struct{ Version string }
	}
	GoFiles, SFiles, HFiles, SysoFiles, EmbedFiles, EmbedPatterns []string
}

// moduleFolders returns the service's folder and the folders in the tree that its
// go.mod uses as replacements.
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

// modules lists the committed files of a service and compares those that go reads
// first with the commit.
func (b Builder) modules(ctx context.Context, service platform.Service) (goModules, error) {
	m := goModules{Builder: b, service: service, paths: map[string]string{}}
	always := append(inputFiles(service), path.Join(service.Path, "vendor", "modules.txt"))
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
	folders := inputFiles(service)
	for folder := range m.paths {
		folders = append(folders, folder)
		always = append(always, path.Join(folder, "go.mod"), path.Join(folder, "go.sum"))
	}
	if m.committed, err = b.Source.CommittedFiles(ctx, folders...); err != nil {
		return m, err
	}
	return m, m.committed.Check(ctx, always, b.RequireCommitted)
}

// check compares the files that go compiles for a platform with the commit,
// including committed files that are missing here.
func (m goModules) check(ctx context.Context, target v1.Platform, tc toolchain) error {
	packages, err := m.listPackages(ctx, target, tc)
	if err != nil {
		return err
	}
	if n := len(packages); n > 0 && packages[n-1].Name != "main" && packages[n-1].Name != "" {
		return outcome.Usagef("%s in %s is package %s, not a program: name the folder of package main with main in %s", m.mainPackage(m.service), m.service.Path, packages[n-1].Name, platform.ServicesFile)
	}
	dirs, compared := map[string]string{}, []string(nil) // dirs: folder by import path
	for _, p := range packages {
		folder, known := m.packageDir(packages, p)
		dirs[p.ImportPath] = folder
		if !known {
			continue
		}
		for _, name := range slices.Concat(p.GoFiles, p.SFiles, p.HFiles, p.SysoFiles, p.EmbedFiles) {
			name = path.Join(folder, filepath.ToSlash(name))
			inside, own := strings.CutPrefix(name, m.service.Path+"/")
			if made, err := m.rules.includes(inside, false); err != nil || !made || !own {
				compared = append(compared, name)
			}
		}
	}
	for folder, importPath := range m.paths {
		files, err := m.committed.In(folder)
		if err != nil {
			return err
		}
		if folder == m.service.Path { // go list omits a main package without files
			main := path.Join(importPath, m.service.Main)
			if m.service.Main == "" && slices.ContainsFunc(files, func(f source.File) bool { return strings.HasPrefix(f.Name, serverPackage+"/") }) {
				main = path.Join(importPath, serverPackage)
			}
			dirs[main] = path.Join(folder, strings.TrimPrefix(main, importPath))
		}
		for _, f := range files {
			if !f.Exists && isPartOfProgram(packages, dirs, importPath, folder, f) {
				compared = append(compared, path.Join(folder, f.Name))
			}
		}
	}
	return m.committed.Check(ctx, compared, m.RequireCommitted)
}

// listPackages runs go list for the packages of the program.
func (m goModules) listPackages(ctx context.Context, target v1.Platform, tc toolchain) ([]goPackage, error) {
	out, err := os.MkdirTemp("", "slipway-list-")
	if err != nil {
		return nil, fmt.Errorf("creating a temporary directory for the build: %w", err)
	}
	defer os.RemoveAll(out)
	s := m.goStep("list the packages of", m.service, target, tc, "list", append(buildTags(m.service), "-e", "-deps", "-buildvcs=false",
		"-json=Dir,ImportPath,Name,Standard,Module,GoFiles,SFiles,HFiles,SysoFiles,EmbedFiles,EmbedPatterns", m.mainPackage(m.service))...)
	s.Stdout = packagesFile
	result, err := m.Exec.Run(ctx, s, out)
	if err != nil {
		return nil, err
	}
	stderr := outcome.OneLine(result.Stderr)
	if strings.Contains(stderr, "inconsistent vendoring") {
		first, _, _ := strings.Cut(stderr, " To ignore the vendor directory")
		return nil, outcome.Usagef("%s: run go mod vendor in %s, and commit it", first, m.service.Path)
	}
	if result.ExitCode != 0 {
		return nil, fmt.Errorf("go list for %s ended with exit code %d: %s", target, result.ExitCode, stderr)
	}
	file, err := os.Open(filepath.Join(out, packagesFile))
	if err != nil {
		return nil, fmt.Errorf("reading the output of go list: %w", source.WithoutPath(err))
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
			return nil, fmt.Errorf("reading the output of go list: %w", err)
		}
		packages = append(packages, p)
	}
}

// packageDir returns the folder of a package in the tree. It is false for packages
// of the standard library or the module cache.
func (m goModules) packageDir(packages []goPackage, p goPackage) (string, bool) {
	main := slices.IndexFunc(packages, func(p goPackage) bool { return p.Module != nil && p.Module.Main && p.Module.Dir != "" })
	if main < 0 || p.Standard || p.Dir == "" {
		return "", false
	}
	// Relative to the main module: in a container the tree has another path.
	relative, err := filepath.Rel(packages[main].Module.Dir, p.Dir)
	if err != nil {
		return "", false
	}
	relative = filepath.ToSlash(relative)
	local := p.Module == nil || p.Module.Main || p.Module.Replace != nil && p.Module.Replace.Version == "" || strings.HasPrefix(relative, "vendor/")
	return path.Join(m.service.Path, relative), local
}

// isPartOfProgram reports whether a missing file, of the module importPath in
// folder, would be part of the program: in one of its packages or embedded by one.
func isPartOfProgram(packages []goPackage, dirs map[string]string, importPath, folder string, f source.File) bool {
	dir := path.Dir(f.Name)
	if f.Submodule {
		dir = f.Name
	}
	pkgPath := path.Join(importPath, dir)
	if vendored, ok := strings.CutPrefix(dir, "vendor/"); ok {
		pkgPath = vendored
	}
	_, listed := dirs[pkgPath]
	if listed && !f.Submodule && !strings.HasSuffix(f.Name, "_test.go") && slices.Contains([]string{".go", ".s", ".h", ".syso"}, path.Ext(f.Name)) {
		return true
	}
	for _, p := range packages {
		if f.Submodule && (p.ImportPath == pkgPath || strings.HasPrefix(p.ImportPath, pkgPath+"/")) {
			return true
		}
		inside, ok := strings.CutPrefix(path.Join(folder, f.Name), dirs[p.ImportPath]+"/")
		if ok && dirs[p.ImportPath] != "" && slices.ContainsFunc(p.EmbedPatterns, func(pattern string) bool { return matchesEmbed(pattern, inside, f.Submodule) }) {
			return true
		}
	}
	return false
}

// matchesEmbed reports whether a go:embed pattern matches a file, or may match a
// file of a submodule: https://pkg.go.dev/embed#hdr-Directives.
func matchesEmbed(pattern, file string, submodule bool) bool {
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
