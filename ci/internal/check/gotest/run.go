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

	"github.com/slipway-cd/slipway/ci/internal/check/coverage"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
)

const noGo = "go is not on PATH: install Go from https://go.dev/dl"

// Run tests the modules of the tree at source and writes the report. Test failures and
// insufficient coverage are in the Summary. The error is an [*OptionError] for invalid
// options, and wraps [exec.ErrNotFound] if Go is missing, [ErrNoCompiler] if the race
// detector has no C compiler, and the context's cause if the run was cancelled. Modules run
// concurrently, and all of them run even if one fails.
func Run(ctx context.Context, source string, executor step.Executor, o Options) (Summary, error) {
	modules, err := o.modules(source)
	if err != nil {
		return Summary{}, err
	}
	if o.Out != "" {
		if err := prepareReportDir(o.Out); err != nil {
			return Summary{}, err
		}
	}
	r := runner{exec: executor, options: o}
	start := time.Now()
	outcomes, err := r.runAll(ctx, modules)
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

// Nothing returns the summary of a tree without modules, and writes its report to out, if
// that is not "".
func Nothing(out string) (Summary, error) {
	summary := Summary{Result: Succeeded, Modules: []Module{}}
	if out == "" {
		return summary, nil
	}
	if err := prepareReportDir(out); err != nil {
		return summary, err
	}
	return summary, writeReport(out, documents(summary, nil))
}

// runner runs modules.
type runner struct {
	exec    step.Executor
	options Options
	logMu   sync.Mutex
}

// outcome is the result of a module's run.
type outcome struct {
	summary  Module
	verdict  verdict
	coverage coverage.Module
}

// runAll runs the modules and returns their outcomes in the same order.
func (r *runner) runAll(ctx context.Context, modules []module) ([]outcome, error) {
	outcomes := make([]outcome, len(modules))
	errs := make([]error, len(modules))
	var group errgroup.Group
	if _, ok := r.exec.(step.Host); !ok { // their starts are not staggered: run as many as there are cores
		group.SetLimit(runtime.GOMAXPROCS(0))
	}
	for i, m := range modules {
		started := make(chan struct{})
		start := sync.OnceFunc(func() { close(started) })
		group.Go(func() error {
			defer start()
			outcomes[i], errs[i] = r.runModule(ctx, m, start)
			return nil
		})
		<-started // modules share packages, which Go would compile once for each
	}
	_ = group.Wait() // its functions return none
	if ctx.Err() != nil {
		return nil, fmt.Errorf("testing: %w", context.Cause(ctx))
	}
	for i, err := range errs {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, ErrNoCompiler) {
			return nil, err // the same for all modules
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

// runModule runs a module. It calls started when the first tests start, which is after
// most packages are compiled, or at once if the executor does not show when.
func (r *runner) runModule(ctx context.Context, m module, started func()) (out outcome, err error) {
	if ctx.Err() != nil {
		return outcome{}, context.Cause(ctx)
	}
	reporter := &progress{module: m.dir, total: m.packages(), started: time.Now(), onStart: started}
	r.log("%s: compiling and testing %d packages", m.dir, reporter.total)
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
	if host, ok := executor.(step.Host); ok { // a container returns events when it ends
		temp := m.tempDir()
		if err := os.MkdirAll(temp, 0o700); err != nil {
			return outcome{}, fmt.Errorf("testing %s: %w", m.dir, err)
		}
		defer func() {
			if ctx.Err() != nil { // go may have been killed without removing its files
				_ = os.RemoveAll(temp)
			}
			_ = os.Remove(temp) // fails if another run uses it
		}()
		invocation.Env["GOTMPDIR"] = temp
		host.Tee = reporter
		executor = host
		defer reporter.report(func(line string) { r.log("%s", line) })()
	} else {
		started()
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
	took := time.Since(reporter.started)
	out.summary.DurationMS = took.Milliseconds()
	r.log("%s: %d passed, %d failed, %d skipped, %s, in %s", m.dir, out.summary.Passed, out.summary.Failed,
		out.summary.Skipped, out.summary.coverageText(), took.Round(100*time.Millisecond))
	return out, nil
}

// tempDir returns the directory for the go command's temporary files on the host. It is the
// same for each run, because Go's test cache depends on the environment variables that a
// test reads, and [testing.T.TempDir] reads GOTMPDIR. It is in the user's cache directory,
// because other users could create a predictable name in the shared temporary directory.
func (m module) tempDir() string {
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir() // without a home directory
	}
	return filepath.Join(base, fmt.Sprintf("slipway-go-%.8x", sha256.Sum256([]byte(m.roots[0]+"\x00"+m.dir))))
}

// read evaluates the outputs in dir.
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
	// The go command writes no profile if nothing was built, and a truncated one if it
	// was killed; both are failures already.
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

// summarise combines the verdict and the coverage of a module.
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

func (r *runner) log(format string, args ...any) {
	if r.options.Log == nil {
		return
	}
	r.logMu.Lock()
	defer r.logMu.Unlock()
	r.options.Log(fmt.Sprintf(format, args...))
}
