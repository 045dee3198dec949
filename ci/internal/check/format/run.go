package format

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/exec/tool"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// Summary is the result of all formatters. Its JSON is part of the interface.
type Summary struct {
	// Files are the files that are, or were, not formatted; sorted.
	Files []string `json:"files"`
	// SyntaxErrors are in the form "file:line:column: text".
	SyntaxErrors []string `json:"faults"`
	// Skipped are the reasons why formatters are missing.
	Skipped []string `json:"skipped"`
	// Changes are the changes of Files, in the same order.
	Changes []Change `json:"-"`
}

// Run runs all formatters, even if one fails. A missing formatter is skipped; any other
// failure is an error.
func Run(ctx context.Context, executor step.Executor, formatters []Formatter) (Summary, error) {
	type result struct {
		changes      []Change
		syntaxErrors []SyntaxError
		err          error
	}
	results := make([]result, len(formatters))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, f := range formatters {
		group.Go(func() error {
			r := &results[i]
			r.changes, r.syntaxErrors, r.err = f.Run(ctx, executor)
			return nil
		})
	}
	_ = group.Wait() // its functions return none
	if ctx.Err() != nil {
		return Summary{}, fmt.Errorf("formatting: %w", context.Cause(ctx))
	}
	s := Summary{Files: []string{}, SyntaxErrors: []string{}, Skipped: []string{}}
	var errs []error
	for _, r := range results {
		switch missing, ok := errors.AsType[*tool.MissingError](r.err); {
		case ok:
			s.Skipped = append(s.Skipped, missing.Reason)
		case r.err != nil:
			errs = append(errs, r.err)
		}
		s.Changes = append(s.Changes, r.changes...)
		for _, f := range r.syntaxErrors {
			s.SyntaxErrors = append(s.SyntaxErrors, fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, max(1, f.Column), f.Text))
		}
	}
	slices.SortFunc(s.Changes, func(a, b Change) int { return cmp.Compare(a.File, b.File) })
	for _, c := range s.Changes {
		s.Files = append(s.Files, c.File)
	}
	slices.Sort(s.SyntaxErrors)
	slices.Sort(s.Skipped)
	s.Skipped = slices.Compact(s.Skipped)
	return s, errors.Join(errs...)
}

// Apply applies the changes to the tree at root.
func (s Summary) Apply(root string) error {
	var errs []error
	for _, c := range s.Changes {
		errs = append(errs, c.Apply(root))
	}
	return errors.Join(errs...)
}

// Diff writes the changes as unified diffs.
func (s Summary) Diff(w io.Writer) error {
	for _, c := range s.Changes {
		if _, err := io.WriteString(w, c.Diff()); err != nil {
			return err
		}
	}
	return nil
}

// Markdown writes the files and their diffs.
func (s Summary) Markdown(w io.Writer) error {
	var b strings.Builder
	if len(s.Files) == 0 {
		b.WriteString("Every file is formatted.\n")
	}
	for _, c := range s.Changes {
		difference := c.Diff()
		fence := report.Fence(difference)
		fmt.Fprintf(&b, "`%s`\n\n%sdiff\n%s%s\n\n", c.File, fence, difference, fence)
	}
	for _, fault := range s.SyntaxErrors {
		fmt.Fprintf(&b, "- %s\n", fault)
	}
	for _, reason := range s.Skipped {
		fmt.Fprintf(&b, "- skipped: %s\n", reason)
	}
	return report.WriteMarkdown(w, b.String())
}
