package cli

import (
	"context"

	"github.com/spf13/cobra"

	"dagger/slipway/internal/delivery"
	"dagger/slipway/internal/image"
	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/platform"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/step"
	"dagger/slipway/internal/supplychain"
)

// scanFlags are those of scan.
type scanFlags struct {
	releaseFlags
	failOn, exceptions, from string
}

func (a *app) scanCommand() *cobra.Command {
	var f scanFlags
	cmd := &cobra.Command{
		Use:   "scan",
		Short: "Look for known vulnerabilities in the services' images",
		Long: `Scan looks for known vulnerabilities with Trivy: in the Go programs of the
images and in the packages of the Linux distribution below. With --sha it looks at
images that are published, and also at what Amazon ECR's own scan found. It fails
(exit code 1) on a finding that is as bad as --fail-on or worse; one whose severity
nobody says counts as high. A database that does not answer is a failure, too.

Findings are accepted for a while in ` + supplychain.ExceptionsFile + `, which is Trivy's own:
  vulnerabilities:
    - {id: CVE-2026-1234, statement: not reachable, expired_at: 2026-12-31}`,
		Example: `  slipway scan
  slipway scan --fail-on critical --output json
  slipway scan --sha 4d91040c9a3e0f5d1f6c2a7b8e9d0c1b2a3f4e5d --service backend`,
	}
	f.bind(cmd)
	cmd.Flags().StringVar(&f.SHA, "sha", "", "full id of a commit whose published images are scanned (default builds what the tree holds)")
	cmd.Flags().StringVar(&f.from, "from", "", "scan the layouts in this directory, which build wrote (default builds)")
	cmd.Flags().StringVar(&f.failOn, "fail-on", string(supplychain.High), "severity that fails: critical, high, medium, low or none")
	cmd.Flags().StringVar(&f.exceptions, "exceptions", "", "file of accepted findings (default "+supplychain.ExceptionsFile+", if it is there)")
	gone(cmd, "db", "Trivy reads its own database: TRIVY_DB_REPOSITORY names another")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		found, err := a.scan(cmd.Context(), f)
		if err != nil {
			return err
		}
		return a.printDocument(found, found.Err())
	}
	return cmd
}

func (a *app) scan(ctx context.Context, f scanFlags) (found supplychain.Report, err error) {
	s := delivery.Scan{Exceptions: f.exceptions}
	if s.FailOn, err = supplychain.ParseThreshold(f.failOn); err != nil {
		return found, err
	}
	if f.SHA != "" && f.from != "" {
		return found, outcome.Usagef("--sha says what is published, and --from what is not: leave out one of them")
	}
	if f.exceptions == "" {
		if s.Exceptions, err = supplychain.FindExceptions(a.source); err != nil {
			return found, err
		}
	}
	if f.SHA != "" {
		d, err := a.delivery(ctx, f.releaseFlags, true, report.Plain{W: a.stderr})
		if err != nil {
			return found, err
		}
		return d.ScanPublished(ctx, f.SHA, s)
	}
	tree, p, err := a.open(ctx)
	if err != nil {
		return found, err
	}
	builder := image.Builder{Source: tree, Exec: step.Host{Source: tree.Dir}, Cache: image.CacheDir()}
	if builder.Lock, err = image.ReadLock(tree.Dir); err != nil {
		return found, err
	}
	services, err := p.Select(f.services...)
	if err != nil {
		return found, err
	}
	var images []image.Image
	if f.from == "" {
		images, err = builder.Build(ctx, services)
	} else {
		images, err = readLayouts(f.from, services)
	}
	if err != nil {
		return found, err
	}
	return delivery.ScanImages(ctx, builder.Exec, builder.Lock, images, s)
}

// readLayouts reads the layouts that build wrote.
func readLayouts(dir string, services []platform.Service) ([]image.Image, error) {
	var images []image.Image
	for _, service := range services {
		img, err := image.ReadLayout(dir, service.Name)
		if err != nil {
			return nil, outcome.Usagef("%w: slipway build --out %s writes it", err, dir)
		}
		images = append(images, img)
	}
	return images, nil
}
