package cli

import (
	"github.com/spf13/cobra"

	"dagger/slipway/internal/images/supplychain"
	"dagger/slipway/internal/pipeline"
	"dagger/slipway/internal/report/outcome"
)

func (a *app) scanCommand() *cobra.Command {
	var what pipeline.ScanOptions
	var region string
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
	bindServices(cmd, &what.Services)
	bindRegion(cmd, &region)
	cmd.Flags().StringVar(&what.SHA, "sha", "", "full id of a commit whose published images are scanned (default builds what the tree holds)")
	cmd.Flags().StringVar(&what.From, "from", "", "scan the layouts in this directory, which build wrote (default builds)")
	cmd.Flags().StringVar(&what.FailOn, "fail-on", string(supplychain.High), "severity that fails: critical, high, medium, low or none")
	cmd.Flags().StringVar(&what.Exceptions, "exceptions", "", "file of accepted findings (default "+supplychain.ExceptionsFile+", if it is there)")
	removedFlag(cmd, "db", "Trivy reads its own database: TRIVY_DB_REPOSITORY names another")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if what.SHA != "" && what.From != "" {
			return outcome.Usagef("--sha says what is published, and --from what is not: leave out one of them")
		}
		found, err := a.pipeline(region, nil).Scan(cmd.Context(), what)
		if err != nil {
			return err
		}
		return a.printDocument(found, found.Err())
	}
	return cmd
}
