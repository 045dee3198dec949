package report_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slipway-cd/slipway/ci/internal/report"
)

// large is a release of 200 services, half of which failed with long logs.
func large() report.Release {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	one := int32(1)
	r := report.Release{
		Result: report.Restored, ExitCode: 3, SHA: strings.Repeat("a", 40), StartedAt: start, DurationMS: 600_000,
		Error: strings.Repeat("something went wrong; ", 1000), Next: "slipway rollback",
	}
	for n := range 200 {
		name := fmt.Sprintf("service-with-a-rather-long-name-%03d", n)
		s := report.Service{
			Name: name, Result: report.Restored, DurationMS: 60_000,
			From: report.Version{TaskDefinition: "arn:aws:ecs:us-east-1:000000000000:task-definition/ecs-" + name + "-task:1", SHA: strings.Repeat("b", 40)},
			To:   report.Version{TaskDefinition: "arn:aws:ecs:us-east-1:000000000000:task-definition/ecs-" + name + "-task:2", SHA: strings.Repeat("a", 40)},
		}
		if n >= 100 {
			s.Error = "tasks failed to start"
			cause := report.Cause{Task: "arn", Count: 3, Reason: "Essential container in task exited", ExitCode: &one}
			for line := range 500 {
				cause.LogTail = append(cause.LogTail, fmt.Sprintf("line %d %s", line, strings.Repeat("x", 200)))
			}
			s.Causes = []report.Cause{cause}
		}
		r.Services = append(r.Services, s)
		for k := range 10 {
			r.Events = append(r.Events, report.Event{At: start.Add(time.Duration(n+k) * time.Second), Service: name, Text: "has started 2 tasks: (task " + strings.Repeat("f", 32) + ")."})
		}
		r.Notes = append(r.Notes, strings.Repeat("a note ", 100))
		r.Stages = append(r.Stages, report.Stage{Name: fmt.Sprintf("stage %d", n), Result: report.Succeeded, DurationMS: 1000, StartedAt: start})
	}
	return r
}

func TestMarkdownLimit(t *testing.T) {
	var out strings.Builder
	require.NoError(t, large().Markdown(&out))
	text := out.String()
	require.LessOrEqual(t, len(text), report.MarkdownLimit)
	require.Greater(t, len(text), report.MarkdownLimit/2, "the limit is used")
	for _, want := range []string{
		"**Next**: run `slipway rollback`",
		"of the 200 services are in the JSON report.",
		"of the 100 causes are in the JSON report.",
		"more stages are in the JSON report.",
		"more notes are in the JSON report.",
		"of the 2000 events are in the JSON report.",
		"before them are in the JSON report.",
		"more services are not in the chart.",
		"line 499 ", "line 485 ",
		"```mermaid",
	} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, text, "line 400 ", "only the end of a log")
	require.NotContains(t, text, "Truncated", "each part stays within its limit")
	require.Less(t, strings.Index(text, "service-with-a-rather-long-name-100"), strings.Index(text, "service-with-a-rather-long-name-000"), "failed services first")
	_, chart, _ := strings.Cut(text, "```mermaid")
	chart, _, _ = strings.Cut(chart, "```")
	require.Less(t, len(chart), 50_000, "the limit of Mermaid")
	require.Equal(t, strings.Count(text, "<details>"), strings.Count(text, "</details>"))
}

// hostile is text with markup of Markdown, HTML and Mermaid.
const hostile = "a|b <script>alert(1)</script> `c` **d** [e](f)\n```\n%%{init: {}}%% g: h; # i </text> & \"j\" \x1b[31m"

