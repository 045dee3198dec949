package adopt

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Written is the result of writing a services file.
type Written struct {
	Cluster  string  `json:"cluster"`
	File     string  `json:"file"`
	Services []Entry `json:"services"`
	// Notes say what the file cannot express, and what was left out.
	Notes []string `json:"notes"`
}

// Entry is an entry of the file and its ECS service.
type Entry struct {
	Name    string `json:"name"`
	Service string `json:"service"`
	Kind    string `json:"kind"`
}

// CheckTarget returns an error if a file exists and must not be replaced.
func CheckTarget(file string, force bool) error {
	if _, err := os.Stat(file); err == nil && !force {
		return existsError(file)
	}
	return nil
}

func existsError(file string) error {
	return outcome.Usagef("%s exists and is not overwritten: write another file with --out, or replace it with --force", file)
}

// Write writes a file. Without force, an existing one is an error.
func Write(file string, data []byte, force bool) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("creating the folder of %s: %w", file, err)
	}
	write := source.CreateFileAtomic
	if force {
		write = source.WriteFileAtomic
	}
	err := write(file, data, 0o644)
	if errors.Is(err, fs.ErrExist) && !force {
		return existsError(file)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	return nil
}

// nextStep is the hint after a file was written.
const nextStep = "Read the file, then compare it with what runs: slipway diff"

// JSON writes the result as one JSON document.
func (w Written) JSON(to io.Writer) error {
	if w.Notes == nil {
		w.Notes = []string{}
	}
	return report.WriteJSON(to, w)
}

// Text writes the result for a terminal.
func (w Written) Text(to io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d services of cluster %s\n", w.File, len(w.Services), w.Cluster)
	for _, entry := range w.Services {
		fmt.Fprintf(&b, "  %-25s %-10s %s\n", entry.Name, entry.Kind, entry.Service)
	}
	for _, note := range w.Notes {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	b.WriteString(nextStep + "\n")
	_, err := io.WriteString(to, b.String())
	return err
}

// Markdown writes the result as Markdown.
func (w Written) Markdown(to io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "`%s`: %d services of cluster %s\n\n| entry | kind | ECS service |\n|---|---|---|\n", w.File, len(w.Services), w.Cluster)
	for _, entry := range w.Services {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", entry.Name, entry.Kind, entry.Service)
	}
	for _, note := range w.Notes {
		fmt.Fprintf(&b, "\n- %s", report.Inline(note))
	}
	b.WriteString("\n\n" + nextStep + "\n")
	return report.WriteMarkdown(to, b.String())
}
