package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	layout "dagger/slipway/internal/format" // format is how a command prints
	"dagger/slipway/internal/image"
	"dagger/slipway/internal/lint"
	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/step"
)

func (a *app) fmtCommand() *cobra.Command {
	var check, strict bool
	var services []string
	cmd := &cobra.Command{
		Use:   "fmt",
		Short: "Format Go and Terraform files",
		Long: `Fmt formats the files of every Go module with gofumpt and those of the platform
with terraform fmt, and prints their names. With --check it writes nothing,
prints what it would change, and exits with 1 if that is anything. A file that
cannot be read for its syntax is told, and exits with 1.`,
		Example: `  slipway fmt
  slipway fmt --check --output markdown`,
	}
	cmd.Flags().BoolVar(&check, "check", false, "change nothing, and fail if there is something to change")
	cmd.Flags().StringSliceVar(&services, "service", nil, "format only these services (default everything)")
	cmd.Flags().BoolVar(&strict, "strict", false, "fail where a formatter cannot be had (default where CI is set)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		tree, p, err := a.open(ctx)
		if err != nil {
			return err
		}
		lock, err := image.ReadLock(tree.Dir)
		if err != nil {
			return err
		}
		targets, err := lint.Find(ctx, tree, p, services...)
		if err != nil {
			return err
		}
		if !cmd.Flags().Changed("strict") {
			strict = inCI()
		}
		found, err := layout.Run(ctx, step.Host{Source: tree.Dir}, targets.Formatters(lock.Reference))
		if err != nil {
			return err
		}
		if !check {
			if err := found.Apply(tree.Dir); err != nil {
				return err
			}
		}
		if len(found.Faults) > 0 || (check && len(found.Files) > 0) || (strict && len(found.Skipped) > 0) {
			a.code = outcome.Failed
		}
		return a.printFormat(found, check)
	}
	return cmd
}

func (a *app) printFormat(found layout.Summary, check bool) error {
	for _, fault := range found.Faults {
		fmt.Fprintln(a.stderr, fault)
	}
	for _, reason := range found.Skipped {
		fmt.Fprintf(a.stderr, "skipped: %s\n", reason)
	}
	switch {
	case a.output == jsonDoc:
		return report.WriteJSON(a.stdout, found)
	case a.output == markdown:
		return found.Markdown(a.stdout)
	case check:
		return found.Diff(a.stdout)
	}
	for _, file := range found.Files {
		fmt.Fprintln(a.stdout, file)
	}
	return nil
}
