package cli

import (
	"github.com/spf13/cobra"

	"github.com/slipway-cd/slipway/ci/internal/check/coverage"
	"github.com/slipway-cd/slipway/ci/internal/check/gotest"
	"github.com/slipway-cd/slipway/ci/internal/pipeline"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func (a *app) testCommand() *cobra.Command {
	options := pipeline.TestOptions{Gate: coverage.Gate{Default: gotest.DefaultCoverage}}
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Test every Go service and the pipeline",
		Long: `Test runs the Go tests of every Go service and of the pipeline with the race
detector, and fails if a module's coverage is below the minimum. It writes
coverage.out, coverage.html, cobertura.xml, junit.xml and summary.md.`,
		Example: `  slipway test
  slipway test --min-coverage 90 --min-coverage backend=95`,
	}
	cmd.Flags().StringVar(&options.Out, "out", ".slipway/test", "directory for the reports")
	cmd.Flags().Var(&options.Gate, "min-coverage", "minimum coverage in percent, for all modules or for one (MODULE=PERCENT)")
	cmd.Flags().DurationVar(&options.Timeout, "timeout", 0, "time limit for the tests of one package (default 10m, as in go test; 30m for those of the pipeline)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		summary, err := a.pipeline("", nil).Test(cmd.Context(), options)
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
