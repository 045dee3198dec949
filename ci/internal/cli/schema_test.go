package cli_test

import (
	"slices"
	"testing"

	"github.com/slipway-cd/slipway/ci/internal/schematest"
)

// requireSchema checks a document that a command printed against its schema, where
// it has one.
func requireSchema(t *testing.T, args []string, stdout string) {
	t.Helper()
	n := slices.Index(args, "--output")
	if n < 0 || args[n+1] != "json" || stdout == "" {
		return
	}
	for _, d := range schematest.Documents() {
		if slices.Contains(d.Commands, args[0]) {
			schematest.RequireValid(t, d.Name, []byte(stdout))
		}
	}
}
