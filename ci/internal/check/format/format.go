// Package format runs the formatters of Go and Terraform and returns their changes as
// diffs, which lint reports and fmt applies.
package format

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/exec/tool"
)

// diffFile is the output file with the diff.
const diffFile = "format.diff"

// Formatter is a tool that formats the files of a folder. It only prints a diff and
// changes no file, so that lint and fmt run the same step, on the host and in a container.
type Formatter struct {
	// Kind is the name of the formatter.
	Kind string
	Tool tool.Tool
	Step step.Step
	// prefix precedes the name of a formatted file in the diff.
	prefix string
	// syntaxErrorPattern matches a syntax error in the tool's output, with the groups
	// "file", "line", "column" and "text".
	syntaxErrorPattern *regexp.Regexp
}

// Go returns the formatter of the Go module in a folder. It does not change generated
// files. gofumpt needs go.mod to distinguish the module's packages from the standard
// library.
func Go(module, image string) Formatter {
	return Formatter{
		Kind: "gofumpt",
		Tool: tool.Gofumpt,
		Step: step.Step{
			Name:    "gofumpt " + module,
			Image:   image,
			Dir:     path.Clean(module),
			Args:    tool.Gofumpt.Command("-d", "."),
			Env:     map[string]string{"GOWORK": "off", "CGO_ENABLED": "0"},
			Caches:  step.GoCaches(),
			Stdout:  diffFile,
			Include: []string{module},
		},
		syntaxErrorPattern: regexp.MustCompile(`(?m)^(?P<file>[^:\n]+\.go):(?P<line>\d+):(?P<column>\d+): (?P<text>.+)$`),
	}
}

// Terraform returns the formatter of a folder of Terraform configuration and its
// subfolders.
func Terraform(folder, image string) Formatter {
	return Formatter{
		Kind: "terraform-fmt",
		Tool: tool.Terraform,
		Step: step.Step{
			Name:    "terraform fmt " + folder,
			Image:   image,
			Dir:     path.Clean(folder),
			Args:    tool.Terraform.Command("fmt", "-check", "-diff", "-recursive", "-no-color"),
			Env:     map[string]string{"CHECKPOINT_DISABLE": "1"},
			Stdout:  diffFile,
			Include: []string{folder},
		},
		prefix:             "new/",
		syntaxErrorPattern: regexp.MustCompile(`Error: (?P<text>.+)\n\n {2}on (?P<file>.+) line (?P<line>\d+)`),
	}
}

// SyntaxError is a syntax error in a file, which is then not formatted.
type SyntaxError struct {
	File         string
	Line, Column int // from 1; 0 if unknown
	Text         string
}

// Run returns the changes of the formatter, and syntax errors for files that it cannot
// parse. The error is a [*tool.MissingError] if the tool is missing.
func (f Formatter) Run(ctx context.Context, executor step.Executor) ([]Change, []SyntaxError, error) {
	dir, err := os.MkdirTemp("", "slipway-format-")
	if err != nil {
		return nil, nil, fmt.Errorf("creating a folder for the formatter: %w", err)
	}
	defer os.RemoveAll(dir)
	result, err := f.Tool.Run(ctx, executor, f.Step, dir)
	if err != nil {
		return nil, nil, err
	}
	diff, err := os.Open(filepath.Join(dir, diffFile))
	if err != nil {
		return nil, nil, fmt.Errorf("%s wrote no diff: %w", f.Step.Name, err)
	}
	defer diff.Close()
	changes, err := readChanges(diff, f.Step.Dir, f.prefix)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", f.Step.Name, err)
	}
	syntaxErrors := f.syntaxErrors(result.Stderr)
	if result.ExitCode != 0 && len(changes)+len(syntaxErrors) == 0 {
		return nil, nil, fmt.Errorf("%s ended with exit code %d: %w", f.Step.Name, result.ExitCode, errors.New(lastLines(result.Stderr)))
	}
	return changes, syntaxErrors, nil
}

func (f Formatter) syntaxErrors(stderr string) []SyntaxError {
	var syntaxErrors []SyntaxError
	for _, match := range f.syntaxErrorPattern.FindAllStringSubmatch(stderr, -1) {
		group := func(name string) string {
			if n := f.syntaxErrorPattern.SubexpIndex(name); n > 0 {
				return match[n]
			}
			return ""
		}
		line, _ := strconv.Atoi(group("line"))     // digits, by the expression
		column, _ := strconv.Atoi(group("column")) // or none
		syntaxErrors = append(syntaxErrors, SyntaxError{
			File: path.Join(f.Step.Dir, filepath.ToSlash(group("file"))), Line: line, Column: column, Text: group("text"),
		})
	}
	return syntaxErrors
}
