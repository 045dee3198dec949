package cli_test

import (
	"slices"
	"strings"
	"testing"

	"dagger/slipway/internal/schema/schematest"
)

// requireSchema holds a document that a command printed to its schema.
func requireSchema(t *testing.T, args []string, stdout string) {
	t.Helper()
	n := slices.Index(args, "--output")
	if n < 0 || args[n+1] != "json" || stdout == "" {
		return
	}
	name := strings.TrimPrefix(args[0], "--") // the flag --version does as the command
	switch {
	case name == "deploy", name == "rollback", name == "rehearse":
		name = "release"
	}
	schematest.RequireValid(t, name, []byte(stdout))
}
