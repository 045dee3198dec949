package report

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// The files that [Release.Write] writes.
const (
	JSONFile     = "report.json"
	MarkdownFile = "report.md"
)

// Write writes the report to a directory as JSON and Markdown, and creates the
// directory.
func (r Release) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("creating the directory of the report: %w", err)
	}
	for name, render := range map[string]func(io.Writer) error{JSONFile: r.JSON, MarkdownFile: r.Markdown} {
		if err := writeFile(filepath.Join(dir, name), render); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
	}
	return nil
}

func writeFile(name string, render func(io.Writer) error) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := render(file); err != nil {
		_ = file.Close() // the first error counts
		return err
	}
	return file.Close()
}
