package cli

import (
	"github.com/spf13/cobra"

	"dagger/slipway/internal/check/coverage"
	"dagger/slipway/internal/check/gotest"
	"dagger/slipway/internal/pipeline"
	"dagger/slipway/internal/report/outcome"
)

func (a *app) testCommand() *cobra.Command {
	what := pipeline.TestOptions{Gate: coverage.Gate{Default: gotest.DefaultCoverage}}
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Test every Go service and the pipeline itself",
		Long: `Test runs the Go tests of every Go service and of the pipeline, with the race
detector, and gates their coverage. It writes coverage.out, coverage.html,
cobertura.xml, junit.xml and summary.md.`,
		Example: `  slipway test
  slipway test --min-coverage 90 --min-coverage backend=95`,
	}
	cmd.Flags().StringVar(&what.Out, "out", ".slipway/test", "directory to write the reports to")
	cmd.Flags().Var(&what.Gate, "min-coverage", "least coverage in percent, for all modules or for one (module=percent)")
	cmd.Flags().DurationVar(&what.Timeout, "timeout", 0, "how long the tests of one package may take (default ten minutes, as go test has it)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		summary, err := a.pipeline("", nil).Test(cmd.Context(), what)
		if err != nil {
			return err
		}
		if summary.Result == gotest.Failed {
			a.code = outcome.Failed
		}
		return a.printDocument(summary, nil)
	}
	return cmd
}
