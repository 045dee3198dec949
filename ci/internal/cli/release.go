package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dagger/slipway/internal/awsauth"
	"dagger/slipway/internal/images/image"
	"dagger/slipway/internal/images/supplychain"
	"dagger/slipway/internal/pipeline"
	"dagger/slipway/internal/release/delivery"
	"dagger/slipway/internal/release/rollout"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/report/outcome"
)

// releaseFlags are those that the commands about releases share.
type releaseFlags struct {
	delivery.Options
	services []string
	region   string
	report   reportFlags
}

func (f *releaseFlags) bind(cmd *cobra.Command) {
	bindServices(cmd, &f.services)
	bindRegion(cmd, &f.region)
}

func bindServices(cmd *cobra.Command, services *[]string) {
	cmd.Flags().StringSliceVar(services, "service", nil, "only these services (default all)")
}

func bindRegion(cmd *cobra.Command, region *string) {
	cmd.Flags().StringVar(region, "region", "", "AWS region (default AWS_REGION, the profile's, or us-east-1)")
}

// bindRollout adds the flags of commands that change what runs.
func (f *releaseFlags) bindRollout(cmd *cobra.Command) {
	f.bind(cmd)
	f.report.bind(cmd)
	cmd.Flags().DurationVar(&f.Timeout, "timeout", rollout.DefaultTimeout, "how long the way to the new version may take before it is put back")
	cmd.Flags().DurationVar(&f.RestoreTimeout, "restore-timeout", rollout.DefaultRestoreTimeout, "how long the way back may take before a human is called")
	cmd.Flags().DurationVar(&f.WaitForTurn, "wait-for-turn", 0, "wait this long, such as 10m, for another release to end (default refuses at once)")
	cmd.Flags().Lookup("wait-for-turn").NoOptDefVal = "30m"
	cmd.Flags().StringVar(&f.URL, "url", "", "address to smoke test (default the load balancer's)")
	cmd.Flags().BoolVar(&f.SkipSmoke, "skip-smoke", false, "believe ECS alone, without asking at the front door")
}

// pipeline runs stages on this machine, and shows what happens; view may be nil.
func (a *app) pipeline(region string, view report.View) pipeline.Pipeline {
	if view == nil {
		view = report.Plain{W: a.stderr}
	}
	return pipeline.Pipeline{
		Dir: a.source, Cache: image.CacheDir(), Recorder: report.NewRecorder(time.Now, view), Log: a.stderr, Next: a.setReleaseRecovery,
		AWS: func(context.Context) (awsauth.Options, error) { return awsauth.Options{Region: region}, nil },
	}
}

// setReleaseRecovery tells what is left to run of a release that is halfway.
func (a *app) setReleaseRecovery(command string) {
	if command != "" {
		command = "slipway rollback puts back what ran before; by hand: " + command
	}
	a.setRecovery(command)
}

func (a *app) deployCommand() *cobra.Command {
	var f releaseFlags
	var trust supplychain.Trust
	var sign signFlags
	var signed bool
	cmd := &cobra.Command{
		Use:   "deploy",
		Short: "Release a commit to ECS, all services or none",
		Long: `Deploy releases the images of a commit. If the registry holds them they are
released as they are; otherwise the tree must be clean and at that commit, and
they are built and published first. Every changed service is rolled out at the
same time and watched; if one fails, if the smoke test fails, or if it is
interrupted, all of them are put back to what ran before.

A release whose process was killed is recognised: deploy the same commit again
to finish it, or run rollback to put it back.

What it publishes gets a bill of materials and its provenance attached, signed
with --sign-key or as the job of GitHub Actions that it is. With
--require-signature images that nobody trusted has signed are refused (exit code
5) before anything is changed.`,
		Example: `  slipway deploy
  slipway deploy --require-signature --key cosign.pub
  slipway deploy --sha 4d91040c9a3e0f5d1f6c2a7b8e9d0c1b2a3f4e5d --wait-for-turn
  slipway deploy --service backend --timeout 5m --output markdown`,
	}
	f.bindRollout(cmd)
	cmd.Flags().StringVar(&f.SHA, "sha", "", "full id of the commit to release (default the tree's)")
	cmd.Flags().BoolVar(&f.Force, "force", false, "roll out unchanged services, too")
	cmd.Flags().BoolVar(&f.AllowNoRollback, "allow-no-rollback", false, "release although the images that run now are gone, so that a failure cannot be put back")
	cmd.Flags().BoolVar(&f.NoBuild, "no-build", false, "release only what the registry holds")
	cmd.Flags().BoolVar(&signed, "require-signature", false, "refuse images that nobody trusted has signed (--key or --identity)")
	bindTrust(cmd, &trust)
	sign.bind(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if f.Trust, err = trust.Required(signed); err != nil {
			return err
		}
		sign.TrustedRoot = trust.TrustedRoot
		signer, err := a.signer(sign)
		if err != nil {
			return err
		}
		return a.runRelease(f, func(p pipeline.Pipeline) (report.Release, error) {
			p.Attestations = delivery.Attestations{Off: sign.off, Signer: signer}
			return p.Deploy(cmd.Context(), f.services, f.Options)
		})
	}
	return cmd
}

