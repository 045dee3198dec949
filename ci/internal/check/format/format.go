// Package format is how code is laid out: what the formatters of Go and of
// Terraform would change, as differences that lint tells and fmt applies.
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

	"dagger/slipway/internal/exec/step"
	"dagger/slipway/internal/exec/tool"
)

// diffFile is where an invocation leaves the difference.
const diffFile = "format.diff"

// Formatter is a tool that knows how files of a folder should look. It only
// tells, and changes nothing: so the same invocation serves who checks and who
// formats, on the host and in a container that throws its files away.
type Formatter struct {
	// Kind names the formatter among others, Step the files that it looks at.
	Kind string
	Tool tool.Tool
	Step step.Step
	// prefix is what the tool puts before the name of a formatted file.
	prefix string
	// syntaxErrorPattern finds the place and the text of what the tool could not read:
	// groups "file", "line", "column" and "text".
	syntaxErrorPattern *regexp.Regexp
}

// Go formats the Go module in a folder of the tree. Generated files are left
// as they are. gofumpt takes the module's path from its go.mod, to tell its
// packages from the standard library's.
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
			Include: step.IncludeFolder(module),
		},
		syntaxErrorPattern: regexp.MustCompile(`(?m)^(?P<file>[^:\n]+\.go):(?P<line>\d+):(?P<column>\d+): (?P<text>.+)$`),
	}
}

// Terraform formats a folder of Terraform configuration and those below it.
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
			Include: step.IncludeFolder(folder),
		},
		prefix:             "new/",
		syntaxErrorPattern: regexp.MustCompile(`Error: (?P<text>.+)\n\n {2}on (?P<file>.+) line (?P<line>\d+)`),
	}
}

// SyntaxError is a place that a formatter could not read.
type SyntaxError struct {
	File         string
	Line, Column int // from 1; 0 where the tool told none
	Text         string
}

// Run asks the formatter what it would change. What it cannot read are faults;
// the other files' changes are told all the same. The error is a
// [*tool.MissingError] where the tool cannot be had.
func (f Formatter) Run(ctx context.Context, executor step.Executor) ([]Change, []SyntaxError, error) {
	dir, err := os.MkdirTemp("", "slipway-format-")
	if err != nil {
		return nil, nil, fmt.Errorf("making room for the formatter: %w", err)
	}
	defer os.RemoveAll(dir)
	result, err := f.Tool.Run(ctx, executor, f.Step, dir)
	if err != nil {
		return nil, nil, err
	}
	diff, err := os.Open(filepath.Join(dir, diffFile))
	if err != nil {
		return nil, nil, fmt.Errorf("%s left no difference: %w", f.Step.Name, err)
	}
	defer diff.Close()
	changes, err := readChanges(diff, f.Step.Dir, f.prefix)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", f.Step.Name, err)
	}
	faults := f.syntaxErrors(result.Stderr)
	if result.ExitCode != 0 && len(changes)+len(faults) == 0 {
		return nil, nil, fmt.Errorf("%s ended with exit code %d: %w", f.Step.Name, result.ExitCode, errors.New(lastLines(result.Stderr)))
	}
	return changes, faults, nil
}

func (f Formatter) syntaxErrors(said string) []SyntaxError {
	var faults []SyntaxError
	for _, match := range f.syntaxErrorPattern.FindAllStringSubmatch(said, -1) {
		group := func(name string) string {
			if n := f.syntaxErrorPattern.SubexpIndex(name); n > 0 {
				return match[n]
			}
			return ""
		}
		line, _ := strconv.Atoi(group("line"))     // digits, by the expression
		column, _ := strconv.Atoi(group("column")) // or none
		faults = append(faults, SyntaxError{
			File: path.Join(f.Step.Dir, filepath.ToSlash(group("file"))), Line: line, Column: column, Text: group("text"),
		})
	}
	return faults
}
