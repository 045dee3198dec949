package pipeline_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/pipeline"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// TestRehearseAProgramThatEnds checks that a rehearsal says why a service did not start.
func TestRehearseAProgramThatEnds(t *testing.T) {
	dir := sourcetest.New(t)
	sourcetest.Write(t, dir, "api/main.go", "package main\n\nimport \"os\"\n\nfunc main() {\n\tprintln(\"DATABASE_URL is not set\")\n\tos.Exit(3)\n}\n")
	sourcetest.Commit(t, dir, "needs a variable")
	var progress strings.Builder
	p := pipeline.Pipeline{Dir: dir, Recorder: report.NewRecorder(time.Now, report.Plain{W: &progress})}
	result, err := p.Rehearse(t.Context(), pipeline.RehearseOptions{Scenario: "happy", Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	require.NotEqual(t, report.Succeeded, result.Result)
	require.Contains(t, progress.String(), "api has no tests, which slipway test refuses")
	require.Contains(t, result.Error, "starting the previous version of api: Essential container in task exited (exit code 3); its log ends with: DATABASE_URL is not set")
}
