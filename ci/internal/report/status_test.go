package report_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/report"
)

// drift is a document about the platform.
type drift struct {
	Found bool `json:"found"`
	err   error
}

func (d drift) Text(w io.Writer) error     { return d.write(w, "drift, as text\n") }
func (d drift) Markdown(w io.Writer) error { return d.write(w, "### Drift\n") }
func (d drift) JSON(w io.Writer) error     { return d.write(w, "{}") }

func (d drift) write(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return errors.Join(d.err, err)
}

// TestStatusWithDrift appends the drift of the platform to the status.
func TestStatusWithDrift(t *testing.T) {
	for _, render := range []func(report.Status, io.Writer) error{report.Status.Text, report.Status.Markdown} {
		var b bytes.Buffer
		require.Error(t, render(report.Status{Infra: drift{err: errors.New("no")}}, &b))
	}
	s := report.Status{Cluster: "c", URL: "http://a", Infra: drift{Found: true}}
	var text, markdown, document bytes.Buffer
	require.NoError(t, s.Text(&text))
	require.Equal(t, "http://a\n\ndrift, as text\n", text.String())
	require.NoError(t, s.Markdown(&markdown))
	require.Contains(t, markdown.String(), "\n### Drift\n")
	require.NoError(t, s.JSON(&document))
	require.Contains(t, document.String(), `"infra": {`+"\n    \"found\": true\n  }")
	document.Reset()
	require.NoError(t, report.Status{}.JSON(&document))
	require.NotContains(t, document.String(), "infra")
}

// TestStatusOfUnknownServices checks that no counts are invented.
func TestStatusOfUnknownServices(t *testing.T) {
	s := report.Status{Services: []report.ServiceStatus{
		{Name: "api", State: report.Unknown, Error: "no answer <b>"},
		{Name: "web", State: report.Degraded, Tasks: report.Tasks{Desired: 2, Running: 1}, Error: "no history"},
		{Name: "queue", State: report.Steady, Cluster: "other"},
	}}
	var text, markdown bytes.Buffer
	require.NoError(t, s.Text(&text))
	require.Contains(t, text.String(), "api          unknown\n  no answer <b>\nweb          degraded")
	require.Contains(t, text.String(), "1 of 2 run\n  no history\n")
	require.Equal(t, 1, strings.Count(text.String(), "0 of 0"), "that of the last one, which is known")
	require.Contains(t, text.String(), "\n  in cluster other\n")
	require.NoError(t, s.Markdown(&markdown))
	require.Contains(t, markdown.String(), "| api | unknown | `-` |  | - | - |\n")
	require.Contains(t, markdown.String(), "\n- api: no answer &lt;b")
}

// TestUnsupportedStrategies checks that unsupported strategies are reported.
func TestUnsupportedStrategies(t *testing.T) {
	s := report.Status{Services: []report.ServiceStatus{
		{Name: "api", State: report.Steady, Strategy: "BLUE_GREEN"}, {Name: "web", State: report.Steady},
	}}
	d := report.Diff{Changed: true, Services: []report.ServiceDiff{
		{Name: "api", Changed: true, Strategy: "CANARY"}, {Name: "old", Strategy: "LINEAR"}, {Name: "web", Changed: true},
	}}
	for _, tt := range []struct {
		render func(io.Writer) error
		want   []string
	}{
		{s.Text, []string{"  strategy BLUE_GREEN: deploy refuses to change this service"}},
		{s.Markdown, []string{"- api: deployment strategy BLUE_GREEN: deploy refuses"}},
		{d.Text, []string{"api: strategy CANARY: deploy refuses", "old: strategy LINEAR: deploy refuses"}},
		{d.Markdown, []string{"api: strategy CANARY: deploy refuses"}},
	} {
		var b bytes.Buffer
		require.NoError(t, tt.render(&b))
		require.Equal(t, len(tt.want), strings.Count(b.String(), "strategy"), b.String())
		for _, want := range tt.want {
			require.Contains(t, b.String(), want)
		}
	}
}
