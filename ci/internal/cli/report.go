package cli

import (
	"cmp"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"dagger/slipway/internal/report"
)

// reportFlags say where a release's report is kept.
type reportFlags struct{ out, stage string }

func (f *reportFlags) bind(cmd *cobra.Command) {
	f.stage = cmd.Name()
	cmd.Flags().StringVar(&f.out, "out", "", "directory to write report.json and report.md to (default SOURCE/.slipway/"+f.stage+")")
}

// writeReport writes a release's report. One that cannot be written is told, and changes
// nothing of what the exit code says of the release.
func (a *app) writeReport(f reportFlags, release report.Release) {
	if release.ID == "" && len(release.Stages) == 0 {
		return // it came to no stage: what there is to say is on the terminal
	}
	out := cmp.Or(f.out, filepath.Join(a.source, ".slipway", f.stage))
	if err := release.Write(out); err != nil {
		fmt.Fprintf(a.stderr, "%s: name another directory with --out\n", err)
		return
	}
	fmt.Fprintf(a.stderr, "the report is in %s\n", out)
}
