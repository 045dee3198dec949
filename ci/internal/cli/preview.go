package cli

import (
	"errors"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/slipway-cd/slipway/ci/internal/pipeline"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func (a *app) previewCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "preview",
		Short: "Run a pull request beside an environment",
		Long: `Preview runs the commit of a pull request beside the services of an environment,
behind the same load balancer. A preview copies the environment's task
definitions and network, with its roles and secrets, so create none for code that
you do not trust. Terraform does not manage previews, and reports no drift for them.`,
		Example: `  slipway preview up --pr 12 --env staging --host-suffix preview.example.com
  slipway preview list --env staging
  slipway preview down --pr 12 --env staging`,
		Args: rejectUnknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.previewUpCommand(), a.previewDownCommand(), a.previewListCommand(), a.previewSweepCommand())
	return cmd
}

// numberFlag is the number of a pull request; 0 if it is not set.
type numberFlag int

func (n *numberFlag) String() string {
	if *n == 0 {
		return ""
	}
	return strconv.Itoa(int(*n))
}

func (n *numberFlag) Type() string { return "number" }

func (n *numberFlag) Set(value string) error {
	number, err := strconv.Atoi(value)
	if err != nil || delivery.CheckPreviewNumber(number) != nil {
		return errors.New("want the number of a pull request, such as 12")
	}
	*n = numberFlag(number)
	return nil
}

func bindNumber(cmd *cobra.Command, number *int) {
	cmd.Flags().Var((*numberFlag)(number), "pr", "number of the pull request (default none: required)")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if *number == 0 {
			return outcome.Usagef("preview %s needs the number of a pull request: --pr NUMBER", cmd.Name())
		}
		return nil
	}
}

func (a *app) previewUpCommand() *cobra.Command {
	var f releaseFlags
	var o delivery.PreviewOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Create or update the preview of a pull request",
		Long: `Up releases a commit to the preview of a pull request: one task of each web
service and worker, of the smallest size that its containers fit in. Without
--sha it is the commit of the tree; missing images are built and published.
The preview uses the environment's secrets, and with them its databases and
queues: its workers take messages of the environment's queues. Jobs and release
tasks do not run.

With --host-suffix the preview answers at http://prNUMBER.SUFFIX, and the
environment answers for services that the preview does not have. A DNS record of
*.SUFFIX must point to the load balancer. Without it, it answers below /prNUMBER on the load
balancer, which removes the prefix: links to absolute paths lead out of it.

A failed update restores the previous version of the preview (exit code 3). A
failed first release is removed, and the exit code is 1.`,
		Example: `  slipway preview up --pr 12 --env staging
  slipway preview up --pr 12 --env staging --host-suffix preview.example.com --ttl 24h --output markdown`,
	}
	f.bind(cmd)
	bindNumber(cmd, &o.Number)
	cmd.Flags().StringVar(&f.SHA, "sha", "", "full id of the commit to release (default HEAD)")
	cmd.Flags().BoolVar(&f.NoBuild, "no-build", false, "release only images that are in the registry")
	bindDuration(cmd, &o.TTL, "ttl", delivery.DefaultPreviewTTL, "how long from now the preview is kept; then preview sweep removes it")
	cmd.Flags().IntVar(&o.Max, "max", delivery.DefaultMaxPreviews, "how many previews the environment may have; one more is refused (exit code 5)")
	cmd.Flags().StringVar(&o.HostSuffix, "host-suffix", "", "domain of the hosts of previews, such as preview.example.com (default none: they have paths)")
	f.bindLimits(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if o.Max < 1 {
			return outcome.Usagef("invalid --max %d: want 1 or more, such as %d", o.Max, delivery.DefaultMaxPreviews)
		}
		if o.TTL == 0 {
			return outcome.Usagef("invalid --ttl 0s: want 1m or more, such as %s", delivery.DefaultPreviewTTL)
		}
		o.Options = f.Options
		view, _ := a.view()
		p := a.pipeline(f.region, view)
		p.Next = a.setPreviewRecovery
		up, err := p.PreviewUp(cmd.Context(), f.services, o)
		view.Close()
		if err != nil {
			return err
		}
		a.productionChanged = true
		a.code = up.ExitCode
		return a.printDocument(up, nil)
	}
	return cmd
}

// setPreviewRecovery sets the recovery command of an unfinished preview.
func (a *app) setPreviewRecovery(command string) {
	if command != "" {
		command = "run the same command again, or remove the preview: " + command
	}
	a.setRecovery(command)
}

func (a *app) previewDownCommand() *cobra.Command {
	var region string
	var number int
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Remove the preview of a pull request",
		Long: `Down removes the listener rules, services, target groups and active revisions of
a preview, and prints them. It waits until the tasks have stopped. It removes only
what has the preview's name and tag, and may be repeated.`,
		Example: `  slipway preview down --pr 12 --env staging`,
	}
	bindRegion(cmd, &region)
	bindNumber(cmd, &number)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.removePreviews(region, func(p pipeline.Pipeline) (report.PreviewRemoval, error) { return p.PreviewDown(cmd.Context(), number) })
	}
	return cmd
}

func (a *app) previewSweepCommand() *cobra.Command {
	var region, open string
	cmd := &cobra.Command{
		Use:   "sweep",
		Short: "Remove previews that have expired",
		Long: `Sweep removes the previews that have expired. With --open it also removes those of
pull requests that are not in the list.`,
		Example: `  slipway preview sweep --env staging
  slipway preview sweep --env staging --open 12,15`,
	}
	bindRegion(cmd, &region)
	cmd.Flags().StringVar(&open, "open", "", `numbers of the open pull requests, or "none" (default unknown: only expired previews are removed)`)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o := delivery.SweepOptions{OpenKnown: cmd.Flags().Changed("open")}
		if o.OpenKnown {
			var err error
			if o.Open, err = delivery.ParseOpen(open); err != nil {
				return err
			}
		}
		return a.removePreviews(region, func(p pipeline.Pipeline) (report.PreviewRemoval, error) { return p.PreviewSweep(cmd.Context(), o) })
	}
	return cmd
}

// removePreviews removes previews and prints what was removed.
func (a *app) removePreviews(region string, remove func(pipeline.Pipeline) (report.PreviewRemoval, error)) error {
	removal, err := remove(a.pipeline(region, nil))
	if err != nil {
		return err
	}
	a.code = removal.ExitCode
	return a.printDocument(removal, nil)
}

func (a *app) previewListCommand() *cobra.Command {
	var region string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the previews of an environment",
		Long: `List shows the previews of an environment: the pull request, the state, the commit of
the last successful release, the address, the age and the expiry.`,
		Example: `  slipway preview list --env staging
  slipway preview list --env staging --output json`,
	}
	bindRegion(cmd, &region)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		list, err := a.pipeline(region, nil).Previews(cmd.Context())
		if list.At.IsZero() {
			return err
		}
		return a.printDocument(list, err)
	}
	return cmd
}
