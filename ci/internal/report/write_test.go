package report_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/report"
)

// timed is a sample with times.
func timed() report.Release {
	r := sample()
	r.Stages = []report.Stage{{Name: "deploy", Result: report.Restored, StartedAt: r.StartedAt.Add(time.Second), DurationMS: 5000}}
	r.Events = []report.Event{
		{At: r.StartedAt.Add(1500 * time.Millisecond), Service: "backend", Text: "deployment started"},
		{At: r.StartedAt.Add(1510 * time.Millisecond), Service: "backend", Text: "has started 2 tasks"},
		{At: r.StartedAt.Add(2 * time.Second), Text: "as a whole"},
		{At: r.StartedAt.Add(6 * time.Second), Service: "backend", Text: "is back on the previous version"},
	}
	return r
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	require.NoError(t, timed().Write(dir))
	for name, want := range map[string]string{"report.json": `"result": "restored"`, "report.md": "## Release `012345678901`: restored"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Contains(t, string(data), want)
	}
	file := filepath.Join(dir, "report.md")
	require.ErrorContains(t, timed().Write(file), "creating the directory of the report")
	require.NoError(t, os.Remove(file))
	require.NoError(t, os.Mkdir(file, 0o755))
	require.ErrorContains(t, timed().Write(dir), "writing the report")
}

func TestGantt(t *testing.T) {
	var out strings.Builder
	require.NoError(t, timed().Markdown(&out))
	start := timed().StartedAt.UnixMilli()
	require.Contains(t, out.String(), fmt.Sprintf("```mermaid\ngantt\n    accTitle: Timeline of the release\n    accDescr: Release 012345678901 restored in 6.5s\n    dateFormat x\n    axisFormat %%H:%%M:%%S\n"+
		"    section Stages\n    deploy (restored) :crit, %d, %d\n    section Services\n    backend (restored) :crit, %d, %d\n```\n", start+1000, start+6000, start+1500, start+6000))
	out.Reset()
	require.NoError(t, report.Release{}.Markdown(&out))
	require.NotContains(t, out.String(), "mermaid")
}
