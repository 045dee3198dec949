package report_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/report"
)

func TestFigures(t *testing.T) {
	to := time.Unix(1e9, 0)
	at := func(seconds int64) *int64 { return &seconds }
	f := report.NewFigures(to.Add(-28*24*time.Hour), to, 2, []report.FigureRelease{
		{Result: report.Succeeded, LeadTime: at(600)},
		{Result: report.Succeeded, LeadTime: at(3 * 86400)},
		{Result: report.Succeeded},
		{Result: report.Succeeded, LeadTime: at(3600)},
		{Result: report.Failed, Restore: at(90)},
		{Result: report.Failed, Restore: at(30)},
		{Result: report.Failed},
		{Result: report.Failed, Restore: at(40)},
		{Result: report.Started},
		{Result: report.Failed, Restore: at(50)},
	})
	require.Equal(t, &report.Median{Seconds: 3600, Of: 3}, f.LeadTime)
	require.Equal(t, &report.Median{Seconds: 45, Of: 4}, f.Restore)
	require.Equal(t, []int{4, 5, 1, 2, 1, 1}, []int{f.Succeeded, f.Failed, f.InProgress, f.Other, f.UnknownCommits, f.Unrestored})
	status := report.Status{Figures: &f}
	var text, markdown, document bytes.Buffer
	require.NoError(t, status.Text(&text))
	require.Equal(t, `deployment frequency   1.0 a week   4 successful releases since 2001-08-12 01:46:40Z; 1 in progress
lead time for changes  60.0 min     median of 3 releases; 1 whose commit is not in this repository
change failure rate    55.6 %       5 of 9 releases failed
time to restore        45 s         median of 4 releases; 1 not restored, or not on record
`, text.String())
	require.NoError(t, status.Markdown(&markdown))
	require.Contains(t, markdown.String(), "\n\n| figure | value | of |\n|---|---|---|\n| deployment frequency | 1.0 a week |")
	require.NoError(t, report.Status{Figures: &report.Figures{}}.JSON(&document))
	require.Contains(t, document.String(), `"releases": []`)

	none := report.NewFigures(to, to, 0, nil)
	require.Zero(t, none.PerWeek)
	require.Nil(t, none.FailureRate)
	text.Reset()
	require.NoError(t, report.Status{Figures: &none}.Text(&text))
	require.Contains(t, text.String(), "change failure rate    -            0 of 0 releases failed\n")
	require.InDelta(t, 2, report.NewFigures(to.Add(-time.Hour), to, 0, []report.FigureRelease{{Result: report.Succeeded}, {Result: report.Succeeded}}).PerWeek, 0, "a week at least")
}
