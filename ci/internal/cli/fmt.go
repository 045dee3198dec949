package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"dagger/slipway/internal/report/outcome"
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
		if !cmd.Flags().Changed("strict") {
			strict = inCI()
		}
		found, err := a.pipeline("", nil).Format(cmd.Context(), services, check)
		if err != nil {
			return err
		}
		for _, fault := range found.SyntaxErrors {
			fmt.Fprintln(a.stderr, fault)
		}
		for _, reason := range found.Skipped {
			fmt.Fprintf(a.stderr, "skipped: %s\n", reason)
		}
		if len(found.SyntaxErrors) > 0 || (check && len(found.Files) > 0) || (strict && len(found.Skipped) > 0) {
			a.code = outcome.Failed
		}
		return a.printDocument(found, nil)
	}
	return cmd
}
