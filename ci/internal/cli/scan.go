package cli

import (
	"github.com/spf13/cobra"

	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
	"github.com/slipway-cd/slipway/ci/internal/pipeline"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func (a *app) scanCommand() *cobra.Command {
	var options pipeline.ScanOptions
	var region string
	cmd := &cobra.Command{
		Use:   "scan",
		Short: "Scan the services' images for known vulnerabilities",
		Long: `Scan searches the services' images for known vulnerabilities with Trivy, in Go
programs and in packages of the Linux distribution. With --sha it scans published
images and includes the findings of Amazon ECR's scan. It fails (exit code 1) on a
finding with the severity --fail-on or higher; an unknown severity counts as high.
It also fails if the vulnerability database cannot be reached.

To accept a finding for some time, add it to Trivy's file ` + supplychain.ExceptionsFile + `:
  vulnerabilities:
    - {id: CVE-2026-1234, statement: not reachable, expired_at: 2026-12-31}`,
		Example: `  slipway scan
  slipway scan --fail-on critical --output json
  slipway scan --sha 4d91040c9a3e0f5d1f6c2a7b8e9d0c1b2a3f4e5d --service backend`,
	}
	bindServices(cmd, &options.Services)
	bindRegion(cmd, &region)
	cmd.Flags().StringVar(&options.SHA, "sha", "", "full id of a commit whose published images are scanned (default builds the images from the tree)")
	cmd.Flags().StringVar(&options.From, "from", "", "scan the OCI layouts in this directory, written by slipway build (default builds the images)")
	cmd.Flags().StringVar(&options.FailOn, "fail-on", string(supplychain.High), "lowest severity that fails: critical, high, medium, low or none")
	cmd.Flags().StringVar(&options.Exceptions, "exceptions", "", "file of accepted findings (default "+supplychain.ExceptionsFile+", if it exists)")
	removedFlag(cmd, "db", "set TRIVY_DB_REPOSITORY to use another database")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if options.SHA != "" && options.From != "" {
			return outcome.Usagef("--sha and --from exclude each other: leave out one of them")
		}
		found, err := a.pipeline(region, nil).Scan(cmd.Context(), options)
		if err != nil {
			return err
		}
		return a.printDocument(found, found.Err())
	}
	return cmd
}
