package cli

import (
	"cmp"
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

	"dagger/slipway/internal/delivery"
	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/vulnerability"
)

// scanFlags are those of scan.
type scanFlags struct {
	releaseFlags
	database, failOn, exceptions, from string
}

func (a *app) scanCommand() *cobra.Command {
	var f scanFlags
	cmd := &cobra.Command{
		Use:   "scan",
		Short: "Look for known vulnerabilities in the services' images",
		Long: `Scan looks for known vulnerabilities: in the Go programs of the images with
govulncheck, and with --sha, in images that are published, also by what Amazon
ECR's own scan found. It fails (exit code 1) on a finding that is as bad as
--fail-on or worse. One whose severity nobody says, as Go's database does on
purpose, counts as high. A database that does not answer is a failure, too.

Findings are accepted for a while in ` + vulnerability.ExceptionsFile + `:
  {"exceptions": [{"id": "GO-2026-1234", "package": "stdlib", "reason": "…", "expires": "2026-12-31"}]}`,
		Example: `  slipway scan
  slipway scan --fail-on critical --output json
  slipway scan --sha 4d91040c9a3e0f5d1f6c2a7b8e9d0c1b2a3f4e5d --service backend
  slipway scan --db file:///var/lib/govulndb`,
	}
	f.bind(cmd)
	cmd.Flags().StringVar(&f.SHA, "sha", "", "full id of a commit whose published images are scanned (default builds what the tree holds)")
	cmd.Flags().StringVar(&f.from, "from", "", "scan the layouts in this directory, which build wrote (default builds)")
	cmd.Flags().StringVar(&f.failOn, "fail-on", string(vulnerability.High), "severity that fails: critical, high, medium, low or none")
	cmd.Flags().StringVar(&f.database, "db", cmp.Or(os.Getenv("GOVULNDB"), vulnerability.DefaultDatabase), "database of Go's vulnerabilities, an https or file URL")
	cmd.Flags().StringVar(&f.exceptions, "exceptions", "", "file of accepted findings (default "+vulnerability.ExceptionsFile+", if it is there)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		found, err := a.scan(cmd.Context(), f)
		if err != nil {
			return err
		}
		return a.printDocument(found, found.Err())
	}
	return cmd
}

func (a *app) scan(ctx context.Context, f scanFlags) (vulnerability.Report, error) {
	s := delivery.Scan{Database: f.database}
	var err error
	if s.FailOn, err = vulnerability.ParseThreshold(f.failOn); err != nil {
		return vulnerability.Report{}, err
	}
	if f.exceptions != "" {
		s.Exceptions, err = vulnerability.ReadExceptionsFile(f.exceptions, f.exceptions, time.Now())
	} else {
		s.Exceptions, err = vulnerability.ReadExceptions(a.source, time.Now())
	}
	if err != nil {
		return vulnerability.Report{}, err
	}
	if f.SHA != "" && f.from != "" {
		return vulnerability.Report{}, outcome.Usagef("--sha says what is published, and --from what is not: leave out one of them")
	}
	if f.SHA != "" {
		d, err := a.delivery(ctx, f.releaseFlags, true, report.Plain{W: a.stderr})
		if err != nil {
			return vulnerability.Report{}, err
		}
		return d.ScanPublished(ctx, f.SHA, s)
	}
	images, err := a.images(ctx, f.services, f.from)
	if err != nil {
		return vulnerability.Report{}, err
	}
	return delivery.ScanImages(ctx, images, s)
}
