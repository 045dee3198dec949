// Package workflow computes how GitHub interprets the files in .github/workflows: which
// jobs an event starts, in which order and with which permissions. The real behaviour
// can be seen only after a push to main, and a condition that never holds looks like
// one that does not hold today. So it is computed here for every event.
//
// It supports what the workflows of this repository use, and reports an error for
// anything else.
package workflow

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rhysd/actionlint"
)

// Dir is the directory of GitHub's workflows, relative to the root of the tree.
const Dir = ".github/workflows"

// Workflow is one workflow file.
type Workflow struct {
	// Name is the file's name, without directories.
	Name   string
	lines  map[*actionlint.Job][]string // of the file that a job is from
	syntax *actionlint.Workflow
}

// Set has the workflows of a repository.
type Set []Workflow

// Finding is a problem of a workflow.
type Finding struct {
	File string
	Line int
	Text string
}

func (f Finding) String() string { return fmt.Sprintf("%s/%s:%d: %s", Dir, f.File, f.Line, f.Text) }

// Read reads the workflows of the tree at root.
func Read(root string) (Set, error) {
	names, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(Dir), "*.y*ml"))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no workflows in %s", filepath.Join(root, filepath.FromSlash(Dir)))
	}
	files := map[string]string{}
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading workflows: %w", err)
		}
		files[filepath.Base(name)] = string(content)
	}
	return Parse(files)
}

// Parse parses workflows from memory, by file name. It returns all syntax errors.
func Parse(files map[string]string) (Set, error) {
	var set Set
	var all []error
	for name, content := range files {
		syntax, problems := actionlint.Parse([]byte(content))
		for _, p := range problems {
			all = append(all, fmt.Errorf("%s/%s:%d: %s", Dir, name, p.Line, p.Message))
		}
		w := Workflow{Name: name, lines: map[*actionlint.Job][]string{}, syntax: syntax}
		if syntax != nil {
			lines := strings.Split(content, "\n")
			for _, job := range syntax.Jobs {
				w.lines[job] = lines
			}
		}
		set = append(set, w)
	}
	slices.SortFunc(set, func(a, b Workflow) int { return cmp.Compare(a.Name, b.Name) })
	return set, errors.Join(all...)
}

// WithJob returns the set with a job of a file as it is in another version of the file.
func (s Set) WithJob(file, id string, from Set) Set {
	s = slices.Clone(s)
	id = strings.ToLower(id)
	for n, w := range s {
		if w.Name != file {
			continue
		}
		syntax, job := *w.syntax, from[0].syntax.Jobs[id]
		job.Pos = syntax.Jobs[id].Pos // which is its place among the jobs
		syntax.Jobs, w.lines = maps.Clone(syntax.Jobs), maps.Clone(w.lines)
		syntax.Jobs[id], w.lines[job] = job, from[0].lines[job]
		w.syntax = &syntax
		s[n] = w
	}
	return s
}

// jobs returns the workflow's jobs in the order of the file.
func (w Workflow) jobs() []*actionlint.Job {
	return slices.SortedFunc(maps.Values(w.syntax.Jobs), func(a, b *actionlint.Job) int { return cmp.Compare(a.Pos.Line, b.Pos.Line) })
}

// text returns a string that may be absent.
func text(s *actionlint.String) string {
	if s == nil {
		return ""
	}
	return s.Value
}
