package pipeline

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"dagger/slipway/internal/check/coverage"
	"dagger/slipway/internal/check/format"
	"dagger/slipway/internal/check/gotest"
	"dagger/slipway/internal/check/lint"
	"dagger/slipway/internal/config/source"
	"dagger/slipway/internal/images/image"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/report/outcome"
)

// TestOptions says what is asked of the tests.
type TestOptions struct {
	// Gate is the least coverage of each module.
	Gate coverage.Gate
	// Out is the directory that receives the reports.
	Out string
	// Timeout is how long the tests of one package may take; 0 is Go's own limit.
	Timeout time.Duration
}

// TestOptions runs the tests of every Go service and of the pipeline, with the race detector
// where there is one.
func (p Pipeline) Test(ctx context.Context, what TestOptions) (gotest.Summary, error) {
	if what.Timeout < 0 {
		return gotest.Summary{}, outcome.Usagef("--timeout %s: name how long a package may take, such as 20m", what.Timeout)
	}
	t, err := p.open(ctx)
	if err != nil {
		return gotest.Summary{}, err
	}
	o := gotest.ForPlatform(t.Dir, t.platform)
	o.Gate, o.Out, o.Timeout, o.Race = what.Gate, what.Out, what.Timeout, true
	if p.Exec == nil {
		var why string
		if o.Race, why = gotest.RaceSupported(ctx); !o.Race {
			p.Recorder.Line("the race detector is off: " + why)
		}
	}
	return p.test(ctx, t, o)
}

func (p Pipeline) test(ctx context.Context, t tree, o gotest.Options) (gotest.Summary, error) {
	o.Image, o.Narrate = t.lock.Reference("go"), p.Recorder.Line
	o.Tree, _ = t.Digests(ctx) // without them, no kept result is taken
	summary, err := gotest.Run(ctx, t.Dir, p.exec(t.Tree, nil), o)
	if wrong := (*gotest.OptionError)(nil); errors.As(err, &wrong) {
		err = outcome.With(outcome.Usage, err)
	}
	return summary, err
}

// testServices tests what a rehearsal delivers, without the race detector, whose
// runtime would have to be compiled first.
func (p Pipeline) testServices(ctx context.Context, t tree) error {
	o := gotest.ForServices(t.platform)
	if len(o.Modules) == 0 {
		return nil
	}
	o.Gate = coverage.Gate{Default: gotest.DefaultCoverage}
	summary, err := p.test(ctx, t, o)
	if err == nil && summary.Result == gotest.Failed {
		p.Recorder.Line(strings.TrimSuffix(summary.String(), "\n"))
		err = errors.New("the tests failed: run slipway test for the reports, or rehearse with --skip-tests")
	}
	return err
}

// LintOptions says what is looked at for faults.
type LintOptions struct {
	// Only are the checks that run; none means all.
	Only []string
	// Services are those that are looked at; none means everything.
	Services []string
	// Strict fails where a tool cannot be had.
	Strict bool
}

// Findings are what was found in the source tree.
type Findings struct{ lint.Report }

// JSON writes the findings for programs.
func (f Findings) JSON(w io.Writer) error { return report.WriteJSON(w, f.Report) }

// Lint looks for faults in code, workflows and configuration.
func (p Pipeline) Lint(ctx context.Context, what LintOptions) (found Findings, err error) {
	o := lint.Options{Strict: what.Strict, Day: time.Now().UTC().Format(time.DateOnly), Log: p.Recorder.Line}
	if o.Kinds, err = lint.ParseKinds(what.Only); err != nil {
		return found, err
	}
	t, err := p.open(ctx)
	if err != nil {
		return found, err
	}
	targets, err := lint.Find(ctx, t.Tree, t.platform, what.Services...)
	if err != nil {
		return found, err
	}
	o.Image = t.lock.Reference
	found.Report, err = lint.Run(ctx, t.Dir, p.exec(t.Tree, nil), targets, o)
	return found, err
}

// Formatted is what the formatters have changed, or would.
type Formatted struct {
	format.Summary
	// Check tells that nothing was written.
	Check bool
}

// Text writes the names of the files, or the differences of a check.
func (f Formatted) Text(w io.Writer) error {
	if f.Check {
		return f.Diff(w)
	}
	_, err := io.WriteString(w, strings.Join(append(f.Files, ""), "\n"))
	return err
}

// JSON writes the files for programs.
func (f Formatted) JSON(w io.Writer) error { return report.WriteJSON(w, f.Summary) }

// Format formats the files of services, and of everything without any; with check it
// only tells.
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

// Lock locks images from elsewhere, all without names, to what their registries have
// now; with check it only tells. A file that is up to date is not touched.
func (p Pipeline) Lock(ctx context.Context, check bool, names ...string) (image.Renewals, error) {
	t, err := source.Open(ctx, p.Dir)
	if err != nil {
		return image.Renewals{}, err
	}
	lock, err := image.ReadLock(t.Dir)
	if err != nil {
		return image.Renewals{}, err
	}
	renewed, renewals, err := lock.Renew(ctx, names...)
	if err != nil {
		return image.Renewals{}, err
	}
	told := image.NewRenewals(renewals, check)
	if check || !told.Stale() {
		return told, nil
	}
	return told, renewed.Write(t.Dir)
}