func TestMarkdownEscapes(t *testing.T) {
	r := sample()
	r.Services[0].Name = hostile
	r.Services[0].Causes[0].Reason = hostile
	r.Services[0].Causes[0].Hint = hostile
	r.Services[0].Causes[0].LogTail = []string{"```", "<script>", "````"}
	r.Error, r.Next, r.Notes = hostile, hostile, []string{hostile}
	r.Stages = []report.Stage{{Name: hostile, StartedAt: r.StartedAt, Result: report.Succeeded}}
	r.Events = []report.Event{{At: r.StartedAt, Service: hostile, Text: hostile}}
	var out strings.Builder
	require.NoError(t, r.Markdown(&out))
	text := out.String()
	require.Contains(t, text, "`````text\n```\n<script>\n````\n`````\n", "a fence that the log does not close")
	outside := strings.Replace(text, "`````text\n```\n<script>\n````\n`````\n", "", 1)
	require.NotContains(t, outside, "<script>")
	require.NotContains(t, outside, "**d**")
	require.NotContains(t, outside, "[e](f)")
	require.NotContains(t, outside, "%%{init: {}}%% g: h; #\n")
	_, chart, _ := strings.Cut(outside, "```mermaid\n")
	chart, _, _ = strings.Cut(chart, "```\n")
	require.NotContains(t, chart, "%%{", "no directive")
	for line := range strings.Lines(chart) {
		require.NotContains(t, line, ";")
		require.NotContains(t, line, "#")
		require.LessOrEqual(t, strings.Count(line, ":"), 2, line) // %H:%M:%S has two, a task one
	}
	for line := range strings.Lines(outside) {
		if strings.HasPrefix(line, "| a") && strings.Contains(line, "restored") {
			require.Equal(t, 7, strings.Count(line, "|"), "six columns: %s", line)
		}
	}
}

func TestWriteMarkdown(t *testing.T) {
	long := func(line string) string { return strings.Repeat(line+"\n", report.MarkdownLimit/len(line)) }
	tests := map[string]struct{ text, ends string }{
		"short":              {"all of it\n", "all of it\n"},
		"a table":            {"| a |\n|---|\n" + long("| row of a table |"), "| row of a table |\n\n**Truncated, 1"},
		"a fence":            {"````diff\n" + long("+ some text that is long"), "long\n````\n\n**Truncated, "},
		"a fence in a fence": {"````text\n```\n" + long("+ some text that is long"), "long\n````\n\n**Truncated, "},
		"a fence that ended": {"```\nx\n```\n" + long("some text that is long"), "is long\n\n**Truncated, "},
		"details":            {"<details><summary>x</summary>\n\n" + long("- item"), "- item\n\n</details>\n\n**Truncated, "},
		"no line":            {strings.Repeat("x", report.MarkdownLimit+1), "\n**Truncated, 0 lines omitted**: the JSON report has all of them.\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			require.NoError(t, report.WriteMarkdown(&out, tt.text))
			require.LessOrEqual(t, out.Len(), report.MarkdownLimit)
			require.Contains(t, out.String(), tt.ends)
			if name != "short" {
				require.True(t, strings.HasSuffix(out.String(), "the JSON report has all of them.\n"))
			}
		})
	}
}

func TestPage(t *testing.T) {
	p := report.NewPage(10)
	require.True(t, p.Add("12345"))
	require.False(t, p.Add("678901"))
	require.Equal(t, 2, p.AddAll([]string{"6", "7", "8"}, 1), "beyond the budget")
	require.Equal(t, 1, p.AddAll([]string{"7", "8901"}, 100), "beyond the page")
	p.Force(" more than fits")
	require.Equal(t, "1234567 more than fits", p.String())
}

func TestFence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching("[`a\n]{0,40}").Draw(t, "text")
		fence := report.Fence(text)
		require.GreaterOrEqual(t, len(fence), 3)
		require.NotContains(t, text, fence)
	})
}

// TestMarkdownLimitForAnyRelease checks random releases against the limit.
func TestMarkdownLimitForAnyRelease(t *testing.T) {
	words := rapid.StringOfN(rapid.RuneFrom([]rune("ab|`<>*\n\\é")), 0, 3000, -1)
	rapid.Check(t, func(t *rapid.T) {
		var r report.Release
		r.Error, r.Next = words.Draw(t, "error"), words.Draw(t, "next")
		for range rapid.IntRange(0, 30).Draw(t, "services") {
			r.Services = append(r.Services, report.Service{Name: words.Draw(t, "name"), Causes: []report.Cause{{Reason: words.Draw(t, "reason"), LogTail: []string{words.Draw(t, "line")}}}})
			r.Notes = append(r.Notes, words.Draw(t, "note"))
			r.Events = append(r.Events, report.Event{Text: words.Draw(t, "event")})
		}
		var out strings.Builder
		require.NoError(t, r.Markdown(&out))
		require.LessOrEqual(t, out.Len(), report.MarkdownLimit)
	})
}
