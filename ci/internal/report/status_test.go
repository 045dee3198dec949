package report_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report"
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
	until := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	canary := &report.Shift{
		Percent: 5, StepBakeMinutes: 10, BakeMinutes: 3, Stage: "POST_TEST_TRAFFIC_SHIFT",
		Hooks: []report.Hook{
			{Stages: []string{"POST_TEST_TRAFFIC_SHIFT"}, Target: "PAUSE", Status: "AWAITING_ACTION", Until: until},
			{Stages: []string{"PRE_SCALE_UP", "POST_SCALE_UP"}, Target: "arn:aws:lambda:x"},
		},
	}
	s := report.Status{Services: []report.ServiceStatus{
		{Name: "api", State: report.Deploying, Strategy: "CANARY", Shift: canary},
		{Name: "web", State: report.Steady},
		{Name: "old", State: report.Steady, Strategy: "BLUE_GREEN", Shift: &report.Shift{BakeMinutes: 5}},
		{Name: "hooked", State: report.Steady, Shift: &report.Shift{Hooks: canary.Hooks[1:]}},
	}}
	d := report.Diff{Changed: true, Services: []report.ServiceDiff{
		{Name: "api", Changed: true, Strategy: "LINEAR", Shift: &report.Shift{Percent: 12.5, StepBakeMinutes: 6, Share: 37.5, Stage: "PRODUCTION_TRAFFIC_SHIFT"}, Changes: []report.Change{{Path: "strategy.type", From: "LINEAR", To: "CANARY"}}},
		{Name: "web", Changed: true},
	}}
	r := report.Release{Result: report.Restored, Services: []report.Service{
		{Name: "api", Result: report.Restored, Strategy: "LINEAR", Stage: "PRODUCTION_TRAFFIC_SHIFT", Percent: 37.5},
		{Name: "old", Result: report.Unchanged, Strategy: "BLUE_GREEN"},
		{Name: "web", Result: report.Restored},
	}}
	for _, tt := range []struct {
		render func(io.Writer) error
		want   []string
	}{
		{r.Text, []string{
			"api          restored   - -> -  0.0s\n    LINEAR, stage PRODUCTION_TRAFFIC_SHIFT, 37.5 % of the traffic to the new version\n",
			"old          unchanged  - -> -  0.0s\n    BLUE_GREEN\n  web          restored   - -> -  0.0s\n",
		}},
		{r.Markdown, []string{"| api | restored; LINEAR, stage PRODUCTION_TRAFFIC_SHIFT, 37.5 % of the traffic to the new version |", "| old | unchanged; BLUE_GREEN |", "| web | restored |"}},
		{s.Text, []string{
			"\n  strategy CANARY with 5 % and 10 min per step, bake 3 min\n  stage POST_TEST_TRAFFIC_SHIFT, 0 % of the traffic to the new version\n" +
				"  hook PAUSE at POST_TEST_TRAFFIC_SHIFT: AWAITING_ACTION until 2026-09-01 12:00:00Z\n  hook arn:aws:lambda:x at PRE_SCALE_UP, POST_SCALE_UP\n",
			"\n  strategy BLUE_GREEN, bake 5 min\n", "\n  strategy ROLLING\n  hook arn:aws:lambda:x at",
		}},
		{s.Markdown, []string{
			"\n- api: strategy CANARY with 5 % and 10 min per step, bake 3 min; stage POST_TEST_TRAFFIC_SHIFT, 0 % of the traffic to the new version; hook PAUSE",
			"\n- old: strategy BLUE_GREEN, bake 5 min", "\n- hooked: strategy ROLLING; hook",
		}},
		{d.Text, []string{"api: strategy LINEAR with 12.5 % and 6 min per step, bake 0 min; stage PRODUCTION_TRAFFIC_SHIFT, 37.5 % of the traffic", "  ~ strategy.type: LINEAR -> CANARY\n"}},
		{d.Markdown, []string{"api: strategy LINEAR with 12.5 % and 6 min per step", "| `strategy.type` | `LINEAR` | `CANARY` |"}},
	} {
		var b bytes.Buffer
		require.NoError(t, tt.render(&b))
		require.NotContains(t, b.String(), "web: strategy")
		for _, want := range tt.want {
			require.Contains(t, b.String(), want)
		}
	}
}

// TestPaused names where a release waits, until when, and the commands that decide.
func TestPaused(t *testing.T) {
	r := report.Release{
		SHA: strings.Repeat("ab", 20), Result: report.Paused, Pause: report.NewPause("POST_TEST_TRAFFIC_SHIFT",
			time.Date(2026, 9, 1, 14, 0, 0, 0, time.FixedZone("", 7200)), platform.Environment{Name: "staging", File: "f"}.Command),
		Next: "slipway continue", Services: []report.Service{{Name: "api", Result: report.Paused, Strategy: "CANARY", Stage: "PRE_PRODUCTION_TRAFFIC_SHIFT", Percent: 5}, {Name: "web", Result: report.Succeeded}},
	}
	for _, tt := range []struct {
		render func(io.Writer) error
		want   string
	}{
		{r.Text, "abababababab: paused in 0.0s (exit code 0)\n  paused at post-test-traffic-shift until 2026-09-01 12:00:00Z; then ECS restores the previous version\n" +
			"  continue: slipway continue --env staging\n  abort: slipway abort --env staging\n  api          paused     - -> -  0.0s\n" +
			"    CANARY, stage PRE_PRODUCTION_TRAFFIC_SHIFT, 5 % of the traffic to the new version\n  web          succeeded  - -> -  0.0s\n"},
		{r.Markdown, "## Release `abababababab`: paused\n\n**Paused at post-test-traffic-shift until 2026-09-01 12:00:00Z; then ECS restores the previous version**\n\n" +
			"- to continue it, run `slipway continue --env staging`\n- to abort it, run `slipway abort --env staging`\n\n" +
			"| service | result | from | to | task definition | time |\n|---|---|---|---|---|---|\n" +
			"| api | paused; CANARY, stage PRE_PRODUCTION_TRAFFIC_SHIFT, 5 % of the traffic to the new version |"},
		{r.JSON, `"stage": "post-test-traffic-shift",
    "until": "2026-09-01T12:00:00Z",
    "continue": "slipway continue --env staging",
    "abort": "slipway abort --env staging"`},
	} {
		var b bytes.Buffer
		require.NoError(t, tt.render(&b))
		require.Contains(t, b.String(), tt.want)
	}
}
