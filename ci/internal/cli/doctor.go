package cli

import (
	"github.com/spf13/cobra"

	"dagger/slipway/internal/check/doctor"
	"dagger/slipway/internal/report/outcome"
)

func (a *app) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor [STAGE…]",
		Short: "Check what this machine lacks, and for which stages",
		Long: `Doctor checks what the stages need: programs, credentials, the source tree and its
services file. It says which stages can run, and how to get what is missing. It
changes nothing and prints no secret.

With names of stages it checks only what those need, and exits with 1 if one of
them cannot run. Without, it covers all, and exits with 1 if one cannot run that
needs this machine only: test, lint, fmt, build, up, rehearse. "dagger" stands
for the same stages with Dagger, "compose" for docker compose up.`,
		Example: `  slipway doctor
  slipway doctor deploy rollback
  slipway doctor plan --output json`,
		Args: func(_ *cobra.Command, args []string) error { return doctor.CheckStages(args) },
		ValidArgsFunction: func(_ *cobra.Command, taken []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return without(withPrefix(doctor.StageNames(), begun), taken), cobra.ShellCompDirectiveNoFileComp
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
