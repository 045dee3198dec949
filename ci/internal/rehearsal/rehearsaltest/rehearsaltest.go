// Package rehearsaltest gives tests a platform that runs.
package rehearsaltest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/image"
	"dagger/slipway/internal/platform"
	"dagger/slipway/internal/rehearsal"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/source"
	"dagger/slipway/internal/step"
)

// In runs steps against an embedded AWS in which the services of the tree at dir
// run, at its commit. The environment leads there.
func In(t *testing.T, dir string, steps func()) {
	t.Helper()
	tree, err := source.Open(t.Context(), dir)
	require.NoError(t, err)
	p, err := platform.Load(dir)
	require.NoError(t, err)
	lock, err := image.ReadLock(dir)
	require.NoError(t, err)
	ran := false
	release := rehearsal.Run(t.Context(), rehearsal.Options{
		Source: tree, Platform: p, Lock: lock, Exec: step.Host{Source: dir}, Cache: image.CacheDir(), Scenario: rehearsal.Happy,
		Up: func(endpoint string, _ report.Release) {
			ran = true
			for name, value := range map[string]string{ //nolint:gosec // the embedded AWS takes any credentials
				"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_REGION": platform.DefaultRegion,
				"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
			} {
				t.Setenv(name, value)
			}
			steps()
		},
	}, report.NewRecorder(time.Now, report.Plain{W: t.Output()}))
	require.True(t, ran, "%+v", release)
}
