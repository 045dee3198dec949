package report

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// The files of a release's directory.
const (
	JSONFile     = "report.json"
	MarkdownFile = "report.md"
)

// Write writes the report to dir, which it makes, for programs and for people.
func (r Release) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making room for the report: %w", err)
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
		_ = file.Close() // what was not written is told already
		return err
	}
	return file.Close()
}
