package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
	"github.com/slipway-cd/slipway/ci/internal/pipeline"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// releaseFlags are the flags of the release commands.
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

// positiveDuration is the value of a flag for a duration whose default in the options is 0,
// so that 0 would be taken for the default.
type positiveDuration time.Duration

func (d *positiveDuration) String() string { return time.Duration(*d).String() }
func (d *positiveDuration) Type() string   { return "duration" }
func (d *positiveDuration) Set(text string) error {
	parsed, err := time.ParseDuration(text)
	if err == nil && parsed == 0 {
		err = errors.New("want a duration above 0")
	}
	*d = positiveDuration(parsed)
	return err
}

// bindDuration adds a flag for a duration that 0 is no value of.
func bindDuration(cmd *cobra.Command, d *time.Duration, name string, value time.Duration, usage string) {
	*d = value
	cmd.Flags().Var((*positiveDuration)(d), name, usage)
}

func bindRegion(cmd *cobra.Command, region *string) {
	cmd.Flags().StringVar(region, "region", "", "AWS region (default AWS_REGION, the profile's, or us-east-1)")
}

// bindRollout adds the flags of commands that roll out a release.
func (f *releaseFlags) bindRollout(cmd *cobra.Command) {
	f.bind(cmd)
	f.bindRelease(cmd)
}

// bindRelease adds the flags of [releaseFlags.bindRollout] without those that select the
// services and the region.
func (f *releaseFlags) bindRelease(cmd *cobra.Command) {
	f.report.bind(cmd)
	f.bindLimits(cmd)
	f.bindURL(cmd)
}

// bindPause adds the flags of commands whose release can wait for a person.
func (f *releaseFlags) bindPause(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.PauseAt, "pause-at", "", "stage at which the release waits for slipway continue or abort: "+strings.Join(delivery.PauseStages(), ", ")+" (default none)")
	cmd.Flags().DurationVar(&f.PauseLimit, "pause-limit", 0, "how long the release waits, 1m to 336h; then ECS rolls it back (default 24h; required in CI)")
}

// bindStrategy adds the flag of commands that start a release.
func (f *releaseFlags) bindStrategy(cmd *cobra.Command, own string) {
	cmd.Flags().StringVar(&f.Strategy, "strategy", "", "strategy of this release for the services that shift traffic: "+strings.Join(delivery.Strategies(), ", ")+" (default "+own+")")
}

// bindLimits adds the flags of everything that rolls out, including previews.
func (f *releaseFlags) bindLimits(cmd *cobra.Command) {
	f.bindTimeouts(cmd)
	cmd.Flags().DurationVar(&f.WaitForTurn, "wait-for-turn", 0, "maximum wait for a release in progress to finish, such as 10m (default none)")
	cmd.Flags().Lookup("wait-for-turn").NoOptDefVal = "30m"
}

func (f *releaseFlags) bindTimeouts(cmd *cobra.Command) {
	bindDuration(cmd, &f.Timeout, "timeout", rollout.DefaultTimeout, "maximum duration of the rollout; then the previous version is restored")
	f.bindRestoreTimeout(cmd)
	cmd.Flags().BoolVar(&f.SkipSmoke, "skip-smoke", false, "skip the smoke test; rely on ECS alone")
}

func (f *releaseFlags) bindRestoreTimeout(cmd *cobra.Command) {
	bindDuration(cmd, &f.RestoreTimeout, "restore-timeout", rollout.DefaultRestoreTimeout, "maximum duration of the restore; then slipway exits with code 4")
}

func (f *releaseFlags) bindURL(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.URL, "url", "", "base URL of the smoke test (default the load balancer's)")
}

// releaseClock is the clock of releases; nil means the real one. Tests shorten its waits.
var releaseClock rollout.Clock

// pipeline returns a pipeline that uses the tools of this machine and shows progress in
// view; nil writes lines to stderr.
func (a *app) pipeline(region string, view report.View) pipeline.Pipeline {
	if view == nil {
		view = report.Plain{W: a.stderr}
	}
	return pipeline.Pipeline{
		Dir: a.source, Environment: a.environment, Netrc: a.netrc, Cache: image.CacheDir(), CI: inCI(), Recorder: report.NewRecorder(time.Now, view), Log: a.stderr, Next: a.setReleaseRecovery, Clock: releaseClock,
		AWS: func(context.Context) (awsauth.Options, error) { return awsauth.Options{Region: region}, nil },
	}
}

// environmentFlag returns --env for a printed command, as it was given.
func (a *app) environmentFlag() string {
	if a.environment == "" {
		return ""
	}
	return " --env " + a.environment
}

