package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/pipeline"
	"dagger/slipway/internal/rehearse/rehearsal"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/report/outcome"
)

func (a *app) rehearseCommand() *cobra.Command {
	what := pipeline.RehearseOptions{}
	var keep bool
	var f reportFlags
	cmd := &cobra.Command{
		Use:   "rehearse",
		Short: "Deliver the services on this machine, against an embedded AWS",
		Long: `Rehearse goes through the whole delivery on this machine: test, build, publish,
and a release of the services, as real processes behind a real load balancer,
by the code that talks to AWS. It needs Go and git; no account, no container
engine, no network.`,
		Example: `  slipway rehearse
  slipway rehearse --scenario crash --skip-tests
  slipway rehearse --keep`,
	}
	var names []string
	for _, s := range rehearsal.Scenarios() {
		names = append(names, string(s))
	}
	cmd.Flags().StringVar(&what.Scenario, "scenario", string(rehearsal.Happy), "what happens to the new version: "+strings.Join(names, ", "))
	cmd.Flags().StringVar(&what.Listen, "listen", "127.0.0.1:0", "address of the embedded AWS; port 0 takes a free one")
	cmd.Flags().BoolVar(&keep, "keep", false, "leave the system up when the release is over, until interrupted")
	f.bind(cmd)
	cmd.Flags().BoolVar(&what.SkipTests, "skip-tests", false, "do not run the tests")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		if err := checkLoopback(what.Listen); err != nil {
			return err
		}
		var view report.View
		view, what.Live = a.view()
		printed := false
		if keep {
			what.Up = func(endpoint string, release report.Release) {
				view.Close()
				printed = true
				a.writeReport(f, release)
				_ = a.printRelease(release) // the exit code tells what came of it
				fmt.Fprintf(a.stderr, "the system is up at %s: press Ctrl-C to take it down\n", release.URL)
				fmt.Fprintf(a.stderr, "to work with it: export AWS_ENDPOINT_URL=%s AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_REGION=%s\n", endpoint, platform.DefaultRegion)
				<-ctx.Done()
			}
		}
		release, err := a.pipeline("", view).Rehearse(ctx, what)
		view.Close()
		if err != nil {
			return err
		}
		a.code = release.ExitCode
		if printed {
			return nil
		}
		a.writeReport(f, release)
		return a.printRelease(release)
	}
	return cmd
}

// printRelease prints a release's report. A stage that failed before there was
// any release has no report worth reading as text: its error says it all.
func (a *app) printRelease(release report.Release) error {
	if a.output == text && release.ID == "" && release.Error != "" {
		return outcome.With(release.ExitCode, errors.New(release.Error))
	}
	return a.printDocument(release, nil)
}
