package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"dagger/slipway/internal/image"
	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/sbom"
	"dagger/slipway/internal/step"
)

func (a *app) sbomCommand() *cobra.Command {
	var out, from string
	var services []string
	cmd := &cobra.Command{
		Use:   "sbom",
		Short: "Write the bills of materials of the services' images",
		Long: `Sbom writes what is in the image of each service as SPDX 2.3: the modules and
the toolchain of Go programs, and the packages of the Linux distribution below.
It is the document that publishing attaches to the image. The same image gives
the same file.`,
		Example: `  slipway sbom
  slipway sbom --service backend --from .slipway/build --output json`,
	}
	cmd.Flags().StringVar(&out, "out", ".slipway/sbom", "directory to write the documents to")
	cmd.Flags().StringVar(&from, "from", "", "describe the layouts in this directory, which build wrote (default builds)")
	cmd.Flags().StringSliceVar(&services, "service", nil, "only these services (default all)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		images, err := a.images(cmd.Context(), services, from)
		if err != nil {
			return err
		}
		bills, err := writeBills(cmd.Context(), images, out)
		if err != nil {
			return err
		}
		return a.printBills(bills)
	}
	return cmd
}

// images builds images, or reads the layouts that build wrote.
func (a *app) images(ctx context.Context, services []string, from string) ([]image.Image, error) {
	tree, p, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	selected, err := p.Select(services...)
	if err != nil {
		return nil, err
	}
	if from == "" {
		builder := image.Builder{Source: tree, Exec: step.Host{Source: tree.Dir}, Cache: image.CacheDir()}
		if builder.Lock, err = image.ReadLock(tree.Dir); err != nil {
			return nil, err
		}
		return builder.Build(ctx, selected)
	}
	var images []image.Image
	for _, service := range selected {
		img, err := image.ReadLayout(from, service.Name)
		if err != nil {
			return nil, outcome.Usagef("%w: slipway build --out %s writes it", err, from)
		}
		images = append(images, img)
	}
	return images, nil
}

func writeBills(ctx context.Context, images []image.Image, out string) (sbom.Written, error) {
	written := sbom.Written{Documents: []sbom.WrittenDocument{}}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return written, outcome.Usagef("making the output directory: %w: name another directory with --out", err)
	}
	for _, img := range images {
		document, err := sbom.New(ctx, img.Service, img.Index)
		if err != nil {
			return written, err
		}
		data, err := document.JSON()
		if err != nil {
			return written, err
		}
		digest, err := img.Digest()
		if err != nil {
			return written, fmt.Errorf("describing the image of %s: %w", img.Service, err)
		}
		file := filepath.Join(out, img.Service+".spdx.json")
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return written, fmt.Errorf("writing the bill of materials of %s: %w", img.Service, err)
		}
		written.Documents = append(written.Documents, sbom.WrittenDocument{Service: img.Service, Digest: digest.String(), File: filepath.ToSlash(file), Packages: document.Packages()})
	}
	return written, nil
}

func (a *app) printBills(written sbom.Written) error {
	switch a.output {
	case jsonDoc:
		return report.WriteJSON(a.stdout, written)
	case markdown:
		fmt.Fprintf(a.stdout, "| service | image | packages | file |\n|---|---|---|---|\n")
		for _, b := range written.Documents {
			fmt.Fprintf(a.stdout, "| %s | `%s` | %d | `%s` |\n", b.Service, b.Digest, b.Packages, b.File)
		}
	default:
		for _, b := range written.Documents {
			fmt.Fprintf(a.stdout, "%-12s %s  %d packages  %s\n", b.Service, b.Digest, b.Packages, b.File)
		}
	}
	return nil
}
