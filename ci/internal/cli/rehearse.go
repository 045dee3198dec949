package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/pipeline"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func (a *app) rehearseCommand() *cobra.Command {
	options := pipeline.RehearseOptions{}
	var keep, both bool
	environments := rehearsal.PipelineOptions{}
	var f reportFlags
	cmd := &cobra.Command{
		Use:   "rehearse",
		Short: "Rehearse a delivery on this machine, with an embedded AWS",
		Long: `Rehearse runs the whole delivery on this machine: test, build, publish and
release. The services run as processes behind an embedded load balancer, and the
release uses the same code as on AWS. It needs only Go and git: no AWS account, no
container engine and no network.

With --pipeline it rehearses two environments in two embedded accounts: the release
to staging, a soak, and the promotion of the same digests to production. The exit
code reports the state of production: 1 if the release in staging fails, because
nothing is then promoted, and 3 if the promotion fails and production is restored.`,
		Example: `  slipway rehearse
  slipway rehearse --scenario crash --skip-tests
  slipway rehearse --strategy canary --skip-tests
  slipway rehearse --keep
  slipway rehearse --pipeline --scenario crash --fault-in production`,
	}
	cmd.Flags().StringVar(&options.Strategy, "strategy", "", "deployment strategy of all web services for this rehearsal: "+strings.Join(delivery.Strategies(), ", ")+" (default as in the services file)")
	cmd.Flags().StringVar(&options.Scenario, "scenario", string(rehearsal.Happy), "scenario to rehearse: "+strings.Join(fixedValues(rehearsal.Scenarios()...)(nil), ", "))
	cmd.Flags().StringVar(&options.Listen, "listen", "127.0.0.1:0", "address of the embedded AWS; port 0 uses a free port")
	cmd.Flags().BoolVar(&keep, "keep", false, "keep the system running after the release, until interrupted")
	cmd.Flags().BoolVar(&both, "pipeline", false, "rehearse a release to staging and its promotion to production, in two embedded accounts")
	cmd.Flags().StringVar(&environments.FaultIn, "fault-in", rehearsal.Staging, "environment of the scenario's fault with --pipeline: staging or production")
	cmd.Flags().DurationVar(&environments.Soak, "soak", rehearsal.DefaultSoak, "how long the new version runs in staging with --pipeline")
	f.bind(cmd)
	cmd.Flags().BoolVar(&options.SkipTests, "skip-tests", false, "do not run the tests")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		if err := checkLoopback(options.Listen); err != nil {
			return err
		}
		for _, flag := range []string{"fault-in", "soak"} {
			if cmd.Flags().Changed(flag) && !both {
				return outcome.Usagef("--%s needs --pipeline", flag)
			}
		}
		if environments.Soak <= 0 {
			return outcome.Usagef("invalid --soak %s: want more than 0, such as 2s", environments.Soak)
		}
		var view report.View
		view, options.Live = a.view()
		printed := false
		show := func(release report.Release, systems ...system) {
			view.Close()
			printed = true
			a.writeReport(f, release)
			_ = a.printRelease(release) // the exit code reports the result
			for _, s := range systems {
				s.print(a.stderr)
			}
			<-ctx.Done()
		}
		if keep {
			options.Up = func(endpoint string, release report.Release) {
				show(release, system{"the system", endpoint, release.URL})
			}
			environments.Up = func(staging, production string, release report.Release) {
				show(release, system{rehearsal.Staging, staging, release.Staging.URL}, system{rehearsal.Production, production, release.URL})
			}
		}
		if both {
			options.Environments = &environments
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

// system is a rehearsed system that runs.
type system struct{ name, endpoint, url string }

// print writes the address of a system and how to use it.
func (s system) print(w io.Writer) {
	fmt.Fprintf(w, "%s is up at %s: press Ctrl-C to stop it\n", s.name, s.url)
	fmt.Fprintf(w, "to use it from another shell: export AWS_ENDPOINT_URL=%s AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_REGION=%s\n", s.endpoint, platform.DefaultRegion)
}

// printRelease prints a release's report. If it failed before the release started, the
// text output is only the error.
func (a *app) printRelease(release report.Release) error {
	if a.output == text && release.ID == "" && release.Error != "" && release.Staging == nil {
		return outcome.With(release.ExitCode, errors.New(release.Error))
	}
	return a.printDocument(release, nil)
}
