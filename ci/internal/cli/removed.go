package cli

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dagger/slipway/internal/report/outcome"
)

// goneCommands say of commands that are gone what does their work now. They are
// hidden, and take whatever was given to them.
func removedCommands() []*cobra.Command {
	var commands []*cobra.Command
	for name, instead := range map[string]string{
		"inspect": "crane manifest or docker buildx imagetools inspect tells what an image is, and diffoci diff what two differ in",
		"man":     "slipway help COMMAND and docs/reference.md have what its pages had",
		"sbom":    "run slipway build, and syft scan oci-dir:.slipway/build/SERVICE --output spdx-json",
	} {
		commands = append(commands, &cobra.Command{
			Use: name, Hidden: true, DisableFlagParsing: true, Args: cobra.ArbitraryArgs,
			RunE: func(*cobra.Command, []string) error { return outcome.Usagef("slipway %s is gone: %s", name, instead) },
		})
	}
	return commands
}

// removedFlag makes a flag that is gone a usage error that says what does its work now.
func removedFlag(cmd *cobra.Command, flag, instead string) {
	cmd.Flags().Var(removedFlagValue(instead), flag, "")
	_ = cmd.Flags().MarkHidden(flag) // fails for no flag that there is
}

type removedFlagValue string

var _ pflag.Value = removedFlagValue("")

func (g removedFlagValue) Set(string) error { return outcome.Usagef("it is gone: %s", string(g)) }
func (g removedFlagValue) String() string   { return "" }
func (g removedFlagValue) Type() string     { return "string" }
