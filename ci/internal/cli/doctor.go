package cli

import (
	"github.com/spf13/cobra"

	"dagger/slipway/internal/doctor"
	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/registry"
)

func (a *app) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor [STAGE…]",
		Short: "Tell what is installed here, and which stages that is enough for",
		Long: `Doctor looks at what the stages need: programs and their versions, credentials,
registries, the source tree. It tells which stages are ready, which work with
limits, which cannot work, and how to get what is missing. It changes nothing,
tells no secret, and gives each look three seconds: without a network, too, it is
over in a few.

With names of stages it looks only at what those need, and exits with 1 if one of
them cannot work. Without, it tells about all, and exits with 1 if one cannot work
that needs this machine only: test, lint, fmt, build, up, rehearse. "dagger" stands
for the same stages with Dagger, "compose" for docker compose up.`,
		Example: `  slipway doctor
  slipway doctor deploy rollback
  slipway doctor plan --output json`,
		Args: func(_ *cobra.Command, args []string) error {
			_, err := doctor.Select(args)
			return err
		},
		ValidArgsFunction: func(_ *cobra.Command, taken []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return without(starting(doctor.StageNames(), begun), taken), cobra.ShellCompDirectiveNoFileComp
		},
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		carrier := registry.NewTransport()
		defer carrier.CloseIdleConnections()
		report, err := doctor.Run(cmd.Context(), doctor.Machine(a.source, carrier), args...)
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
