package cli

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"dagger/slipway/internal/check/lint"
	"dagger/slipway/internal/pipeline"
	"dagger/slipway/internal/report/outcome"
)

func (a *app) lintCommand() *cobra.Command {
	var what pipeline.LintOptions
	cmd := &cobra.Command{
		Use:   "lint",
		Short: "Look for faults in code, workflows and configuration",
		Long: `Lint runs golangci-lint, gofumpt and govulncheck on every Go module, actionlint
on the workflows, Nginx on its configuration, terraform and tflint on the
platform, and searches for secrets and misconfiguration. It tells all findings,
each with file and line, and exits with 1 if there is one.

Go is all that most checks need; what they run is compiled in a pinned version,
which takes some minutes the first time. A check whose tool cannot be had is
told as skipped, with the reason and how to get it; with --strict, the default
where CI is set, it fails. On GitHub the findings are shown beside the code;
--output sarif is for its code scanning, and for editors.`,
		Example: `  slipway lint
  slipway lint --only golangci-lint,gofumpt --service backend
  slipway lint --strict --output json
  slipway lint --output sarif > lint.sarif`,
	}
	cmd.Flags().StringSliceVar(&what.Only, "only", nil, "run only these checks (default all)")
	cmd.Flags().StringSliceVar(&what.Services, "service", nil, "look only at these services (default at everything)")
	cmd.Flags().BoolVar(&what.Strict, "strict", false, "fail where a tool cannot be had (default where CI is set)")
	cmd.Flags().Var(lintFormat{&a.output}, "output", "what to print: text, json, markdown or sarif")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions( // the flag is there
		[]string{string(text), string(jsonDoc), string(markdown), string(sarif)}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !cmd.Flags().Changed("strict") {
			what.Strict = inCI()
		}
		found, err := a.pipeline("", nil).Lint(cmd.Context(), what)
		if err != nil {
			return err
		}
		if found.Result == lint.Failed {
			a.code = outcome.Failed
		}
		if onGitHub, _ := strconv.ParseBool(os.Getenv("GITHUB_ACTIONS")); onGitHub {
			err = found.Annotate(a.stderr)
		}
		if a.output == sarif {
			return errors.Join(err, found.SARIF(a.stdout))
		}
		return errors.Join(err, a.printDocument(found, nil))
	}
	return cmd
}

// inCI reports whether nobody watches who would read what is skipped: the one thing that
// differs there.
func inCI() bool {
	ci, err := strconv.ParseBool(os.Getenv("CI"))
	return ci && err == nil
}

// sarif is a format of lint alone.
const sarif format = "sarif"

// lintFormat is how lint prints what it returns.
type lintFormat struct{ *format }

// Set implements pflag.Value.
func (f lintFormat) Set(value string) error {
	if format(value) == sarif {
		*f.format = sarif
		return nil
	}
	if err := f.format.Set(value); err != nil {
		return fmt.Errorf("%w, %s", err, sarif)
	}
	return nil
}

// Type implements pflag.Value.
func (f lintFormat) Type() string { return f.format.Type() + "|" + string(sarif) }
