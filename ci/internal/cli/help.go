package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"dagger/slipway/internal/report/outcome"
)

// commandGroups are the chapters of the help, in the order in which a change goes
// through them, and the commands of each.
var commandGroups = []struct {
	id, title string
	commands  []string
}{
	{"build", "Build and check:", []string{"new", "test", "lint", "fmt", "build", "lock", "scan"}},
	{"release", "Release:", []string{"publish", "verify", "diff", "deploy", "status", "rollback"}},
	{"platform", "The platform:", []string{"validate", "plan", "apply"}},
	{"rehearse", "On this machine:", []string{"up", "rehearse", "local-aws"}},
	{"help", "Help:", []string{"doctor", "version", "completion", "help"}},
}

// Cobra sorts commands by name unless told otherwise, and has no other way to be
// told.
func init() { cobra.EnableCommandSorting = false }

// configureHelp adds what cobra gives every program, help and completion, and puts
// each command into its chapter.
func (a *app) configureHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, group := range commandGroups {
		root.AddGroup(&cobra.Group{ID: group.id, Title: group.title})
		for _, name := range group.commands {
			if cmd, _, err := root.Find([]string{name}); err == nil && cmd != root {
				cmd.GroupID = group.id
				root.RemoveCommand(cmd) // and at the end again: in the order above
				root.AddCommand(cmd)
			}
		}
	}
	describeHelp(root)
	describeCompletion(root)
	a.registerCompletions(root)
}

// describeHelp makes a topic that is not there a usage error, as everywhere else.
func describeHelp(root *cobra.Command) {
	help, _, _ := root.Find([]string{"help"})
	help.Use = "help [COMMAND]"
	help.Short = "Tell about a command"
	help.Long = "Help tells what a command does, what its flags mean, and gives examples."
	help.Example = `  slipway help deploy
  slipway deploy --help`
	help.Run = nil
	help.RunE = func(cmd *cobra.Command, args []string) error {
		topic, rest, err := cmd.Root().Find(args)
		if err != nil || len(rest) > 0 {
			if err := rejectUnknownCommand(cmd.Root(), args); err != nil && topic == cmd.Root() {
				return err
			}
			return outcome.Usagef("no help about %q: see %s --help", strings.Join(args, " "), topic.CommandPath())
		}
		topic.InitDefaultHelpFlag()
		return topic.Help()
	}
}

// describeCompletion says what cobra's own text does not: an example of each, and
// usage errors with exit code 2.
func describeCompletion(root *cobra.Command) {
	completion, _, _ := root.Find([]string{"completion"})
	completion.Short = "Write the script that makes a shell complete commands and values"
	completion.Long = `Completion writes the script that makes a shell complete slipway's commands,
flags and values: services, scenarios, checks, formats, commits.

It completes the program slipway on PATH, which is built once with
  go build -o slipway ./ci/cmd/slipway

bash, with the package bash-completion:
  slipway completion bash > ~/.local/share/bash-completion/completions/slipway
zsh, where compinit runs and ~/.zfunc is in fpath:
  slipway completion zsh > ~/.zfunc/_slipway
fish:
  slipway completion fish > ~/.config/fish/completions/slipway.fish

A shell that is started afterwards has it.`
	completion.Example = `  slipway completion bash > ~/.local/share/bash-completion/completions/slipway
  slipway completion zsh > ~/.zfunc/_slipway
  slipway completion fish > ~/.config/fish/completions/slipway.fish`
	completion.Args = rejectUnknownCommand
	completion.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	uses := map[string]string{
		"bash":       "  source <(slipway completion bash)",
		"zsh":        "  source <(slipway completion zsh)",
		"fish":       "  slipway completion fish | source",
		"powershell": "  slipway completion powershell | Out-String | Invoke-Expression",
	}
	for _, shell := range completion.Commands() {
		shell.Short = "Write the script for " + shell.Name()
		shell.Example = uses[shell.Name()]
		shell.Args = rejectArguments
	}
}
