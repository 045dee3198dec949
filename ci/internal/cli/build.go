package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"dagger/slipway/internal/image"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/step"
)

func (a *app) buildCommand() *cobra.Command {
	var out string
	var services, platforms []string
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build the services' images",
		Long: `Build assembles the image of each service for all platforms, without a
container engine, and writes one OCI image layout per service. The same source
gives the same digest.`,
		Example: `  slipway build
  slipway build --service backend --platform linux/arm64 --output json`,
	}
	cmd.Flags().StringVar(&out, "out", ".slipway/build", "directory to write the layouts to")
	cmd.Flags().StringSliceVar(&services, "service", nil, "build only these services (default all)")
	cmd.Flags().StringSliceVar(&platforms, "platform", nil, "platforms to build for (default linux/amd64,linux/arm64)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		tree, p, err := a.open(ctx)
		if err != nil {
			return err
		}
		selected, err := p.Select(services...)
		if err != nil {
			return err
		}
		builder := image.Builder{Source: tree, Exec: step.Host{Source: tree.Dir}, Cache: image.CacheDir()}
		if builder.Lock, err = image.ReadLock(tree.Dir); err != nil {
			return err
		}
		if builder.Platforms, err = image.ParsePlatforms(platforms); err != nil {
			return err
		}
		images, err := builder.Build(ctx, selected)
		if err != nil {
			return err
		}
		if err := image.WriteLayouts(out, images); err != nil {
			return err
		}
		return a.printImages(images)
	}
	return cmd
}

func (a *app) printImages(images []image.Image) error {
	built, err := image.Describe(images)
	if err != nil {
		return err
	}
	for _, b := range built {
		if b.Baseless != "" {
			fmt.Fprintf(a.stderr, "%s is built without its base, good for rehearsal only: %s\n", b.Service, b.Baseless)
		}
	}
	for _, b := range built {
		if b.Note != "" {
			fmt.Fprintf(a.stderr, "%s is %s\n", b.Service, b.Note)
		}
	}
	switch a.output {
	case jsonDoc:
		return report.WriteJSON(a.stdout, image.Summary{Images: built})
	case markdown:
		fmt.Fprintf(a.stdout, "| service | digest | platforms | size |\n|---|---|---|---|\n")
		for _, b := range built {
			fmt.Fprintf(a.stdout, "| %s | `%s` | %s | %s |\n", b.Service, b.Digest, strings.Join(b.Platforms, ", "), megabytes(b.Size))
		}
	default:
		for _, b := range built {
			fmt.Fprintf(a.stdout, "%-12s %s  %s  %s\n", b.Service, b.Digest, strings.Join(b.Platforms, ","), megabytes(b.Size))
		}
	}
	return nil
}

func megabytes(bytes int64) string {
	return fmt.Sprintf("%.1f MB", float64(bytes)/1e6)
}
