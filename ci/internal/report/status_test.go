package report_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

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

// TestStrategies shows the strategy of a service, and how far its deployment is.
func TestStrategies(t *testing.T) {
	until := time.Date(2026, 9, 1, 14, 0, 0, 0, time.FixedZone("", 7200))
	paused := &report.Shift{Stage: "POST_TEST_TRAFFIC_SHIFT", Bake: 3, Hooks: []report.Hook{
		{Type: "PAUSE", Status: "AWAITING_ACTION", Expires: until}, {Type: "AWS_LAMBDA", Target: "arn:aws:lambda:x", Status: "SUCCEEDED"},
	}}
	shifted := &report.Shift{Stage: "PRODUCTION_TRAFFIC_SHIFT", Percent: 12.5}
	s := report.Status{Services: []report.ServiceStatus{
		{Name: "api", State: report.Deploying, Strategy: "CANARY", Shift: paused}, {Name: "web", State: report.Steady},
		{Name: "old", State: report.Steady, Strategy: "BLUE_GREEN"}, {Name: "hooked", State: report.Steady, Shift: &report.Shift{Hooks: paused.Hooks[1:]}},
	}}
	d := report.Diff{Changed: true, Services: []report.ServiceDiff{
		{Name: "api", Changed: true, Strategy: "LINEAR", Shift: shifted, Changes: []report.Change{{Path: "strategy.type", From: "LINEAR", To: "CANARY"}}},
		{Name: "web", Changed: true},
	}}
	r := report.Release{
		SHA: strings.Repeat("ab", 20), Result: report.Paused, Paused: &report.Pause{Stage: "POST_TEST_TRAFFIC_SHIFT", Until: until}, Next: "slipway continue",
		Services: []report.Service{
			{Name: "api", Result: report.Paused, Strategy: "CANARY", Stage: "PRE_PRODUCTION_TRAFFIC_SHIFT", Percent: 5},
			{Name: "web", Result: report.Succeeded},
		},
	}
	noLimit := report.Release{Result: report.Paused, Paused: &report.Pause{Stage: "POST_TEST_TRAFFIC_SHIFT"}}
	for _, tt := range []struct {
		render func(io.Writer) error
		want   []string
	}{
		{s.Text, []string{
			"\n  strategy CANARY\n  stage POST_TEST_TRAFFIC_SHIFT, 0 % of the traffic to the new version, bake 3 min\n" +
				"  hook PAUSE: AWAITING_ACTION until 2026-09-01 12:00:00Z\n  hook AWS_LAMBDA arn:aws:lambda:x: SUCCEEDED\n",
			"\n  strategy BLUE_GREEN\n", "\n  strategy ROLLING\n  hook AWS_LAMBDA",
		}},
		{s.Markdown, []string{"\n- api: strategy CANARY; stage POST_TEST_TRAFFIC_SHIFT, 0 % of the traffic", "\n- old: strategy BLUE_GREEN", "\n- hooked: strategy ROLLING; hook"}},
		{d.Text, []string{"api: strategy LINEAR; stage PRODUCTION_TRAFFIC_SHIFT, 12.5 % of the traffic", "  ~ strategy.type: LINEAR -> CANARY\n"}},
		{d.Markdown, []string{"api: strategy LINEAR; stage", "| `strategy.type` | `LINEAR` | `CANARY` |"}},
		{r.Text, []string{
			"abababababab: paused in 0.0s (exit code 0)\n  paused at post-test-traffic-shift until 2026-09-01 12:00:00Z; then ECS restores the previous version\n",
			"\n    CANARY: PRE_PRODUCTION_TRAFFIC_SHIFT, 5 % of the traffic to the new version\n", "  next: slipway continue\n",
		}},
		{r.Markdown, []string{
			"## Release `abababababab`: paused\n\nPaused at post-test-traffic-shift until 2026-09-01 12:00:00Z; then ECS restores the previous version.\n\n**Next**: run `slipway continue`\n",
			"| api | paused; CANARY: PRE_PRODUCTION_TRAFFIC_SHIFT, 5 % of the traffic to the new version |", "| web | succeeded |",
		}},
		{noLimit.Text, []string{"\n  paused at post-test-traffic-shift\n"}},
	} {
		var b bytes.Buffer
		require.NoError(t, tt.render(&b))
		require.NotContains(t, b.String(), "web: strategy")
		for _, want := range tt.want {
			require.Contains(t, b.String(), want)
		}
	}
}
