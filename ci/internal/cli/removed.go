package cli

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// removedCommands returns hidden commands that name the replacement of a removed command.
// They accept any arguments.
func removedCommands() []*cobra.Command {
	var commands []*cobra.Command
	for name, replacement := range map[string]string{
		"inspect": "show an image with crane manifest or docker buildx imagetools inspect, and compare images with diffoci diff",
		"man":     "see slipway help COMMAND or docs/reference.md",
		"sbom":    "run slipway build, then syft scan oci-dir:.slipway/build/SERVICE --output spdx-json",
	} {
		commands = append(commands, &cobra.Command{
			Use: name, Hidden: true, DisableFlagParsing: true, Args: cobra.ArbitraryArgs,
			RunE: func(*cobra.Command, []string) error {
				return outcome.Usagef("slipway %s was removed: %s", name, replacement)
			},
		})
	}
	return commands
}

// removedFlag adds a hidden flag whose use is a usage error that names the replacement.
func removedFlag(cmd *cobra.Command, flag, replacement string) {
	cmd.Flags().Var(removedFlagValue(replacement), flag, "")
	_ = cmd.Flags().MarkHidden(flag) // the flag exists
}

type removedFlagValue string

var _ pflag.Value = removedFlagValue("")

func (g removedFlagValue) Set(string) error { return outcome.Usagef("it was removed: %s", string(g)) }
func (g removedFlagValue) String() string   { return "" }
func (g removedFlagValue) Type() string     { return "string" }
