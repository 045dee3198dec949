package format

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/bluekeyes/go-gitdiff/gitdiff"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
)

// Change is a formatter's change of a file.
type Change struct {
	// File is slash-separated and relative to the root of the source tree.
	File  string
	Hunks []Hunk
	diff  *gitdiff.File
}

// Hunk is a hunk of a diff.
type Hunk struct {
	// Line is the first line of the file that changes, from 1.
	Line int
	// Diff is the hunk in unified format, without the file's name.
	Diff string
}

// readChanges parses a unified diff of files in the folder dir. File names in the diff
// have a prefix.
func readChanges(diff io.Reader, dir, prefix string) ([]Change, error) {
	files, _, err := gitdiff.Parse(diff)
	if err != nil {
		return nil, fmt.Errorf("reading the diff: %w", err)
	}
	var changes []Change
	for _, file := range files {
		name := path.Join(dir, strings.TrimPrefix(filepath.ToSlash(file.NewName), prefix))
		if !filepath.IsLocal(filepath.FromSlash(name)) {
			return nil, fmt.Errorf("the diff contains %s, which is not in the source tree", name)
		}
		change := Change{File: name, diff: file}
		for _, fragment := range file.TextFragments {
			change.Hunks = append(change.Hunks, Hunk{
				Line: max(1, int(fragment.OldPosition+fragment.LeadingContext)),
				Diff: fragment.String(),
			})
		}
		changes = append(changes, change)
	}
	return changes, nil
}

// Diff returns the change as a unified diff.
func (c Change) Diff() string {
	var b strings.Builder
	fmt.Fprintf(&b, "--- a/%s\n+++ b/%s\n", c.File, c.File)
	for _, hunk := range c.Hunks {
		b.WriteString(hunk.Diff)
	}
	return b.String()
}

// Apply applies the change to the tree at root. It returns an error, and does not change
// the file, if the file has changed since the formatter ran.
func (c Change) Apply(root string) error {
	name := filepath.Join(root, filepath.FromSlash(c.File))
	before, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("formatting %s: %w", c.File, err)
	}
	var after bytes.Buffer
	if err := gitdiff.Apply(&after, bytes.NewReader(before), c.diff); err != nil {
		return fmt.Errorf("formatting %s, which has changed meanwhile: %w", c.File, err)
	}
	if err := replaceFile(name, after.Bytes()); err != nil {
		return fmt.Errorf("formatting %s: %w", c.File, err)
	}
	return nil
}

// replaceFile writes a file atomically and keeps its mode, because its content may not be
// committed yet.
func replaceFile(name string, content []byte) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	return source.WriteFileAtomic(name, content, info.Mode().Perm())
}

// lastLines returns the last three lines of a tool's output on one line.
func lastLines(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	return strings.TrimSpace(strings.Join(lines[max(0, len(lines)-3):], "; "))
}