// setReleaseRecovery sets the recovery command of an unfinished release.
func (a *app) setReleaseRecovery(command string) {
	if command != "" {
		command = "run slipway rollback" + a.environmentFlag() + " to restore the previous version; by hand: " + command
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
		Long: `Deploy releases the images of a commit. If the registry has them, it uses them
unchanged. Otherwise it builds and publishes them first; the tree must then be
clean and at that commit.

All changed services are rolled out in parallel. If one of them fails, if the
smoke test fails, or if deploy is interrupted, all of them are restored to the
previous version.

If the process is killed, the release stays unfinished: deploy the same commit
again to finish it, or run rollback to restore the previous version.

Services whose entry has a strategy (blue_green, canary, linear) shift traffic
together. With --pause-at the release waits at a stage, deploy ends with exit code
0 and the result paused, and slipway continue or abort decides.

Published images get an SBOM and provenance, signed with --sign-key or with the
identity of the GitHub Actions job. With --require-signature, deploy refuses
images without a trusted signature (exit code 5) before it changes anything.`,
		Example: `  slipway deploy
  slipway deploy --require-signature --key cosign.pub
  slipway deploy --sha 4d91040c9a3e0f5d1f6c2a7b8e9d0c1b2a3f4e5d --wait-for-turn
  slipway deploy --pause-at post-test-traffic-shift --pause-limit 2h
  slipway deploy --service backend --timeout 5m --output markdown`,
	}
	f.bindRollout(cmd)
	f.bindPause(cmd)
	f.bindStrategy(cmd, "as in the services file")
	cmd.Flags().StringVar(&f.SHA, "sha", "", "full id of the commit to release (default HEAD)")
	cmd.Flags().BoolVar(&f.Force, "force", false, "also roll out unchanged services")
	cmd.Flags().BoolVar(&f.AllowNoRollback, "allow-no-rollback", false, "release although the images of the previous version are gone, so that it cannot be restored")
	cmd.Flags().BoolVar(&f.NoBuild, "no-build", false, "release only images that are in the registry")
	cmd.Flags().BoolVar(&signed, "require-signature", false, "refuse images without a trusted signature (needs --key or --identity)")
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
		Short: "Return to the previous successful release, or to a named one",
		Long: `Rollback restores what ran before the last release, in every service of that
release. It uses the last revision that was deployed successfully, not simply the
previous revision. It also takes over a release that is in progress or was left
unfinished, but is refused while a release task runs. With --to it releases a
commit whose images are in the registry, or a revision of a task definition.

Services that shift traffic get all of it at once and do not bake, unless
--strategy names another strategy.`,
		Example: `  slipway rollback
  slipway rollback --to 4d91040c9a3e0f5d1f6c2a7b8e9d0c1b2a3f4e5d
  slipway rollback --service backend --to 12
  slipway rollback --to ecs-backend-task:12`,
	}
	f.bindRollout(cmd)
	f.bindStrategy(cmd, "blue_green without a bake")
	cmd.Flags().StringVar(&f.Of, "of", "", "full id of a commit: roll back only its release, and do nothing if it is not the last one (default the last release)")
	cmd.Flags().StringVar(&to, "to", "", "full id of a commit, or a revision, to release (default the last successful release)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.runRelease(f, func(p pipeline.Pipeline) (report.Release, error) {
			return p.Rollback(cmd.Context(), f.services, to, f.Options)
		})
	}
	return cmd
}

func (a *app) continueCommand() *cobra.Command {
	var f releaseFlags
	cmd := &cobra.Command{
		Use:   "continue",
		Short: "Continue a paused release past the stage where it waits",
		Long: `Continue continues the release that deploy or promote paused with --pause-at, in
all its services. It needs no checkout of that commit: it finds the release in AWS,
from any machine with the role. With --pause-at it waits again at a later stage.

If no release is paused, or the paused release is not that of --of, it exits with 5.`,
		Example: `  slipway continue
  slipway continue --pause-at post-production-traffic-shift --pause-limit 30m
  slipway continue --of 4d91040c9a3e0f5d1f6c2a7b8e9d0c1b2a3f4e5d`,
	}
	bindRegion(cmd, &f.region)
	f.report.bind(cmd)
	f.bindTimeouts(cmd)
	f.bindURL(cmd)
	f.bindPause(cmd)
	cmd.Flags().StringVar(&f.Of, "of", "", "full id of a commit: continue only its release (default the paused release)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.runRelease(f, func(p pipeline.Pipeline) (report.Release, error) {
			return p.Continue(cmd.Context(), f.Options)
		})
	}
	return cmd
}

