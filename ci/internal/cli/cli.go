// Package cli is the slipway command: it parses flags, runs a stage, prints the stage's
// document and returns an exit code. It makes no other decisions.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// app is one invocation of the command.
type app struct {
	stdout, stderr *printer
	source, netrc  string
	output         format
	environment    string // --env
	// setRecovery is called with the command that recovers production if the process
	// ends now, and with "" if none is needed.
	setRecovery func(command string)
	// code is the exit code of a stage that has printed its own report.
	code outcome.Code
	// productionChanged is set if production may have changed: the exit code then
	// reports only the release, not a failure to print.
	productionChanged bool
}

// Run runs the command with its arguments and returns its exit code. It writes the
// command's document to stdout, and progress and errors to stderr. setRecovery, if not
// nil, is called with the command that recovers production if the process ends now, and
// with "" if none is needed.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer, setRecovery func(command string)) outcome.Code {
	if setRecovery == nil {
		setRecovery = func(string) {}
	}
	a := &app{stdout: &printer{w: stdout}, stderr: &printer{w: stderr}, output: text, setRecovery: setRecovery}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintf(a.stderr, "slipway: %s\n", err)
		return a.exitCode(outcome.Of(err))
	}
	return a.exitCode(a.code)
}

// Command returns the command with its subcommands, to generate documentation. It prints
// nothing.
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
` + platform.ServicesFile + `. The exit code reports the state of production:

  0 done, paused, or nothing to do  4 failed and not restored: act now
  1 failed, production unchanged    5 refused by a check
  2 wrong usage or configuration  130 interrupted and restored
  3 failed and restored`,
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
	root.Flags().BoolVar(&showVersion, "version", false, "print the version of slipway and exit")
	root.PersistentFlags().StringVar(&a.source, "source", ".", "root of the source tree")
	root.PersistentFlags().Var((*netrcFlag)(&a.netrc), "netrc", "netrc file with the logins for private Go modules (default $NETRC, else ~/.netrc)")
	root.PersistentFlags().Var(&a.output, "output", "output format: text, json or markdown")
	root.AddCommand(
		a.newCommand(),
		a.initCommand(),
		a.upgradeCommand(),
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
		a.promoteCommand(),
		a.continueCommand(),
		a.abortCommand(),
		a.rollbackCommand(),
		a.previewCommand(),
		a.runCommand(),
		a.logsCommand(),
		a.upCommand(),
		a.rehearseCommand(),
		a.localAWSCommand(),
		a.doctorCommand(),
		a.versionCommand(),
	)
	root.AddCommand(removedCommands()...)
	a.completeCommands(root)
	a.configureHelp(root)
	return root
}

// completeCommands adds what all subcommands of a command have in common.
func (a *app) completeCommands(parent *cobra.Command) {
	for _, command := range parent.Commands() {
		if command.Args == nil {
			command.Args = rejectArguments
		}
		if command.Flags().Lookup("region") != nil { // it uses an account
			command.Flags().StringVar(&a.environment, "env", "", "environment, of those in "+platform.EnvironmentsDir+" (default the only one)")
		}
		a.completeCommands(command)
	}
}

// netrcFlag is the path of a file that exists.
type netrcFlag string

func (f *netrcFlag) String() string { return string(*f) }
func (f *netrcFlag) Type() string   { return "string" }

func (f *netrcFlag) Set(file string) error {
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
		return errors.New("no such file")
	}
	full, err := filepath.Abs(file) // tools run in other folders
	*f = netrcFlag(full)
	return err
}

// rejectUnknownCommand returns a usage error for an unknown command.
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
	return outcome.Usagef("unknown command %q: %s", args[0], outcome.Suggestion(args[0], names))
}

func rejectArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return outcome.Usagef("%s takes no arguments, but got %q: see %s --help", cmd.Name(), args[0], cmd.CommandPath())
}

// renamedFlags maps the old names of flags to the new ones.
var renamedFlags = map[string]string{"lock": "state-lock"}

// flagError returns a usage error for an unknown flag or an invalid value.
func flagError(cmd *cobra.Command, err error) error {
	if missing, ok := errors.AsType[*pflag.NotExistError](err); ok {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
		name, dashes := missing.GetSpecifiedName(), "--"
		if missing.GetSpecifiedShortnames() != "" {
			dashes = "-"
		}
		if renamed := renamedFlags[name]; cmd.Flags().Lookup(renamed) != nil {
			return outcome.Usagef("unknown flag --%s: it was renamed to --%s", name, renamed)
		}
		return outcome.Usagef("unknown flag %s%s: %s", dashes, name, outcome.Suggestion("--"+name, names))
	}
	return outcome.Usagef("%w: see %s --help", err, cmd.CommandPath())
}

// view returns a view that shows progress on stderr: live on a terminal, otherwise as
// lines.
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
	drawn.NoColor = os.Getenv("NO_COLOR") != ""
	return drawn, true
}
