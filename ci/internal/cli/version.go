package cli

import (
	"github.com/spf13/cobra"

	"dagger/slipway/internal/version"
)

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Tell which slipway this is",
		Long: `Version tells the commit that slipway was made of, with which Go, and for which
platform. "-dirty" says that files differed from the commit. Under go run, which
writes no commit into the program, it is that of the tree at --source.`,
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
