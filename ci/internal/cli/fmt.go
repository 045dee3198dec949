package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func (a *app) fmtCommand() *cobra.Command {
	var check, strict bool
	var services []string
	cmd := &cobra.Command{
		Use:   "fmt",
		Short: "Format Go and Terraform files",
		Long: `Fmt formats every Go module with gofumpt and the Terraform configuration with
terraform fmt, and prints the names of the changed files. With --check it changes
no file, prints the differences, and exits with 1 if there are any. It also exits
with 1 if a file has a syntax error.`,
		Example: `  slipway fmt
  slipway fmt --check --output markdown`,
	}
	cmd.Flags().BoolVar(&check, "check", false, "change no file, and fail if a file is not formatted")
	cmd.Flags().StringSliceVar(&services, "service", nil, "format only these services (default the whole tree)")
	cmd.Flags().BoolVar(&strict, "strict", false, "fail if a formatter is missing (default if CI is set)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !cmd.Flags().Changed("strict") {
			strict = inCI()
		}
		found, err := a.pipeline("", nil).Format(cmd.Context(), services, check)
		if err != nil {
			return err
		}
		for _, syntaxError := range found.SyntaxErrors {
			fmt.Fprintln(a.stderr, syntaxError)
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
