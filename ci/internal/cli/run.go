package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func (a *app) runCommand() *cobra.Command {
	var o delivery.RunOptions
	var region string
	var environment []string
	cmd := &cobra.Command{
		Use:   "run NAME [-- COMMAND...]",
		Short: "Run a one-off task of a service or job",
		Long: `Run starts a task from the revision that a service or job runs, with its
network, roles and secrets, and waits until it has ended. COMMAND replaces the
container's command, and the image's entry point stays: a service of kind go gets
it as its arguments. Without COMMAND the container runs its own. With --sha it
runs the image of a commit, which must be published.

The container's output goes to stdout, and everything else to stderr. With
--output json or markdown, stdout has the report, and the output goes to stderr.
Control characters in it are escaped.

The exit code is 0 if the container exited with 0, and otherwise 1; the report
has the container's. If run is interrupted, or if the task does not end within
--timeout, the task is stopped.

The values of --set-env are stored in the task, where everybody who may describe
tasks can read them: put secrets into the services file instead.`,
		Example: `  slipway run backend -- migrate up
  slipway run backend --set-env DRY_RUN=1 --timeout 10m -- cleanup
  slipway run backend --sha 4d91040c9a3e0f5d1f6c2a7b8e9d0c1b2a3f4e5d -- version
  slipway run nightly --no-wait`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch dash := cmd.ArgsLenAtDash(); {
			case len(args) == 0 || dash == 0:
				return outcome.Usagef("run needs the name of a service or job, as in slipway run backend -- COMMAND")
			case dash < 0 && len(args) > 1, dash > 1:
				return outcome.Usagef("run takes one name, but got %q: put the command after --, as in slipway run %s -- %s", args[1], args[0], args[1])
			case dash == 1 && len(args) == 1:
				return outcome.Usagef("no command after --: give one, or leave out -- to run the container's own")
			}
			return nil
		},
		ValidArgsFunction: a.completeFirst(),
	}
	bindRegion(cmd, &region)
	cmd.Flags().StringVar(&o.SHA, "sha", "", "full id of the commit to run (default what runs)")
	cmd.Flags().StringVar(&o.Container, "container", "", "container that runs the command, and whose exit code counts (default the main one)")
	cmd.Flags().StringArrayVar(&environment, "set-env", nil, "environment variable to add, as NAME=VALUE; may be repeated")
	bindDuration(cmd, &o.Timeout, "timeout", delivery.DefaultRunTimeout, "maximum duration of the task; then it is stopped")
	cmd.Flags().BoolVar(&o.NoWait, "no-wait", false, "print the task's ARN and do not wait for it")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		o.Command = args[1:]
		if o.Environment, err = delivery.ParseEnvironment(environment); err != nil {
			return err
		}
		o.Output = a.taskOutput
		run, err := a.pipeline(region, nil).Run(cmd.Context(), args[0], o)
		if err != nil {
			return err
		}
		a.code = run.ExitCode
		return a.printRun(run, o.NoWait)
	}
	return cmd
}

// taskOutput writes the output of a task: to stdout unless the report goes there.
func (a *app) taskOutput(lines []string) {
	to, prefix := a.stdout, ""
	if a.output != text {
		to, prefix = a.stderr, "  | "
	}
	for _, line := range lines {
		fmt.Fprintln(to, report.Printable(prefix+line))
	}
}

// printRun prints the report of a task. As text it goes to stderr, because stdout has the
// task's output, or its ARN.
func (a *app) printRun(run report.Run, noWait bool) error {
	if a.output != text {
		return a.printDocument(run, nil)
	}
	if noWait && run.Task.Task != "" {
		fmt.Fprintln(a.stdout, run.Task.Task)
	}
	return run.Text(a.stderr)
}

// completeFirst completes the first argument with the services' names.
func (a *app) completeFirst() cobra.CompletionFunc {
	complete := completeWith(a.serviceNames)
	return func(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, toComplete)
	}
}
