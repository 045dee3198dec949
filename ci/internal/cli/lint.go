package cli

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/slipway-cd/slipway/ci/internal/check/lint"
	"github.com/slipway-cd/slipway/ci/internal/pipeline"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func (a *app) lintCommand() *cobra.Command {
	var options pipeline.LintOptions
	cmd := &cobra.Command{
		Use:   "lint",
		Short: "Check code, workflows and configuration",
		Long: `Lint runs golangci-lint, gofumpt and govulncheck on every Go module, actionlint
on the workflows, nginx -t on Nginx configurations, terraform and tflint on the
platform, and searches for secrets and misconfiguration. It reports all findings
with file and line, and exits with 1 if there are any.

Most checks need only Go, which compiles their tools in pinned versions; this
takes some minutes the first time. A check whose tool is missing is skipped, with
the reason and how to install the tool; with --strict, the default if CI is set, it
fails. On GitHub the findings are shown as annotations. Use --output sarif for
GitHub's code scanning and for editors.`,
		Example: `  slipway lint
  slipway lint --only golangci-lint,gofumpt --service backend
  slipway lint --strict --output json
  slipway lint --output sarif > lint.sarif`,
	}
	cmd.Flags().StringSliceVar(&options.Only, "only", nil, "run only these checks (default all)")
	cmd.Flags().StringSliceVar(&options.Services, "service", nil, "check only these services (default the whole tree)")
	cmd.Flags().BoolVar(&options.Strict, "strict", false, "fail if a tool is missing (default if CI is set)")
	cmd.Flags().Var(lintFormat{&a.output}, "output", "output format: text, json, markdown or sarif")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions( // the flag exists
		[]string{string(text), string(jsonDoc), string(markdown), string(sarif)}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !cmd.Flags().Changed("strict") {
			options.Strict = inCI()
		}
		options.VulnerabilityDB = os.Getenv("GOVULNDB")
		found, err := a.pipeline("", nil).Lint(cmd.Context(), options)
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

// inCI reports whether the environment variable CI is set. Skipped checks then fail,
// because nobody reads the output.
func inCI() bool {
	ci, err := strconv.ParseBool(os.Getenv("CI"))
	return ci && err == nil
}

// sarif is an output format of lint only.
const sarif format = "sarif"

// lintFormat is the output format of lint.
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
