package cli

import (
	"github.com/spf13/cobra"

	"github.com/slipway-cd/slipway/ci/internal/version"
)

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of slipway",
		Long: `Version prints the commit from which slipway was built, the Go version and the
platform. "-dirty" means that files differed from the commit. With go run, which
records no commit, it prints that of the tree at --source.`,
		Example: `  slipway version
  slipway --version
  slipway version --output json`,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.printVersion(cmd) }
	return cmd
}

func (a *app) printVersion(cmd *cobra.Command) error {
	return a.printDocument(version.Read(cmd.Context(), a.source), nil)
}
