package pipeline

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/check/coverage"
	"github.com/slipway-cd/slipway/ci/internal/check/format"
	"github.com/slipway-cd/slipway/ci/internal/check/gotest"
	"github.com/slipway-cd/slipway/ci/internal/check/lint"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// TestOptions are the options of [Pipeline.Test].
type TestOptions struct {
	// Gate is the minimum coverage of each module.
	Gate coverage.Gate
	// Out is the directory for the reports.
	Out string
	// Timeout limits the tests of one package; 0 means Go's default of ten minutes.
	Timeout time.Duration
}

// Test runs the tests of every Go service and of the pipeline, with the race detector if
// it is supported.
func (p Pipeline) Test(ctx context.Context, options TestOptions) (gotest.Summary, error) {
	if options.Timeout < 0 {
		return gotest.Summary{}, outcome.Usagef("invalid --timeout %s: want a duration above 0, such as 20m", options.Timeout)
	}
	t, err := p.open(ctx)
	if err != nil {
		return gotest.Summary{}, err
	}
	o := gotest.ForPlatform(t.Dir, t.platform)
	if len(o.Modules) == 0 {
		p.Recorder.Line("no service of the tree is a Go module: nothing to test")
		return gotest.Nothing(options.Out)
	}
	o.Gate, o.Out, o.Timeout, o.Race = options.Gate, options.Out, options.Timeout, true
	if p.Exec == nil {
		var reason string
		if o.Race, reason = gotest.RaceSupported(ctx); !o.Race {
			p.Recorder.Line("the race detector is off: " + reason)
		}
	}
	return p.test(ctx, t, o)
}

func (p Pipeline) test(ctx context.Context, t tree, o gotest.Options) (gotest.Summary, error) {
	o.Image, o.Log = t.lock.Reference("go"), p.Recorder.Line
	o.Tree, _ = t.Digests(ctx) // without them, no cached result is used
	summary, err := gotest.Run(ctx, t.Dir, p.exec(t.Tree, nil), o)
	if wrong := (*gotest.OptionError)(nil); errors.As(err, &wrong) {
		err = outcome.With(outcome.Usage, err)
	}
	return summary, err
}

// testServices tests the services of a rehearsal without the race detector and go vet, which
// would take a fifth of a first rehearsal, and without a minimum coverage: these are no parts of
// a delivery. [Pipeline.Test] has all three.
func (p Pipeline) testServices(ctx context.Context, t tree) error {
	o := gotest.ForServices(t.platform)
	o.SkipVet = true
	o.Modules = slices.DeleteFunc(o.Modules, func(module string) bool {
		none := !gotest.HasTests(t.Dir, module)
		if none {
			p.Recorder.Line(module + " has no tests, which slipway test refuses")
		}
		return none
	})
	if len(o.Modules) == 0 {
		return nil
	}
	summary, err := p.test(ctx, t, o)
	if err == nil && summary.Result == gotest.Failed {
		p.Recorder.Line(strings.TrimSuffix(summary.String(), "\n"))
		err = errors.New("the tests failed: run slipway test for the reports, or rehearse with --skip-tests")
	}
	return err
}

// LintOptions are the options of [Pipeline.Lint].
type LintOptions struct {
	// Only are the checks to run; none means all.
	Only []string
	// Services are the services to check; none means the whole tree.
	Services []string
	// Strict makes a missing tool a failure.
	Strict bool
	// VulnerabilityDB is the URL of a mirror of Go's vulnerability database; "" is Go's own.
	VulnerabilityDB string
}

// Findings are the findings of [Pipeline.Lint].
type Findings struct{ lint.Report }

// JSON writes the findings as one JSON document.
func (f Findings) JSON(w io.Writer) error { return report.WriteJSON(w, f.Report) }

// Lint checks code, workflows and configuration.
func (p Pipeline) Lint(ctx context.Context, options LintOptions) (found Findings, err error) {
	o := lint.Options{Strict: options.Strict, VulnerabilityDB: options.VulnerabilityDB, Day: time.Now().UTC().Format(time.DateOnly), Log: p.Recorder.Line}
	if o.Kinds, err = lint.ParseKinds(options.Only); err != nil {
		return found, err
	}
	t, err := p.open(ctx)
	if err != nil {
		return found, err
	}
	targets, err := lint.Find(ctx, t.Tree, t.platform, options.Services...)
	if err != nil {
		return found, err
	}
	o.Image = t.lock.Reference
	found.Report, err = lint.Run(ctx, t.Dir, p.exec(t.Tree, nil), targets, o)
	return found, err
}

// Formatted is the result of [Pipeline.Format].
type Formatted struct {
	format.Summary
	// Check is set if no file was written.
	Check bool
}

// Text writes the names of the changed files, or the differences if Check is set.
func (f Formatted) Text(w io.Writer) error {
	if f.Check {
		return f.Diff(w)
	}
	_, err := io.WriteString(w, strings.Join(append(f.Files, ""), "\n"))
	return err
}

// JSON writes the summary as one JSON document.
func (f Formatted) JSON(w io.Writer) error { return report.WriteJSON(w, f.Summary) }

// Format formats the files of services, or of the whole tree without services. With check
// it writes no file.
func (p Pipeline) Format(ctx context.Context, services []string, check bool) (found Formatted, err error) {
	found.Check = check
	t, err := p.open(ctx)
	if err != nil {
		return found, err
	}
	targets, err := lint.Find(ctx, t.Tree, t.platform, services...)
	if err != nil {
		return found, err
	}
	found.Summary, err = format.Run(ctx, p.exec(t.Tree, nil), targets.Formatters(t.lock.Reference))
	if err != nil || check {
		return found, err
	}
	return found, found.Apply(t.Dir)
}

// Lock updates the digests of named base images, or of all without names, in the lock
// file. With check it writes no file. It does not write a file that is up to date. A tree
// without a lock file gets one with the built-in images, or with the named ones.
func (p Pipeline) Lock(ctx context.Context, check bool, names ...string) (image.LockReport, error) {
	t, err := source.Open(ctx, p.Dir)
	if err != nil {
		return image.LockReport{}, err
	}
	lock, err := image.ReadLockFile(t.Dir)
	if err != nil {
		return image.LockReport{}, err
	}
	absent := len(lock.Images) == 0
	if absent {
		if lock, err = image.BuiltInLock(); err != nil {
			return image.LockReport{}, err
		}
	}
	renewed, renewals, err := lock.Resolve(ctx, names...)
	if err != nil {
		return image.LockReport{}, err
	}
	result := image.NewLockReport(renewals, check)
	if check || !result.Stale() && !absent {
		return result, nil
	}
	if absent && len(names) > 0 { // the others stay those of slipway
		maps.DeleteFunc(renewed.Images, func(name string, _ image.Pin) bool { return !slices.Contains(names, name) })
	}
	return result, renewed.Write(t.Dir)
}
