package gotest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"dagger/slipway/internal/check/coverage"
	"dagger/slipway/internal/exec/step"
)

const noGo = "go is not on PATH: install Go from https://go.dev/dl"

// Run tests the modules of the tree at source with executor, and writes the report.
// Failed tests and too little coverage are in the Summary; an error says that
// the stage could not do all of its work. It is an [*OptionError] where the options
// are to blame, and wraps [exec.ErrNotFound] where Go is missing,
// [ErrNoCompiler] where the race detector has no C compiler, and the context's
// cause where the run was cancelled. Modules run at the same time where there
// are cores to spare, and each to its end: no failure hides another.
func Run(ctx context.Context, source string, executor step.Executor, o Options) (Summary, error) {
	modules, err := o.modules(source)
	if err != nil {
		return Summary{}, err
	}
	if o.Out != "" {
		if err := prepareReport(o.Out); err != nil {
			return Summary{}, err
		}
	}
	r := runner{exec: executor, options: o}
	start := time.Now()
	outcomes, err := r.all(ctx, modules)
	if outcomes == nil {
		return Summary{}, err
	}
	summary := Summary{Result: Succeeded, Race: o.Race, DurationMS: time.Since(start).Milliseconds(), gate: o.Gate}
	var verdicts []verdict
	for _, out := range outcomes {
		if out.summary.Result == Failed {
			summary.Result = Failed
		}
		summary.Modules = append(summary.Modules, out.summary)
		verdicts = append(verdicts, out.verdict)
		summary.covered.Modules = append(summary.covered.Modules, out.coverage)
	}
	if o.Out != "" {
		err = errors.Join(err, writeReport(o.Out, documents(summary, verdicts)))
	}
	return summary, err
}

// runner runs modules.
type runner struct {
	exec    step.Executor
	options Options
	telling sync.Mutex
}

// outcome is all that is known of a module's run.
type outcome struct {
	summary  Module
	verdict  verdict
	coverage coverage.Module
}

// all runs the modules and returns their outcomes in the same order.
func (r *runner) all(ctx context.Context, modules []module) ([]outcome, error) {
	outcomes := make([]outcome, len(modules))
	errs := make([]error, len(modules))
	var group errgroup.Group
	// A go test compiles and runs packages on all cores, with stretches that
	// keep one busy; half as many at a time fill those.
	group.SetLimit(max(1, runtime.GOMAXPROCS(0)/2))
	for i, m := range modules {
		group.Go(func() error {
			outcomes[i], errs[i] = r.one(ctx, m)
			return nil
		})
	}
	_ = group.Wait() // its functions return none
	if ctx.Err() != nil {
		return nil, fmt.Errorf("testing: %w", context.Cause(ctx))
	}
	for i, err := range errs {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, ErrNoCompiler) {
			return nil, err // the machine's fault: once is enough
		}
		if err != nil {
			v := verdict{module: modules[i], results: &results{}}
			v.failModule(err.Error(), "")
			measured := coverage.Module{Dir: modules[i].dir, ImportPath: modules[i].importPath}
			outcomes[i] = outcome{summary: v.summarise(measured, r.options.Gate), verdict: v, coverage: measured}
		}
	}
	return outcomes, errors.Join(errs...)
}

func (r *runner) one(ctx context.Context, m module) (out outcome, err error) {
	if ctx.Err() != nil {
		return outcome{}, context.Cause(ctx)
	}
	told := &progress{module: m.dir, total: m.packages(), started: time.Now()}
	r.tell("%s: compiling and testing %d packages", m.dir, told.total)
	dir, err := os.MkdirTemp("", "slipway-test-*")
	if err != nil {
		return outcome{}, fmt.Errorf("testing %s: %w", m.dir, err)
	}
	defer func() {
		if removeErr := os.RemoveAll(dir); err == nil && removeErr != nil {
			err = fmt.Errorf("testing %s: %w", m.dir, removeErr)
		}
	}()

	executor, invocation := r.exec, Step(m.dir, r.options)
	if host, ok := executor.(step.Host); ok { // a container's events come at its end
		temp := m.temp()
		if err := os.MkdirAll(temp, 0o700); err != nil {
			return outcome{}, fmt.Errorf("testing %s: %w", m.dir, err)
		}
		defer func() {
			if ctx.Err() != nil { // go was perhaps killed, and left it
				_ = os.RemoveAll(temp)
			}
			_ = os.Remove(temp) // as long as no other run is in there
		}()
		invocation.Env["GOTMPDIR"] = temp
		host.Tee = told
		executor = host
		defer told.report(func(line string) { r.tell("%s", line) })()
	}
	result, err := executor.Run(ctx, invocation, dir)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return outcome{}, fmt.Errorf("testing %s: "+noGo+" (%w)", m.dir, exec.ErrNotFound)
	case err != nil:
		return outcome{}, fmt.Errorf("testing %s: %w", m.dir, err)
	}
	out, err = r.read(m, dir, result)
	if err != nil {
		return outcome{}, fmt.Errorf("testing %s: %w", m.dir, err)
	}
	took := time.Since(told.started)
	out.summary.DurationMS = took.Milliseconds()
	r.tell("%s: %d passed, %d failed, %d skipped, %s, in %s", m.dir, out.summary.Passed, out.summary.Failed,
		out.summary.Skipped, out.summary.coverageText(), took.Round(100*time.Millisecond))
	return out, nil
}

