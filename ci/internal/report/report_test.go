package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/report"
)

func sample() report.Release {
	one := int32(1)
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return report.Release{
		Result: report.Restored, ExitCode: 3, SHA: "0123456789012345678901234567890123456789",
		StartedAt: start, DurationMS: 6500, URL: "http://127.0.0.1:1", Error: "backend: tasks failed to start",
		Services: []report.Service{{
			Name: "backend", Result: report.Restored, DurationMS: 4200, DeploymentID: "ecs-svc/1", Error: "tasks failed to start",
			From:   report.Version{TaskDefinition: "arn:x/ecs-backend-task:1", Image: "repo@sha256:aaaaaaaaaaaaaaaa", SHA: "previous"},
			To:     report.Version{TaskDefinition: "arn:x/ecs-backend-task:2", Image: "repo@sha256:bbbbbbbbbbbbbbbb", SHA: "0123456789012345678901234567890123456789-dirty"},
			Causes: []report.Cause{{Task: "arn:t", Count: 3, StopCode: "EssentialContainerExited", Reason: "Essential container in task exited", ExitCode: &one, LogTail: []string{"fatal: no ```config```"}}},
		}, {Name: "frontend", Result: report.Unchanged, From: report.Version{Image: "repo@sha256:cccccccccccccccc"}}},
		Stages:  []report.Stage{{Name: "build", Result: report.Succeeded, DurationMS: 1500}},
		Events:  []report.Event{{At: start.Add(1500 * time.Millisecond), Service: "backend", Text: "a | b"}},
		Notes:   []string{"no base"},
		Next:    "aws ecs update-service",
		Traffic: &report.Traffic{Served: 1000, Failed: 2},
	}
}

func TestJSONKeys(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, sample().JSON(&out))
	var got map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &got))
	for _, key := range []string{"result", "sha", "started_at", "duration_ms", "url", "services", "stages", "events"} {
		require.Contains(t, got, key)
	}
	require.Equal(t, "2026-01-02T03:04:05Z", got["started_at"])
	service := got["services"].([]any)[0].(map[string]any)
	require.Equal(t, map[string]any{"task_definition": "arn:x/ecs-backend-task:1", "image": "repo@sha256:aaaaaaaaaaaaaaaa", "sha": "previous"}, service["from"])
	cause := service["causes"].([]any)[0].(map[string]any)
	require.InDelta(t, 1, cause["exit_code"], 0)
	require.Equal(t, []any{"fatal: no ```config```"}, cause["log_tail"])
}

func TestTasks(t *testing.T) {
	r, three := sample(), int32(3)
	r.Tasks = []report.Task{{Service: "backend", Task: "arn:x/task/c/0123", Result: report.Failed, ExitCode: &three, DurationMS: 2000}, {Service: "worker", Result: report.Failed}}
	var text, markdown, document bytes.Buffer
	require.NoError(t, r.Text(&text))
	require.Contains(t, text.String(), "  release task of backend: failed (exit code 3) in 2.0s\n  release task of worker: failed in 0.0s\n")
	require.NoError(t, r.Markdown(&markdown))
	require.Contains(t, markdown.String(), "| backend | `0123` | failed (exit code 3) in 2.0s |\n| worker |  | failed in 0.0s |\n")
	require.NoError(t, r.JSON(&document))
	var got map[string]any
	require.NoError(t, json.Unmarshal(document.Bytes(), &got))
	require.Equal(t, []any{
		map[string]any{"service": "backend", "task": "arn:x/task/c/0123", "result": "failed", "exit_code": 3., "duration_ms": 2000.},
		map[string]any{"service": "worker", "task": "", "result": "failed", "exit_code": nil, "duration_ms": 0.},
	}, got["tasks"])
}

// TestRun renders a one-off task. As text it has no log, which was shown before.
func TestRun(t *testing.T) {
	three := int32(3)
	r := report.Run{
		Result: report.Failed, ExitCode: 1, TaskDefinition: "arn:x/ecs-api-task:7", Container: "api", Error: "container api exited with code 3",
		Task:   report.Task{Service: "api", Task: "arn:x/task/c/0123", Result: report.Failed, ExitCode: &three, DurationMS: 2000},
		Causes: []report.Cause{{Count: 1, Reason: "Essential container in task exited", ExitCode: &three, LogTail: []string{"no table"}}},
	}
	var text, markdown bytes.Buffer
	require.NoError(t, r.Text(&text))
	require.Equal(t, "api: task 0123 of ecs-api-task:7: failed (exit code 3) in 2.0s\n  container api exited with code 3\n    1 × Essential container in task exited (exit code 3)\n", text.String())
	require.NoError(t, r.Markdown(&markdown))
	require.Contains(t, markdown.String(), "| api | `0123` | `ecs-api-task:7` | failed (exit code 3) in 2.0s |")
	require.Contains(t, markdown.String(), "no table")
	var document bytes.Buffer
	require.NoError(t, report.Run{}.JSON(&document))
	require.Equal(t, 1, strings.Count(document.String(), "null"), "only the missing exit code: %s", document.String())
}

