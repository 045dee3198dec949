package cli

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"dagger/slipway/internal/image"
	"dagger/slipway/internal/lint"
	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/step"
)

func (a *app) lintCommand() *cobra.Command {
	var only, services []string
	o := lint.Options{}
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
	cmd.Flags().StringSliceVar(&only, "only", nil, "run only these checks (default all)")
	cmd.Flags().StringSliceVar(&services, "service", nil, "look only at these services (default at everything)")
	cmd.Flags().BoolVar(&o.Strict, "strict", false, "fail where a tool cannot be had (default where CI is set)")
	cmd.Flags().Var(lintFormat{&a.output}, "output", "what to print: text, json, markdown or sarif")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions( // the flag is there
		[]string{string(text), string(jsonDoc), string(markdown), string(sarif)}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		if !cmd.Flags().Changed("strict") {
			o.Strict = inCI()
		}
		var err error
		if o.Kinds, err = lint.ParseKinds(only); err != nil {
			return err
		}
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
		o.Image, o.Day = lock.Reference, time.Now().UTC().Format(time.DateOnly)
		o.Narrate = func(line string) { fmt.Fprintln(a.stderr, line) }
		found, err := lint.Run(ctx, tree.Dir, step.Host{Source: tree.Dir}, targets, o)
		if err != nil {
			return err
		}
		if found.Result == lint.Failed {
			a.code = outcome.Failed
		}
		if onGitHub, _ := strconv.ParseBool(os.Getenv("GITHUB_ACTIONS")); onGitHub {
			err = found.Annotate(a.stderr)
		}
		return errors.Join(err, a.printFindings(found))
	}
	return cmd
}

// inCI tells whether nobody watches who would read what is skipped: the one thing that
// differs there.
func inCI() bool {
	ci, err := strconv.ParseBool(os.Getenv("CI"))
	return ci && err == nil
}

func (a *app) printFindings(found lint.Report) error {
	switch a.output {
	case jsonDoc:
		return report.WriteJSON(a.stdout, found)
	case markdown:
		return found.Markdown(a.stdout)
	case sarif:
		return found.SARIF(a.stdout)
	}
	return found.Text(a.stdout)
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
