package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// commandGroups are the groups of commands in the help, in the order of a delivery.
var commandGroups = []struct {
	id, title string
	commands  []string
}{
	{"build", "Build and check:", []string{"new", "init", "upgrade", "test", "lint", "fmt", "build", "lock", "scan"}},
	{"release", "Release:", []string{"publish", "verify", "diff", "deploy", "promote", "continue", "abort", "status", "rollback", "preview", "run", "logs"}},
	{"platform", "Platform:", []string{"validate", "plan", "apply"}},
	{"rehearse", "On this machine:", []string{"up", "rehearse", "local-aws"}},
	{"help", "Help:", []string{"doctor", "version", "completion", "help"}},
}

// Cobra's only way not to sort commands by name is this global variable.
func init() { cobra.EnableCommandSorting = false }

// configureHelp adds cobra's help and completion commands, and groups all commands.
func (a *app) configureHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, group := range commandGroups {
		root.AddGroup(&cobra.Group{ID: group.id, Title: group.title})
		for _, name := range group.commands {
			if cmd, _, err := root.Find([]string{name}); err == nil && cmd != root {
				cmd.GroupID = group.id
				root.RemoveCommand(cmd) // and added again at the end, in the order above
				root.AddCommand(cmd)
			}
		}
	}
	describeHelp(root)
	describeCompletion(root)
	a.registerCompletions(root)
}

// describeHelp describes the help command and makes an unknown topic a usage error.
func describeHelp(root *cobra.Command) {
	help, _, _ := root.Find([]string{"help"})
	help.Use = "help [COMMAND]"
	help.Short = "Show help for a command"
	help.Long = "Help shows what a command does, its flags and examples."
	help.Example = `  slipway help deploy
  slipway deploy --help`
	help.Run = nil
	help.RunE = func(cmd *cobra.Command, args []string) error {
		topic, rest, err := cmd.Root().Find(args)
		if err != nil || len(rest) > 0 {
			if err := rejectUnknownCommand(cmd.Root(), args); err != nil && topic == cmd.Root() {
				return err
			}
			return outcome.Usagef("no help for %q: see %s --help", strings.Join(args, " "), topic.CommandPath())
		}
		topic.InitDefaultHelpFlag()
		return topic.Help()
	}
}

// describeCompletion describes the completion command and its subcommands, and makes
// wrong arguments usage errors.
func describeCompletion(root *cobra.Command) {
	completion, _, _ := root.Find([]string{"completion"})
	completion.Short = "Print a shell completion script"
	completion.Long = `Completion prints a script that completes slipway's commands, flags and values,
such as services, scenarios and commits.

The script needs slipway in PATH. Build it once with
  go build -o slipway ./ci/cmd/slipway

bash, with the package bash-completion:
  slipway completion bash > ~/.local/share/bash-completion/completions/slipway
zsh, with compinit and ~/.zfunc in fpath:
  slipway completion zsh > ~/.zfunc/_slipway
fish:
  slipway completion fish > ~/.config/fish/completions/slipway.fish

Then start a new shell.`
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
		shell.Short = "Print the script for " + shell.Name()
		shell.Example = uses[shell.Name()]
		shell.Args = rejectArguments
	}
}
