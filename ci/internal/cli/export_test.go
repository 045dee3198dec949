package cli

import (
	"io"

	"github.com/spf13/cobra"
)

// Root is the tree of all commands, for tests that go over it.
func Root() *cobra.Command {
	return (&app{stdout: io.Discard, stderr: io.Discard, output: text}).root()
}
