package infra

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-cd/slipway/ci/internal/infra/terraform"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Finding is an error or warning in the configuration.
type Finding struct {
	// Root is the folder of the root module.
	Root string `json:"root"`
	// File is slash-separated and relative to the source tree; "" if Terraform
	// reports none. Line and Column start at 1.
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column,omitempty"`
	// Severity is "error" or "warning".
	Severity string `json:"severity"`
	// Rule is the check that found it: "validate", "fmt", "test" or "init".
	Rule    string `json:"rule"`
	Message string `json:"message"`
}

// Validation is the result of validating all root modules.
type Validation struct {
	Result   Result    `json:"result"`
	Findings []Finding `json:"findings"`
	Roots    []Root    `json:"roots"`
}

// Root is a validated root module.
type Root struct {
	Dir string `json:"dir"`
	// Passed and Failed count its test runs; both are 0 without tests.
	Passed int `json:"passed"`
	Failed int `json:"failed"`
}

// Validate checks the root module and the root modules below it: providers and
// modules against the lock file, the configuration, its format, its tests. It needs
// neither credentials nor state. All checks run, so that no finding hides another;
// the error is why a check could not run.
func (s Stage) Validate(ctx context.Context) (Validation, error) {
	if err := s.checkConfiguration(); err != nil {
		return Validation{}, err
	}
	dirs, err := s.roots(ctx)
	if err != nil {
		return Validation{}, err
	}
	v := Validation{Result: Succeeded, Findings: []Finding{}}
	if err := s.checkFormat(ctx, &v); err != nil {
		return v, err
	}
	found := make([]Validation, len(dirs))
	var group errgroup.Group  // a root's tests run one after the other, and mostly wait
	var installing sync.Mutex // a cache of providers takes one installation at a time
	for n, dir := range dirs {
		one := s
		one.Dir = dir
		group.Go(func() error { return one.validate(ctx, &found[n], &installing) })
	}
	err = group.Wait()
	for _, one := range found {
		v.Findings, v.Roots = append(v.Findings, one.Findings...), append(v.Roots, one.Roots...)
	}
	if err != nil {
		return v, err
	}
	slices.SortStableFunc(v.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	v.Findings = slices.Compact(v.Findings)
	for _, f := range v.Findings {
		if f.Severity == terraform.SeverityError {
			v.Result = Failed
		}
	}
	return v, nil
}

// roots returns the root modules: the stage's own, and folders below it with a lock
// file.
func (s Stage) roots(ctx context.Context) ([]string, error) {
	files, err := s.Tree.Files(ctx, s.dir())
	if err != nil {
		return nil, err
	}
	dirs := []string{s.dir()}
	for _, name := range files {
		if folder, base := path.Split(name); base == lockFile && folder != "" {
			dirs = append(dirs, path.Join(s.dir(), folder))
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs), nil
}

// checkFormat finds unformatted files in the root module and below. Syntax errors
// are left to validate.
func (s Stage) checkFormat(ctx context.Context, v *Validation) error {
	w, err := s.newWorkDir()
	if err != nil {
		return err
	}
	defer w.close()
	_, err = s.format(ctx, w, v)
	return err
}

func (s Stage) format(ctx context.Context, w *workDir, v *Validation) (output, error) {
	out, err := w.run(ctx, s.root().FormatStep())
	if err != nil {
		return out, err
	}
	found, err := formatFindings(w.file(terraform.StreamFile("fmt")), s.dir())
	v.Findings = append(v.Findings, found...)
	return out, err
}

func (s Stage) validate(ctx context.Context, v *Validation, installing sync.Locker) error {
	w, err := s.newWorkDir()
	if err != nil {
		return err
	}
	defer w.close()
	root := Root{Dir: s.dir()}
	defer func() { v.Roots = append(v.Roots, root) }()

	installing.Lock()
	inited, err := w.run(ctx, s.root().OfflineInitStep())
	installing.Unlock()
	if err != nil {
		return err
	}
	if inited.result.ExitCode != 0 {
		failure, errs := inited.failure(s.dir()), terraform.Errors(inited.messages)
		if outcome.Of(failure) == outcome.Usage && !terraform.IsSourceError(inited.command, errs) {
			return failure // not an error of the configuration
		}
		v.add(s.dir(), "init", errs, failure)
		return nil
	}
	if err := s.validateConfiguration(ctx, w, v); err != nil {
		return err
	}
	return s.test(ctx, w, v, &root)
}

func (s Stage) validateConfiguration(ctx context.Context, w *workDir, v *Validation) error {
	validated, err := w.run(ctx, s.root().ValidateStep())
	if err != nil {
		return err
	}
	data, err := os.ReadFile(w.file(terraform.StreamFile("validate")))
	if err != nil {
		return fmt.Errorf("reading the output of terraform validate: %w", err)
	}
	var answer struct {
		Valid       bool                   `json:"valid"`
		Diagnostics []terraform.Diagnostic `json:"diagnostics"`
	}
	if err := json.Unmarshal(terraform.JSONDocument(data), &answer); err != nil {
		return validated.failure(s.dir())
	}
	var failure error
	if validated.result.ExitCode != 0 {
		failure = validated.failure(s.dir())
	}
	v.add(s.dir(), "validate", answer.Diagnostics, failure)
	return nil
}

// test runs the module's tests, if it has any.
func (s Stage) test(ctx context.Context, w *workDir, v *Validation, root *Root) error {
	if !s.hasTests() {
		return nil
	}
	tested, err := w.run(ctx, s.root().TestStep())
	if err != nil {
		return err
	}
	before := len(v.Findings)
	for _, m := range tested.messages {
		if m.Summary != nil {
			root.Passed, root.Failed = m.Summary.Passed, m.Summary.Failed+m.Summary.Errored
		}
		if m.Diagnostic == nil {
			continue
		}
		f := finding(s.dir(), "test", *m.Diagnostic)
		if m.TestRun != "" {
			f.Message = fmt.Sprintf("run %q: %s", m.TestRun, f.Message)
		}
		if f.File == "" && m.TestFile != "" {
			f.File = path.Join(s.dir(), m.TestFile)
		}
		v.Findings = append(v.Findings, f)
	}
	if tested.result.ExitCode != 0 && len(v.Findings) == before {
		v.add(s.dir(), "test", nil, tested.failure(s.dir()))
	}
	return nil
}

// hasTests reports whether Terraform would find tests: in the root module or its
// folder "tests".
func (s Stage) hasTests() bool {
	for _, pattern := range []string{"*.tftest.hcl", "*.tftest.json", "tests/*.tftest.hcl", "tests/*.tftest.json"} {
		if found, _ := filepath.Glob(filepath.Join(s.folder(), pattern)); len(found) > 0 { // the patterns are valid
			return true
		}
	}
	return false
}

// add adds diagnostics as findings; without any, it adds failure.
func (v *Validation) add(dir, rule string, diagnostics []terraform.Diagnostic, failure error) {
	for _, d := range diagnostics {
		v.Findings = append(v.Findings, finding(dir, rule, d))
	}
	if len(diagnostics) == 0 && failure != nil {
		v.Findings = append(v.Findings, Finding{Root: dir, Severity: terraform.SeverityError, Rule: rule, Message: failure.Error()})
	}
}

func finding(dir, rule string, d terraform.Diagnostic) Finding {
	f := Finding{Root: dir, Severity: d.Severity, Rule: rule, Message: d.Message()}
	if d.Range != nil && d.Range.Filename != "" {
		f.File, f.Line, f.Column = path.Join(dir, filepath.ToSlash(d.Range.Filename)), d.Range.Start.Line, d.Range.Start.Column
	}
	return f
}

var (
	oldFile = regexp.MustCompile(`^--- old/(.+)$`)
	hunk    = regexp.MustCompile(`^@@ -(\d+)`)
)

// formatFindings parses the output of `terraform fmt -check -diff` and returns the
// first unformatted line of each file.
func formatFindings(name, dir string) ([]Finding, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading the output of terraform fmt: %w", err)
	}
	defer file.Close()
	var found []Finding
	line, open := 0, false // line in the old file; open until the first change is found
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		text := lines.Text()
		switch {
		case oldFile.MatchString(text):
			found = append(found, Finding{
				Root: dir, File: path.Join(dir, oldFile.FindStringSubmatch(text)[1]), Line: 1, Severity: terraform.SeverityError,
				Rule: "fmt", Message: "not formatted: run slipway fmt",
			})
			open, line = true, 0
		case hunk.MatchString(text) && open:
			line, _ = strconv.Atoi(hunk.FindStringSubmatch(text)[1])
		case line > 0 && (strings.HasPrefix(text, "-") || strings.HasPrefix(text, "+")):
			found[len(found)-1].Line = max(1, line)
			open, line = false, 0
		case line > 0:
			line++
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the output of terraform fmt: %w", err)
	}
	return found, nil
}

// Text writes one line per finding, as compilers do.
func (v Validation) Text(w io.Writer) error {
	var b strings.Builder
	for _, f := range v.Findings {
		fmt.Fprintf(&b, "%s: %s: %s (%s)\n", f.location(), f.Severity, f.Message, f.Rule)
	}
	for _, root := range v.Roots {
		fmt.Fprintf(&b, "%s: %s\n", root.Dir, root.testCounts())
	}
	b.WriteString(v.headline() + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// Markdown writes the findings as a table.
func (v Validation) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "### Terraform: %s\n\n", v.headline())
	if len(v.Findings) > 0 {
		b.WriteString("| where | what | rule |\n|---|---|---|\n")
		for _, f := range v.Findings {
			fmt.Fprintf(&b, "| %s | %s: %s | %s |\n", report.Inline(f.location()), f.Severity, report.Inline(f.Message), f.Rule)
		}
		b.WriteString("\n")
	}
	for _, root := range v.Roots {
		fmt.Fprintf(&b, "- `%s`: %s\n", root.Dir, root.testCounts())
	}
	return report.WriteMarkdown(w, b.String())
}

// JSON writes the findings as one document.
func (v Validation) JSON(w io.Writer) error { return report.WriteJSON(w, v) }

func (v Validation) headline() string {
	if v.Result == Succeeded && len(v.Findings) == 0 {
		return "nothing found"
	}
	if len(v.Findings) == 1 {
		return "1 finding"
	}
	return fmt.Sprintf("%d findings", len(v.Findings))
}

func (f Finding) location() string {
	switch {
	case f.File == "":
		return f.Root
	case f.Line == 0:
		return f.File
	case f.Column == 0:
		return fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	return fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Column)
}

func (r Root) testCounts() string {
	if r.Passed+r.Failed == 0 {
		return "no tests"
	}
	return fmt.Sprintf("%d tests passed, %d failed", r.Passed, r.Failed)
}
