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

	"dagger/slipway/internal/exec/step"
	"dagger/slipway/internal/exec/tool"
	"dagger/slipway/internal/report"
)

// Summary is what all formatters together would change. Its JSON is part of
// the interface.
type Summary struct {
	// Files are those that are not formatted, or were not; sorted.
	Files []string `json:"files"`
	// SyntaxErrors are the places that a formatter could not read, as
	// "file:line:column: text".
	SyntaxErrors []string `json:"faults"`
	// Skipped are the reasons of formatters that could not be had.
	Skipped []string `json:"skipped"`
	// Changes are the changes of the files, in their order.
	Changes []Change `json:"-"`
}

// Run asks all formatters, each to its end. The error says what kept one from
// looking that could be had.
func Run(ctx context.Context, executor step.Executor, formatters []Formatter) (Summary, error) {
	type answer struct {
		changes []Change
		faults  []SyntaxError
		err     error
	}
	answers := make([]answer, len(formatters))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, f := range formatters {
		group.Go(func() error {
			a := &answers[i]
			a.changes, a.faults, a.err = f.Run(ctx, executor)
			return nil
		})
	}
	_ = group.Wait() // its functions return none
	if ctx.Err() != nil {
		return Summary{}, fmt.Errorf("formatting: %w", context.Cause(ctx))
	}
	s := Summary{Files: []string{}, SyntaxErrors: []string{}, Skipped: []string{}}
	var errs []error
	for _, a := range answers {
		var missing *tool.MissingError
		switch {
		case errors.As(a.err, &missing):
			s.Skipped = append(s.Skipped, missing.Reason)
		case a.err != nil:
			errs = append(errs, a.err)
		}
		s.Changes = append(s.Changes, a.changes...)
		for _, f := range a.faults {
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

// Apply makes the changes in the tree at root.
func (s Summary) Apply(root string) error {
	var errs []error
	for _, c := range s.Changes {
		errs = append(errs, c.Apply(root))
	}
	return errors.Join(errs...)
}

// Diff writes the changes as unified differences.
func (s Summary) Diff(w io.Writer) error {
	for _, c := range s.Changes {
		if _, err := io.WriteString(w, c.Diff()); err != nil {
			return err
		}
	}
	return nil
}

// Markdown writes the files and their differences.
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
