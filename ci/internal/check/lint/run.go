package lint

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/exec/tool"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Run checks the targets in the tree at source. The Report contains the findings and the
// failed checks; the error is the context's cause if the run was cancelled. Checks run
// concurrently, and all of them run even if one fails.
func Run(ctx context.Context, source string, executor step.Executor, t Targets, o Options) (Report, error) {
	checks, err := o.checks(source, t)
	if err != nil {
		return Report{}, err
	}
	return run(ctx, executor, checks, o)
}

func run(ctx context.Context, executor step.Executor, checks []Check, o Options) (Report, error) {
	r := runner{exec: executor, options: o}
	start := time.Now()
	findings := make([][]Finding, len(checks))
	results := make([]CheckResult, len(checks))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, c := range checks {
		group.Go(func() error {
			results[i], findings[i] = r.runCheck(ctx, c)
			return nil
		})
	}
	_ = group.Wait() // its functions return none
	if ctx.Err() != nil {
		return Report{}, fmt.Errorf("linting: %w", context.Cause(ctx))
	}
	report := Report{Result: Succeeded, Strict: o.Strict, Findings: slices.Concat(findings...), Checks: results}
	slices.SortFunc(report.Findings, compare)
	report.Findings = slices.Compact(report.Findings)
	if report.Findings == nil {
		report.Findings = []Finding{} // not null in JSON
	}
	for _, result := range results {
		if result.Result == HasFindings || result.Result == CheckFailed || (result.Result == Skipped && o.Strict) {
			report.Result = Failed
		}
	}
	report.DurationMS = time.Since(start).Milliseconds()
	return report, nil
}

// runner runs checks.
type runner struct {
	exec    step.Executor
	options Options
	logMu   sync.Mutex
}

// runCheck runs a check and logs its result.
func (r *runner) runCheck(ctx context.Context, c Check) (CheckResult, []Finding) {
	result := CheckResult{Kind: c.Kind, Name: c.Name, Result: Clean}
	if c.notApplicable != "" {
		result.Result, result.Reason = NotApplicable, c.notApplicable
		return result, nil
	}
	if ctx.Err() != nil {
		return result, nil
	}
	start := time.Now()
	findings, err := c.run(ctx, r.exec)
	if ctx.Err() != nil {
		return result, nil // cancelled
	}
	result.DurationMS = time.Since(start).Milliseconds()
	result.Findings = len(findings)
	switch missing, ok := errors.AsType[*tool.MissingError](err); {
	case ok:
		result.Result, result.Reason = Skipped, outcome.OneLine(missing.Reason)
	case err != nil:
		result.Result, result.Reason = CheckFailed, outcome.OneLine(err.Error())
	case len(findings) > 0:
		result.Result = HasFindings
	}
	line := result.String()
	if len(findings) > 0 {
		line += ", the first " + slices.MinFunc(findings, compare).String()
	}
	r.log(line)
	return result, findings
}

func (r *runner) log(line string) {
	if r.options.Log == nil {
		return
	}
	r.logMu.Lock()
	defer r.logMu.Unlock()
	r.options.Log(line)
}
