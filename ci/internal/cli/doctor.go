package cli

import (
	"github.com/spf13/cobra"

	"github.com/slipway-cd/slipway/ci/internal/check/doctor"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func (a *app) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor [STAGE…]",
		Short: "Check which stages this machine can run",
		Long: `Doctor checks what the stages need: programs, credentials, the source tree and the
services file. It shows which stages can run and how to install what is missing. It
changes nothing and prints no secrets.

With stages as arguments it checks only those, and exits with 1 if one of them
cannot run. Without arguments it checks all, and exits with 1 if a local stage
cannot run: test, lint, fmt, build, up or rehearse. "dagger" is the same stages
with Dagger, and "compose" is docker compose up.`,
		Example: `  slipway doctor
  slipway doctor deploy rollback
  slipway doctor plan --output json`,
		Args: func(_ *cobra.Command, args []string) error { return doctor.CheckStages(args) },
		ValidArgsFunction: func(_ *cobra.Command, used []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return matching(doctor.StageNames(), toComplete, used), cobra.ShellCompDirectiveNoFileComp
		},
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		report, err := a.pipeline("", nil).Doctor(cmd.Context(), args...)
		if err != nil {
			return err
		}
		if !report.Ready {
			a.code = outcome.Failed
		}
		return a.printDocument(report, nil)
	}
	return cmd
}
