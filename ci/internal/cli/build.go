package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/slipway-cd/slipway/ci/internal/pipeline"
)

func (a *app) buildCommand() *cobra.Command {
	var out string
	var options pipeline.ImageOptions
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build the services' images",
		Long: `Build builds the image of each service for all platforms, without a container
engine, and writes one OCI image layout per service. Builds are reproducible: the
same source gives the same digest.`,
		Example: `  slipway build
  slipway build --service backend --platform linux/arm64 --output json`,
	}
	cmd.Flags().StringVar(&out, "out", ".slipway/build", "directory for the OCI layouts")
	cmd.Flags().StringSliceVar(&options.Services, "service", nil, "build only these services (default all)")
	cmd.Flags().StringSliceVar(&options.Platforms, "platform", nil, "platforms to build for (default linux/amd64,linux/arm64)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		built, err := a.pipeline("", nil).Build(cmd.Context(), options, out)
		if err != nil {
			return err
		}
		for _, remark := range built.Notes() {
			fmt.Fprintln(a.stderr, remark)
		}
		return a.printDocument(built, nil)
	}
	return cmd
}
