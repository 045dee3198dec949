// Package cli is the slipway command: it reads flags, calls a stage, prints
// what the stage returns and turns it into an exit code. It decides nothing
// else.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/report/outcome"
)

// app is one invocation of the command.
type app struct {
	stdout, stderr *printer
	source         string
	output         format
	// setRecovery is told what a human has to run should the process end now.
	setRecovery func(command string)
	// code is the exit code of a stage that reported by itself what went wrong.
	code outcome.Code
	// productionChanged is set where production may have been changed: then the exit code
	// tells of that, and of nothing else.
	productionChanged bool
}

// Run runs the command with its arguments and returns its exit code. What the
// command returns goes to stdout, all narration to stderr. next, if not nil, is
// told while it runs what a human has to run should the process end there and
// then; "" when that is nothing.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer, next func(command string)) outcome.Code {
	if next == nil {
		next = func(string) {}
	}
	a := &app{stdout: &printer{w: stdout}, stderr: &printer{w: stderr}, output: text, setRecovery: next}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintf(a.stderr, "slipway: %s\n", err)
		return a.exitCode(outcome.Of(err))
	}
	return a.exitCode(a.code)
}

// Command is the command with all that are below it, for whoever describes them. It
// prints nothing.
func Command() *cobra.Command {
	a := &app{stdout: &printer{w: io.Discard}, stderr: &printer{w: io.Discard}, output: text}
	return a.root()
}

func (a *app) root() *cobra.Command {
	var showVersion bool
	root := &cobra.Command{
		Use:   "slipway",
		Short: "Deliver container services to AWS ECS Fargate",
		Long: `Slipway tests, builds, publishes and releases the services of
` + platform.ServicesFile + `. Its exit code never lies:

  0 done, or nothing to do          4 not restored: a human is needed
  1 failed, production untouched    5 refused by a guard
  2 wrong usage or configuration  130 interrupted, after restoring
  3 failed, and restored what ran before`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Example: `  slipway rehearse
  slipway test
  slipway deploy --sha 4d91040c9a3e0f5d1f6c2a7b8e9d0c1b2a3f4e5d`,
		Args: rejectUnknownCommand,
	}
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		if showVersion {
			return a.printVersion(cmd)
		}
		return cmd.Help()
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(flagError)
	root.Flags().BoolVar(&showVersion, "version", false, "tell which slipway this is, and nothing else")
	root.PersistentFlags().StringVar(&a.source, "source", ".", "root of the source tree")
	root.PersistentFlags().Var(&a.output, "output", "what to print: text, json or markdown")
	root.AddCommand(
		a.newCommand(),
		a.testCommand(),
		a.fmtCommand(),
		a.validateCommand(),
		a.planCommand(),
		a.applyCommand(),
		a.lintCommand(),
		a.buildCommand(),
		a.publishCommand(),
		a.lockCommand(),
		a.scanCommand(),
		a.verifyCommand(),
		a.diffCommand(),
		a.deployCommand(),
		a.statusCommand(),
		a.rollbackCommand(),
		a.upCommand(),
		a.rehearseCommand(),
		a.localAWSCommand(),
		a.doctorCommand(),
		a.versionCommand(),
	)
	root.AddCommand(removedCommands()...)
	for _, command := range root.Commands() {
		if command.Args == nil {
			command.Args = rejectArguments
		}
	}
	a.configureHelp(root)
	return root
}

// rejectUnknownCommand makes the usage error of a command that is not there.
func rejectUnknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, command := range cmd.Commands() {
		if command.IsAvailableCommand() || command.Name() == "help" {
			names = append(names, command.Name())
		}
	}
	slices.Sort(names)
	return outcome.Usagef("no command %q: %s", args[0], suggestion(args[0], names, ""))
}

func rejectArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return outcome.Usagef("%s takes no argument, and got %q: see %s --help", cmd.Name(), args[0], cmd.CommandPath())
}

// renamedFlags are flags that had another name, by that name.
var renamedFlags = map[string]string{"lock": "state-lock"}

// flagError makes the usage error of a flag that is not there or has a value
// that it does not take.
func flagError(cmd *cobra.Command, err error) error {
	var missing *pflag.NotExistError
	if errors.As(err, &missing) {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		name, dashes := missing.GetSpecifiedName(), "--"
		if missing.GetSpecifiedShortnames() != "" {
			dashes = "-"
		}
		if now := renamedFlags[name]; cmd.Flags().Lookup(now) != nil {
			return outcome.Usagef("no flag --%s: it is --%s now", name, now)
		}
		return outcome.Usagef("no flag %s%s: %s", dashes, name, suggestion(name, names, "--"))
	}
	return outcome.Usagef("%w: see %s --help", err, cmd.CommandPath())
}

func suggestion(name string, known []string, prefix string) string {
	if near := outcome.Nearest(name, known); near != "" {
		return fmt.Sprintf("did you mean %s%s?", prefix, near)
	}
	return fmt.Sprintf("there are %s%s", prefix, strings.Join(known, ", "+prefix))
}

// view shows progress on stderr: drawn on a terminal, as lines anywhere else.
func (a *app) view() (view report.View, live bool) {
	file, ok := a.stderr.w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) || os.Getenv("TERM") == "dumb" {
		return report.Plain{W: a.stderr}, false
	}
	drawn := report.NewLive(file, func() int {
		width, _, err := term.GetSize(int(file.Fd()))
		if err != nil {
			return 0
		}
		return width
	})
	drawn.Bare = os.Getenv("NO_COLOR") != ""
	return drawn, true
}
