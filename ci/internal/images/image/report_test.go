package image_test

import (
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
)

// TestLockReport: an update locks what a check calls stale or not locked.
func TestLockReport(t *testing.T) {
	renewals := []image.Resolved{
		{Image: "go", Reference: "golang:1", Digest: "sha256:new", Locked: "sha256:new"},
		{Image: "nginx", Reference: "nginx:1", Digest: "sha256:new", Locked: "sha256:old", Platforms: []string{"linux/amd64", "linux/arm64"}},
		{Image: "node", Reference: "node:1", Digest: "sha256:new"},
	}
	for check, want := range map[bool][]image.LockState{
		true: {image.UpToDate, image.Stale, image.NotLocked}, false: {image.UpToDate, image.Locked, image.Locked},
	} {
		r := image.NewLockReport(renewals, check)
		var got []image.LockState
		for _, one := range r.Images {
			got = append(got, one.State)
		}
		require.Equal(t, want, got)
		require.True(t, r.Stale())
		var text, markdown strings.Builder
		require.NoError(t, r.Text(&text))
		require.Contains(t, text.String(), "nginx:1@sha256:new  linux/amd64,linux/arm64\n")
		require.Equal(t, 1, strings.Count(text.String(), "before"), "only what was locked before")
		require.NoError(t, r.Markdown(&markdown))
		require.Contains(t, markdown.String(), "| node:1 | "+string(want[2])+" | `none` | `sha256:new` |")
	}
	require.False(t, image.NewLockReport(renewals[:1], true).Stale())
}

// TestSummary notes the images that another machine would build differently.
func TestSummary(t *testing.T) {
	s, err := image.Describe([]image.Image{
		{Service: platform.Service{Name: "api"}, Index: empty.Index, Note: "not reproducible"},
		{Service: platform.Service{Name: "web"}, Index: empty.Index, MissingBase: "nginx:1 cannot be reached"},
	})
	require.NoError(t, err)
	require.Equal(t, []string{"api is not reproducible", "web was built without its base image, for rehearsals only: nginx:1 cannot be reached"}, s.Notes())
	digest, err := empty.Index.Digest()
	require.NoError(t, err)
	var text, markdown, document strings.Builder
	require.NoError(t, s.Text(&text))
	require.NoError(t, s.Markdown(&markdown))
	require.NoError(t, s.JSON(&document))
	require.Contains(t, text.String(), "api          "+digest.String())
	require.Contains(t, markdown.String(), "| web | `"+digest.String()+"` |")
	require.Contains(t, document.String(), `"baseless": "nginx:1 cannot be reached"`)
}