func TestLogs(t *testing.T) {
	l := report.Logs{Notes: []string{"no log of web"}}
	for range 5000 {
		l.Lines = append(l.Lines, report.LogLine{Service: "api", Container: "api", Main: true, Task: "0123456789", Text: "one"})
	}
	l.Lines = append(l.Lines, report.LogLine{Service: "api", Container: "agent", Task: "01", Text: "last"})
	var text, markdown bytes.Buffer
	require.NoError(t, l.Text(&text))
	require.True(t, strings.HasPrefix(text.String(), "api/01234567  one\n"))
	require.True(t, strings.HasSuffix(text.String(), "api/agent/01  last\n"))
	require.NoError(t, l.Markdown(&markdown))
	require.Less(t, markdown.Len(), report.MarkdownLimit)
	require.Contains(t, markdown.String(), "Note: no log of web.")
	require.Contains(t, markdown.String(), "lines before these are omitted.")
	require.Contains(t, markdown.String(), "api/agent/01  last\n```")
}

func TestJSONHasNoNulls(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, report.Release{Services: []report.Service{{Causes: []report.Cause{{}}}}}.JSON(&out))
	require.Equal(t, 1, strings.Count(out.String(), "null"), "only the missing exit code: %s", out.String())
	out.Reset()
	require.NoError(t, report.Release{}.JSON(&out))
	require.NotContains(t, out.String(), "null")
}

func TestText(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, sample().Text(&out))
	for _, want := range []string{
		"012345678901: restored in 6.5s (exit code 3)\n  backend: tasks failed to start\n",
		"backend      restored   previous -> 012345678901-dirty  4.2s",
		"frontend     unchanged  cccccccccccc -> -",
		"3 × Essential container in task exited (exit code 1) [EssentialContainerExited]\n      | fatal: no ```config```",
		"1000 served, 2 failed", "note: no base", "http://127.0.0.1:1", "next: aws ecs update-service",
	} {
		require.Contains(t, out.String(), want)
	}
}

func TestMarkdown(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, sample().Markdown(&out))
	for _, want := range []string{
		"## Release `012345678901`: restored",
		"| backend | restored | `previous` | `012345678901-dirty` | `ecs-backend-task:2` | 4.2s |",
		"````text\nfatal: no ```config```\n````",
		"| build | succeeded | 1.5s |",
		`| +1.5s | backend | a &#124; b |`,
		"1000 served, 2 failed",
	} {
		require.Contains(t, out.String(), want)
	}
}

// fakeView records what it displays.
type fakeView struct{ lines []string }

func (v *fakeView) Line(text string)  { v.lines = append(v.lines, text) }
func (v *fakeView) Status(s []string) { v.lines = append(v.lines, s...) }
func (v *fakeView) Close()            {}
func (v *fakeView) has(s string) bool { return strings.Contains(strings.Join(v.lines, "\n"), s) }
func ticking(step time.Duration) func() time.Time {
	now := time.Unix(100, 0)
	return func() time.Time { now = now.Add(step); return now }
}

func TestRecorder(t *testing.T) {
	view := &fakeView{}
	r := report.NewRecorder(ticking(time.Second), view)
	require.NoError(t, r.Stage("build", func() (report.Result, error) { return report.Succeeded, nil }))
	broken := errors.New("broken")
	require.ErrorIs(t, r.Stage("deploy", func() (report.Result, error) { return report.Succeeded, broken }), broken)
	r.Event("backend", "first\nsecond")
	r.Event("", "as a whole")
	r.Line("not recorded")
	r.Status([]string{"the status"})

	var release report.Release
	r.Fill(&release)
	require.Equal(t, []report.Stage{
		{"build", report.Succeeded, 1000, time.Unix(102, 0).UTC()}, {"deploy", report.Failed, 1000, time.Unix(104, 0).UTC()},
	}, release.Stages)
	require.Len(t, release.Events, 2)
	require.Equal(t, "first; second", release.Events[0].Text, "an event is one line")
	require.Equal(t, time.Unix(101, 0).UTC(), release.StartedAt)
	require.Positive(t, release.DurationMS)
	for _, want := range []string{"build …", "build succeeded in 1.0s", "deploy failed in 1.0s", "backend: first", "as a whole", "not recorded", "the status"} {
		require.True(t, view.has(want), want)
	}
}

func TestPlain(t *testing.T) {
	var out bytes.Buffer
	view := report.Plain{W: &out}
	view.Line("one")
	view.Status([]string{"not shown"})
	view.Close()
	require.Equal(t, "one\n", out.String())
}

func TestLive(t *testing.T) {
	var out bytes.Buffer
	view := report.NewLive(&out, func() int { return 10 })
	view.Line("first")
	require.Equal(t, "first\n", out.String())
	out.Reset()
	view.Status([]string{"short", "longer than the terminal"})
	require.Equal(t, "\x1b[2mshort\x1b[0m\n\x1b[2mlonger t…\x1b[0m\n", out.String())
	out.Reset()
	view.Line("second")
	require.Equal(t, "\x1b[2A\r\x1b[Jsecond\n\x1b[2mshort\x1b[0m\n\x1b[2mlonger t…\x1b[0m\n", out.String(), "above the status")
	out.Reset()
	view.Close()
	require.Equal(t, "\x1b[2A\r\x1b[J", out.String(), "the status is removed")
}

// TestLiveAfterResize: what was drawn has wrapped, and goes up as many rows.
func TestLiveAfterResize(t *testing.T) {
	var out bytes.Buffer
	width := 30
	view := report.NewLive(&out, func() int { return width })
	view.Status([]string{"one", "as long as two of the rows"})
	out.Reset()
	width = 12
	view.Close()
	require.Equal(t, "\x1b[4A\r\x1b[J", out.String(), "26 columns take 3 rows of 12")
}

func TestLiveNoColor(t *testing.T) {
	var out bytes.Buffer
	view := report.NewLive(&out, func() int { return 0 })
	view.NoColor = true
	view.Status([]string{"one"})
	require.Equal(t, "one\n", out.String(), "no color")
}