func (a *app) rollbackCommand() *cobra.Command {
	var f releaseFlags
	var to string
	cmd := &cobra.Command{
		Use:   "rollback",
		Short: "Go back to the last release known good, or to a named one",
		Long: `Rollback puts back what ran before the last release, in every service of that
release: not the revision before, which may never have worked, but the last one
that was deployed with success. It takes over a release that is under way, or
that was left half done. With --to it goes to a commit that the registry holds,
or to a revision.`,
		Example: `  slipway rollback
  slipway rollback --to 4d91040c9a3e0f5d1f6c2a7b8e9d0c1b2a3f4e5d
  slipway rollback --service backend --to 12
  slipway rollback --to ecs-backend-task:12`,
	}
	f.bindRollout(cmd)
	cmd.Flags().StringVar(&f.Of, "of", "", "put back only the release of this commit: full id; does nothing if another release was begun last (default the last release)")
	cmd.Flags().StringVar(&to, "to", "", "full id of a commit, or a revision, to go back to (default the last release known good)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.runRelease(f, func(p pipeline.Pipeline) (report.Release, error) {
			return p.Rollback(cmd.Context(), f.services, to, f.Options)
		})
	}
	return cmd
}

// runRelease runs a release and prints its report.
func (a *app) runRelease(f releaseFlags, run func(pipeline.Pipeline) (report.Release, error)) error {
	view, _ := a.view()
	release, err := run(a.pipeline(f.region, view))
	view.Close()
	if err != nil {
		return err
	}
	a.productionChanged = true
	a.code = release.ExitCode
	a.writeReport(f.report, release)
	return a.printRelease(release)
}

func (a *app) statusCommand() *cobra.Command {
	var f releaseFlags
	var of infraFlags
	infra := false
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell what runs where",
		Long: `Status tells for each service what it runs (commit, digest, revision), since
when, how many tasks are healthy, its last releases, what has drifted apart
between Terraform and the pipeline, and a release that was left half done.

With --infra it asks Terraform as well what others have changed of the platform
(drift), as plan --refresh-only does, without locking the state.`,
		Example: `  slipway status
  slipway status --infra --backend-config bucket=my-state
  slipway status --output json`,
	}
	f.bind(cmd)
	cmd.Flags().BoolVar(&infra, "infra", false, "tell what others have changed of the platform, too")
	of.bindDir(cmd)
	of.bindValues(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var drift *pipeline.TerraformOptions
		if infra {
			drift = &of.TerraformOptions
		}
		status, err := a.pipeline(f.region, nil).Status(cmd.Context(), f.services, drift)
		if status.Cluster == "" && err != nil {
			return err
		}
		return a.printDocument(status, err)
	}
	return cmd
}

func (a *app) diffCommand() *cobra.Command {
	var f releaseFlags
	cmd := &cobra.Command{
		Use:   "diff",
		Short: "Tell what a deploy would change",
		Long: `Diff tells per service and field what a deploy of a commit would change: image,
environment, cpu, memory and whatever Terraform has registered. It builds images
that the registry lacks, for their digests, and publishes nothing.`,
		Example: `  slipway diff
  slipway diff --sha 4d91040c9a3e0f5d1f6c2a7b8e9d0c1b2a3f4e5d --output markdown`,
	}
	f.bind(cmd)
	cmd.Flags().StringVar(&f.SHA, "sha", "", "full id of the commit (default the tree's)")
	cmd.Flags().BoolVar(&f.NoBuild, "no-build", false, "compare only what the registry holds")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		diff, err := a.pipeline(f.region, nil).Diff(cmd.Context(), f.services, f.Options)
		if err != nil {
			return err
		}
		return a.printDocument(diff, nil)
	}
	return cmd
}

// printDocument prints what was found out, and returns what could not be.
func (a *app) printDocument(d report.Document, err error) error {
	var failed error
	switch a.output {
	case jsonDoc:
		failed = d.JSON(a.stdout)
	case markdown:
		failed = d.Markdown(a.stdout)
	default:
		failed = d.Text(a.stdout)
	}
	if err != nil {
		return outcome.With(outcome.Of(err), fmt.Errorf("%s", strings.ReplaceAll(err.Error(), "\n", "; ")))
	}
	return failed
}
