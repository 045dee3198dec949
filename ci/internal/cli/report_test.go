package cli_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/schematest"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

func TestReportIsWritten(t *testing.T) {
	dir := sourcetest.New(t)
	code, _, stderr := run(t, "rehearse", "--skip-tests", "--source", dir)
	require.Equal(t, outcome.Done, code, stderr)
	out := filepath.Join(dir, ".slipway", "rehearse")
	require.Contains(t, stderr, "the report is in "+out+"\n")
	document, err := os.ReadFile(filepath.Join(out, "report.json"))
	require.NoError(t, err)
	schematest.RequireValid(t, "release", document)
	require.FileExists(t, filepath.Join(out, "report.md"))

	file := filepath.Join(dir, "web", "site", "index.html")
	code, stdout, stderr := run(t, "rehearse", "--skip-tests", "--source", dir, "--out", file)
	require.Equal(t, outcome.Done, code, "the release went well all the same")
	require.Contains(t, stdout, "succeeded")
	require.Contains(t, stderr, "creating the directory of the report: ")
	require.Contains(t, stderr, ": choose another directory with --out\n")
}
