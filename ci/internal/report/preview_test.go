package report_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/schematest"
)

func TestPreview(t *testing.T) {
	sha, until := strings.Repeat("4d91", 10), time.Date(2026, 12, 4, 8, 0, 0, 0, time.UTC)
	release := report.Release{Result: report.Succeeded, SHA: sha, URL: "https://pr7.preview.example.com", Notes: []string{"no jobs"}}
	failed := release
	failed.Result, failed.ExitCode, failed.Error = report.Failed, outcome.Failed, "api: tasks failed"
	worker := release
	worker.URL, worker.Notes = "", nil
	for name, tt := range map[string]struct {
		p    report.Preview
		want []string
		not  string
	}{
		"runs": {report.Preview{Number: 7, ExpiresAt: until, Release: release}, []string{
			"## Preview of #7: succeeded", "**<https://pr7.preview.example.com>** runs `4d914d914d91` until 2026-12-04 08:00:00Z.", "Note: no jobs.",
		}, "## Release"},
		"a worker": {report.Preview{Number: 7, ExpiresAt: until, Release: worker}, []string{"It runs `4d914d914d91` until 2026-12-04 08:00:00Z, and has no address."}, "<"},
		"failed":   {report.Preview{Number: 7, Removed: []string{"target group a"}, Release: failed}, []string{"## Preview of #7: failed", "What did not run is removed.", "> api: tasks failed"}, "**<"},
	} {
		t.Run(name, func(t *testing.T) {
			var markdown, text, document strings.Builder
			require.NoError(t, tt.p.Markdown(&markdown))
			for _, want := range tt.want {
				require.Contains(t, markdown.String(), want)
			}
			require.NotContains(t, markdown.String(), tt.not)
			require.NoError(t, tt.p.Text(&text))
			require.Contains(t, text.String(), "preview of pull request 7, until ")
			require.NoError(t, tt.p.JSON(&document))
			schematest.RequireValid(t, "preview", []byte(document.String()))
		})
	}
}

func TestPreviews(t *testing.T) {
	at := time.Date(2026, 12, 1, 8, 0, 0, 0, time.UTC)
	list := report.Previews{At: at, Previews: []report.PreviewStatus{
		{Number: 7, SHA: strings.Repeat("4d91", 10), URL: "http://pr7.example.com", State: report.Steady, CreatedAt: at.Add(-time.Hour), ExpiresAt: at.Add(time.Hour)},
		{Number: 8, State: report.Missing, Expired: true, ExpiresAt: at},
	}}
	removal := report.PreviewRemoval{ExitCode: outcome.Failed, Previews: []report.RemovedPreview{
		{Number: 7, Reason: "expired", Removed: []string{"ECS service a"}}, {Number: 8, Reason: "down"}, {Number: 9, Reason: "down", Error: "denied | x"},
	}}
	for name, tt := range map[string]struct {
		schema         string
		document       report.Document
		text, markdown []string
	}{
		"list": {"previews", list, []string{"#7 ", "steady", "4d914d914d91", "http://pr7.example.com", "age 1h0m0s", "until 2026-12-01 09:00:00Z", "expired 2026-12-01 08:00:00Z"}, []string{
			"| #7 | steady | `4d914d914d91` | http://pr7.example.com | 1h0m0s | until 2026-12-01 09:00:00Z |", "| #8 | missing | `-` | - | - | expired 2026-12-01 08:00:00Z |",
		}},
		"no previews": {"previews", report.Previews{At: at}, []string{"no previews"}, []string{"None."}},
		"removal": {"preview-removal", removal, []string{"preview of pull request 7 (expired): removed", "  removed ECS service a", "(down): nothing to remove", "not removed completely"}, []string{
			"## Preview of #7: removed", "Reason: expired.", "- ECS service a", `> denied &#124; x`,
		}},
		"nothing": {"preview-removal", report.PreviewRemoval{}, []string{"no preview to remove"}, []string{"No preview to remove."}},
	} {
		t.Run(name, func(t *testing.T) {
			var markdown, text, document strings.Builder
			require.NoError(t, tt.document.Text(&text))
			require.NoError(t, tt.document.Markdown(&markdown))
			require.NoError(t, tt.document.JSON(&document))
			for _, want := range tt.text {
				require.Contains(t, text.String(), want)
			}
			for _, want := range tt.markdown {
				require.Contains(t, markdown.String(), want)
			}
			schematest.RequireValid(t, tt.schema, []byte(document.String()))
		})
	}
}
