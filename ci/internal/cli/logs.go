package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func (a *app) logsCommand() *cobra.Command {
	var o delivery.LogOptions
	var region string
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs [NAME]",
		Short: "Show the logs of services, a task or a commit",
		Long: `Logs shows the logs of a service or job, or without NAME of all of them: the lines
of all tasks and containers, ordered by time. Each line begins with the service
and the first 8 characters of the task's id, and with the container's name
between them if that is not the main one. Secrets are hidden, and control
characters are escaped.

The log groups are those of the task definitions; containers need the awslogs
driver.`,
		Example: `  slipway logs
  slipway logs backend --since 1h
  slipway logs backend --follow
  slipway logs --task 0f9d5e2b8c6a4d1f9e7b3a5c2d8f6e4a
  slipway logs backend --sha 4d91040c9a3e0f5d1f6c2a7b8e9d0c1b2a3f4e5d --output json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return outcome.Usagef("logs takes one name, but got %q: see %s --help", args, cmd.CommandPath())
			}
			return nil
		},
		ValidArgsFunction: a.completeFirst(),
	}
	bindRegion(cmd, &region)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "show new lines until interrupted")
	bindDuration(cmd, &o.Since, "since", delivery.DefaultLogSince, "how far to look back")
	cmd.Flags().StringVar(&o.Task, "task", "", "only this task, by ARN, id or the beginning of the id (default all)")
	cmd.Flags().StringVar(&o.SHA, "sha", "", "only tasks of this commit (full id) that run or have stopped lately (default all)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if follow {
			if a.output != text {
				return outcome.Usagef("--follow shows text: leave out --output %s, or --follow", a.output)
			}
			o.Follow = a.logLines
		}
		logs, err := a.pipeline(region, nil).Logs(cmd.Context(), args, o)
		if err != nil || follow {
			return err
		}
		return a.printDocument(logs, nil)
	}
	return cmd
}

// logLines prints lines, and reports whether more can be printed.
func (a *app) logLines(lines []report.LogLine) bool {
	for _, line := range lines {
		fmt.Fprintln(a.stdout, line)
	}
	return a.stdout.open()
}
