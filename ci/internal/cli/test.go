package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"dagger/slipway/internal/check/coverage"
	"dagger/slipway/internal/check/gotest"
	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/config/source"
	"dagger/slipway/internal/exec/step"
	"dagger/slipway/internal/images/image"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/report/outcome"
)

func (a *app) testCommand() *cobra.Command {
	var out string
	var timeout time.Duration
	gate := coverage.Gate{Default: gotest.DefaultCoverage}
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Test every Go service and the pipeline itself",
		Long: `Test runs the Go tests of every Go service and of the pipeline, with the race
detector, and gates their coverage. It writes coverage.out, coverage.html,
cobertura.xml, junit.xml and summary.md.`,
		Example: `  slipway test
  slipway test --min-coverage 90 --min-coverage backend=95`,
	}
	cmd.Flags().StringVar(&out, "out", ".slipway/test", "directory to write the reports to")
	cmd.Flags().Var(&gate, "min-coverage", "least coverage in percent, for all modules or for one (module=percent)")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "how long the tests of one package may take (default ten minutes, as go test has it)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		tree, p, err := a.open(ctx)
		if err != nil {
			return err
		}
		if timeout < 0 {
			return outcome.Usagef("--timeout %s: name how long a package may take, such as 20m", timeout)
		}
		lock, err := image.ReadLock(tree.Dir)
		if err != nil {
			return err
		}
		options := gotest.ForPlatform(tree.Dir, p)
		options.Image, options.Gate, options.Out, options.Timeout = lock.Reference("go"), gate, out, timeout
		supported, why := gotest.RaceSupported(ctx)
		if options.Race = supported; !supported {
			fmt.Fprintf(a.stderr, "the race detector is off: %s\n", why)
		}
		summary, err := a.runTests(ctx, tree.Dir, options)
		if err != nil {
			return err
		}
		if summary.Result == gotest.Failed {
			a.code = outcome.Failed
		}
		return a.printTests(summary, out)
	}
	return cmd
}

func (a *app) runTests(ctx context.Context, dir string, options gotest.Options) (gotest.Summary, error) {
	options.Narrate = func(line string) { fmt.Fprintln(a.stderr, line) }
	options.Tree, _ = source.Tree{Dir: dir}.Digests(ctx) // without them, no kept result is taken
	summary, err := gotest.Run(ctx, dir, step.Host{Source: dir}, options)
	var wrong *gotest.OptionError
	if errors.As(err, &wrong) {
		err = outcome.With(outcome.Usage, err)
	}
	return summary, err
}

// rehearseTests tests what a rehearsal delivers: the services, without the race
// detector, whose runtime would have to be compiled first.
func (a *app) rehearseTests(ctx context.Context, dir string, p platform.Platform) error {
	options := gotest.ForServices(p)
	if len(options.Modules) == 0 {
		return nil
	}
	options.Gate = coverage.Gate{Default: gotest.DefaultCoverage}
	summary, err := a.runTests(ctx, dir, options)
	if err != nil {
		return err
	}
	if summary.Result == gotest.Failed {
		fmt.Fprint(a.stderr, summary.Text())
		return fmt.Errorf("the tests failed: run slipway test for the reports, or rehearse with --skip-tests")
	}
	return nil
}

func (a *app) printTests(summary gotest.Summary, out string) error {
	switch a.output {
	case jsonDoc:
		return report.WriteJSON(a.stdout, summary)
	case markdown:
		data, err := os.ReadFile(filepath.Join(out, "summary.md"))
		if err != nil {
			return fmt.Errorf("reading the summary: %w", err)
		}
		_, err = a.stdout.Write(data)
		return err
	}
	_, err := fmt.Fprint(a.stdout, summary.Text())
	return err
}