// temp is where go's own temporary files go on the host. It is the same for each run:
// [testing.T.TempDir] asks for GOTMPDIR, and Go keeps a result for the environment that
// its test has asked for. A name that others can guess is no name for a folder that they
// can write to, so it is not in the one for everybody's temporary files.
func (m module) temp() string {
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir() // without a home
	}
	return filepath.Join(base, fmt.Sprintf("slipway-go-%.8x", sha256.Sum256([]byte(m.roots[0]+"\x00"+m.dir))))
}

// read judges what the invocation left in dir.
func (r *runner) read(m module, dir string, end step.Result) (outcome, error) {
	results, err := readEventsFile(filepath.Join(dir, eventsFile))
	if err != nil {
		return outcome{}, err
	}
	if r.options.Race {
		if err := raceError(results, end.Stderr); err != nil {
			return outcome{}, err
		}
	}
	v := judge(m, results, ending{exitCode: end.ExitCode, stderr: end.Stderr})
	measured, err := coverage.Module{Dir: m.dir, ImportPath: m.importPath}, error(nil)
	if m.dir != PipelineTests {
		measured, err = readProfile(m, filepath.Join(dir, profileFile), r.options.Exclude)
	}
	// The go command writes no profile where nothing was built, and half a one
	// where it was killed; that has been told then.
	if err != nil && len(v.failures) == 0 {
		v.failModule("its coverage is unknown: "+err.Error(), "")
	}
	return outcome{summary: v.summarise(measured, r.options.Gate), verdict: v, coverage: measured}, nil
}

func readEventsFile(name string) (*results, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("go test wrote no events: %w", err)
	}
	defer file.Close()
	return readResults(file)
}

func readProfile(m module, name string, exclude coverage.Globs) (coverage.Module, error) {
	none := coverage.Module{Dir: m.dir, ImportPath: m.importPath}
	file, err := os.Open(name)
	if err != nil {
		return none, fmt.Errorf("go test wrote no coverage profile: %w", err)
	}
	defer file.Close()
	measured, err := coverage.ReadModule(m.tree, m.dir, m.importPath, file, exclude)
	if err != nil {
		return none, err
	}
	return measured, nil
}

// summarise puts the verdict and the coverage of a module together.
func (v verdict) summarise(measured coverage.Module, gate coverage.Gate) Module {
	total, minimum := measured.Totals(), gate.For(v.module.dir)
	failedTests := 0
	for _, f := range v.failures {
		if f.Test != "" {
			failedTests++
		}
	}
	m := Module{
		Path:   v.module.dir,
		Result: Succeeded,
		Tests:  v.passed + failedTests, Passed: v.passed, Failed: len(v.failures), Skipped: len(v.skips),
		Coverage: total.Percent(), MinCoverage: minimum, CoverageMet: total.Meets(minimum), Statements: total.Statements,
		Failures: v.failures, Skips: v.skips,
	}
	if m.Failed > 0 || !m.CoverageMet {
		m.Result = Failed
	}
	return m
}

func (r *runner) tell(format string, args ...any) {
	if r.options.Narrate == nil {
		return
	}
	r.telling.Lock()
	defer r.telling.Unlock()
	r.options.Narrate(fmt.Sprintf(format, args...))
}
