package cli

import (
	"cmp"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/slipway-cd/slipway/ci/internal/report"
)

// reportFlags are the flags for the report of a release.
type reportFlags struct{ out, stage string }

func (f *reportFlags) bind(cmd *cobra.Command) {
	f.stage = cmd.Name()
	cmd.Flags().StringVar(&f.out, "out", "", "directory to write report.json and report.md to (default SOURCE/.slipway/"+f.stage+")")
}

// writeReport writes a release's report to files. It prints an error but does not change
// the exit code, which reports the release.
func (a *app) writeReport(f reportFlags, release report.Release) {
	if release.ID == "" && len(release.Stages) == 0 {
		return // no stage started, so the report is empty
	}
	out := cmp.Or(f.out, filepath.Join(a.source, ".slipway", f.stage))
	if err := release.Write(out); err != nil {
		fmt.Fprintf(a.stderr, "%s: choose another directory with --out\n", err)
		return
	}
	fmt.Fprintf(a.stderr, "the report is in %s\n", out)
}
