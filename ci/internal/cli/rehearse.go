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
	options := pipeline.RehearseOptions{}
	var keep bool
	var f reportFlags
	cmd := &cobra.Command{
		Use:   "rehearse",
		Short: "Rehearse a delivery on this machine, with an embedded AWS",
		Long: `Rehearse runs the whole delivery on this machine: test, build, publish and
release. The services run as processes behind an embedded load balancer, and the
release uses the same code as on AWS. It needs only Go and git: no AWS account, no
container engine and no network.`,
		Example: `  slipway rehearse
  slipway rehearse --scenario crash --skip-tests
  slipway rehearse --keep`,
	}
	var names []string
	for _, s := range rehearsal.Scenarios() {
		names = append(names, string(s))
	}
	cmd.Flags().StringVar(&options.Scenario, "scenario", string(rehearsal.Happy), "scenario to rehearse: "+strings.Join(names, ", "))
	cmd.Flags().StringVar(&options.Listen, "listen", "127.0.0.1:0", "address of the embedded AWS; port 0 uses a free port")
	cmd.Flags().BoolVar(&keep, "keep", false, "keep the system running after the release, until interrupted")
	f.bind(cmd)
	cmd.Flags().BoolVar(&options.SkipTests, "skip-tests", false, "do not run the tests")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		if err := checkLoopback(options.Listen); err != nil {
			return err
		}
		var view report.View
		view, options.Live = a.view()
		printed := false
		if keep {
			options.Up = func(endpoint string, release report.Release) {
				view.Close()
				printed = true
				a.writeReport(f, release)
				_ = a.printRelease(release) // the exit code reports the result
				fmt.Fprintf(a.stderr, "the system is up at %s: press Ctrl-C to stop it\n", release.URL)
				fmt.Fprintf(a.stderr, "to use it from another shell: export AWS_ENDPOINT_URL=%s AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_REGION=%s\n", endpoint, platform.DefaultRegion)
				<-ctx.Done()
			}
		}
		release, err := a.pipeline("", view).Rehearse(ctx, options)
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

// printRelease prints a release's report. If it failed before the release started, the
// text output is only the error.
func (a *app) printRelease(release report.Release) error {
	if a.output == text && release.ID == "" && release.Error != "" {
		return outcome.With(release.ExitCode, errors.New(release.Error))
	}
	return a.printDocument(release, nil)
}