func (a *app) abortCommand() *cobra.Command {
	var f releaseFlags
	cmd := &cobra.Command{
		Use:   "abort",
		Short: "Abort an unfinished release: restore the previous version",
		Long: `Abort restores the previous version of all services of a release that is paused, in
progress, or was left unfinished by a killed process. It exits with 0 when the
previous version runs everywhere, otherwise with 4.

If no release is unfinished, or it is not that of --of, it exits with 5 and changes
nothing. To undo a finished release, use rollback.`,
		Example: `  slipway abort
  slipway abort --of 4d91040c9a3e0f5d1f6c2a7b8e9d0c1b2a3f4e5d`,
	}
	bindRegion(cmd, &f.region)
	f.report.bind(cmd)
	cmd.Flags().StringVar(&f.Of, "of", "", "full id of a commit: abort only its release (default the unfinished release)")
	f.bindRestoreTimeout(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.runRelease(f, func(p pipeline.Pipeline) (report.Release, error) {
			return p.Abort(cmd.Context(), f.Options)
		})
	}
	return cmd
}

// runRelease runs a release and prints its report.
func (a *app) runRelease(f releaseFlags, run func(pipeline.Pipeline) (report.Release, error)) error {
	view, _ := a.view()
	p := a.pipeline(f.region, view)
	p.Notify = notifySettings()
	release, err := run(p)
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
	var o pipeline.StatusOptions
	infra := false
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what runs where",
		Long: `Status shows for each service what it runs (commit, digest, revision), since
when, how many tasks are healthy, its last releases, differences between
Terraform and the running task definition, and an unfinished release.

With --infra it also shows the drift of the platform, as plan --refresh-only
does, without locking the state. With --with it shows what another environment
runs beside it: commit, digest, state and tasks. With --figures it also shows the four
key metrics of DORA, from ECS's records of the last 90 days; --output json has the
releases that they are of.`,
		Example: `  slipway status
  slipway status --env staging --with production
  slipway status --figures --output json
  slipway status --infra --backend-config bucket=my-state
  slipway status --output json`,
	}
	f.bind(cmd)
	cmd.Flags().BoolVar(&infra, "infra", false, "also show the drift of the platform")
	cmd.Flags().BoolVar(&o.Figures, "figures", false, "also show deployment frequency, lead time, change failure rate and time to restore of the last 90 days")
	var other otherAccount
	bindWith(cmd, &o.With, &other, "environment to show beside that of --env (default none)")
	of.bindDir(cmd)
	of.bindValues(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o.Services = f.services
		if infra {
			o.Drift = &of.TerraformOptions
		}
		p := a.pipeline(f.region, nil)
		if err := other.setWith(&p, o.With); err != nil {
			return err
		}
		status, err := p.Status(cmd.Context(), o)
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
		Short: "Show what a deploy would change",
		Long: `Diff shows for each service what a deploy of a commit would change: image,
environment, CPU, memory and other fields of the task definition. It builds
images that are not in the registry, to compute their digests, and publishes
nothing.

With --with it shows instead how what another environment runs differs: commit,
image, environment, references of secrets, CPU, memory and number of tasks.`,
		Example: `  slipway diff
  slipway diff --sha 4d91040c9a3e0f5d1f6c2a7b8e9d0c1b2a3f4e5d --output markdown
  slipway diff --env staging --with production`,
	}
	f.bind(cmd)
	var with string
	var other otherAccount
	bindWith(cmd, &with, &other, "environment to compare with what --env runs (default compares with a commit)")
	cmd.Flags().StringVar(&f.SHA, "sha", "", "full id of the commit (default HEAD)")
	cmd.Flags().BoolVar(&f.NoBuild, "no-build", false, "compare only images that are in the registry")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p := a.pipeline(f.region, nil)
		compare := func() (report.Diff, error) { return p.Diff(cmd.Context(), f.services, f.Options) }
		switch {
		case with != "" && f.SHA != "":
			return outcome.Usagef("--with and --sha exclude each other: leave out one of them")
		case with != "":
			compare = func() (report.Diff, error) { return p.DiffRunning(cmd.Context(), f.services, with) }
		}
		if err := other.setWith(&p, with); err != nil {
			return err
		}
		diff, err := compare()
		if err != nil {
			return err
		}
		return a.printDocument(diff, nil)
	}
	return cmd
}

// printDocument prints a document, and returns err, which may be about what the document
// lacks, on one line.
func (a *app) printDocument(d report.Document, err error) error {
	var printErr error
	switch a.output {
	case jsonDoc:
		printErr = d.JSON(a.stdout)
	case markdown:
		printErr = d.Markdown(a.stdout)
	default:
		printErr = d.Text(a.stdout)
	}
	if err != nil {
		return outcome.With(outcome.Of(err), fmt.Errorf("%s", outcome.JoinLines(err.Error())))
	}
	return printErr
}
