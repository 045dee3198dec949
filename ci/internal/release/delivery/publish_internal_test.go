package delivery

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// TestLatest: the tag moves as requested, or else as the registry allows.
func TestLatest(t *testing.T) {
	yes, no := true, false
	known := func(_ context.Context, _ []string) map[string]registry.LatestPolicy {
		return map[string]registry.LatestPolicy{"a": {Move: true}, "b": {Reason: "repository b has immutable tags"}}
	}
	const unknown = "the registry does not report whether it may move: use --latest to try"
	for name, tt := range map[string]struct {
		to        Destination
		requested *bool
		want      map[string]registry.LatestPolicy
	}{
		"not wanted":            {Destination{latestByRepository: known}, &no, map[string]registry.LatestPolicy{"a": {Reason: "--latest=false"}, "b": {Reason: "--latest=false"}}},
		"as allowed":            {Destination{latestByRepository: known}, nil, map[string]registry.LatestPolicy{"a": {Move: true}, "b": {Reason: "repository b has immutable tags"}}},
		"wanted":                {Destination{latestByRepository: known}, &yes, map[string]registry.LatestPolicy{"a": {Move: true, Always: true}, "b": {Always: true, Reason: "repository b has immutable tags"}}},
		"unknown":               {Destination{}, nil, map[string]registry.LatestPolicy{"a": {Reason: unknown}, "b": {Reason: unknown}}},
		"unknown, but wanted":   {Destination{}, &yes, map[string]registry.LatestPolicy{"a": {Move: true, Always: true}, "b": {Move: true, Always: true}}},
		"unknown, and unwanted": {Destination{}, &no, map[string]registry.LatestPolicy{"a": {Reason: "--latest=false"}, "b": {Reason: "--latest=false"}}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.want, tt.to.latest(t.Context(), []string{"a", "b"}, tt.requested))
		})
	}
}

// TestIncompleteImages: what lacks its base, or has one that may change, is published to a
// registry of this machine only.
func TestIncompleteImages(t *testing.T) {
	site := platform.Service{Name: "web", Build: platform.Build{Kind: platform.Nginx}}
	d := Delivery{Lock: image.Lock{Images: map[string]image.Pin{"nginx": {Reference: "nginx:stable"}}}}
	images := []image.Image{{Service: site, MissingBase: "nginx:stable cannot be reached"}}
	for address, refused := range map[string]bool{"registry.example.com/team": true, "127.0.0.1:5000": false} {
		to, err := ExternalRegistry(address)
		require.NoError(t, err)
		defer to.Registry.Close()
		locked, complete := d.checkLocked(to, []platform.Service{site}), requireBase("publishing", to.Registry, images)
		if !refused {
			require.NoError(t, locked)
			require.NoError(t, complete)
			continue
		}
		require.ErrorContains(t, locked, "publishing web: base nginx:stable is not locked to a digest")
		require.Equal(t, outcome.Refused, outcome.Of(locked))
		require.ErrorContains(t, complete, "publishing web: nginx:stable cannot be reached, so the image ")
		require.Equal(t, outcome.Refused, outcome.Of(complete))
	}
	_, err := ExternalRegistry("not a host/")
	require.Error(t, err)
}

// TestRepositories: services may share an image.
func TestRepositories(t *testing.T) {
	service := func(name, repository string) platform.Service {
		return platform.Service{Name: name, Names: platform.Names{Repository: repository}}
	}
	d := Delivery{All: []platform.Service{service("a", "one"), service("b", "one"), service("c", "two"), service("d", "three")}}
	require.Equal(t, []string{"one", "two"}, repositories([]image.Image{{Service: d.All[0]}, {Service: d.All[1]}, {Service: d.All[2]}}))
	require.Equal(t, []string{"two", "three"}, d.siblings("one"))
	require.Equal(t, "moved", latestText(registry.LatestResult{Result: "moved"}))
	require.Equal(t, "left: why", latestText(registry.LatestResult{Result: "left", Reason: "why"}))
	require.Equal(t, "1 blobs, 2.5 MB, 3 mounted", sentText(registry.UploadStats{Blobs: 1, Bytes: 2_500_000, Mounted: 3}))
}

// TestReleaseTaskOutput: the report has the first lines of a task's log, the terminal all.
func TestReleaseTaskOutput(t *testing.T) {
	view := &linesView{}
	d := Delivery{Recorder: report.NewRecorder(time.Now, view)}
	runner := d.releaseTasks().Runner("api")
	for n := range maxTaskLines + 50 {
		runner.Output([]string{fmt.Sprint("line ", n)})
	}
	var recorded report.Release
	d.Recorder.Fill(&recorded)
	require.Len(t, recorded.Events, maxTaskLines+1)
	require.Equal(t, "| line 0", recorded.Events[0].Text)
	require.Equal(t, "the report has the first 200 lines of the log: see all of it with slipway logs api", recorded.Events[maxTaskLines].Text)
	require.Len(t, view.lines, maxTaskLines+50+1)
	require.Equal(t, "  api: | line 249", view.lines[len(view.lines)-1])
}

type linesView struct{ lines []string }

func (v *linesView) Line(text string) { v.lines = append(v.lines, text) }
func (*linesView) Status([]string)    {}
func (*linesView) Close()             {}

// TestUntested says what was verified of a service without a smoke test.
func TestUntested(t *testing.T) {
	check := &platform.HealthCheck{Command: []string{"CMD", "true"}}
	require.Contains(t, untested(platform.Service{Port: 80}), "its targets are healthy")
	require.Contains(t, untested(platform.Service{Container: platform.Container{HealthCheck: check}}), "their container health check passes")
	require.Contains(t, untested(platform.Service{}), "its tasks have run for 40 s")
}
