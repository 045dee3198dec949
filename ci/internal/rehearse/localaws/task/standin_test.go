package task

import (
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/rehearse/localaws/localawstest/testapp"
)

func TestStandIn(t *testing.T) {
	layer, err := testapp.Layer()
	require.NoError(t, err)
	img, err := testapp.Image(v1.Config{Labels: map[string]string{StandInLabel: "true"}}, layer)
	require.NoError(t, err)
	forEachMode(t, func(t *testing.T, w testMode) {
		c := run(t, w, img, nil)
		status, body, err := c.get(t, "/any")
		require.NoError(t, err)
		require.Equal(t, 200, status)
		require.Equal(t, `{"status":"ok"}`, body)
		require.NoError(t, c.Check(t.Context(), []string{"CMD", "absent"}))
		c.Stop(time.Second)
		<-c.Done()
		require.Zero(t, c.ExitCode())

		job := run(t, w, img, func(s *Spec) { s.Command = []string{"migrate"} })
		<-job.Done()
		require.Zero(t, job.ExitCode())
		require.Equal(t, []string{"the image is a stand-in, which does nothing"}, job.output.all())
	})
}
