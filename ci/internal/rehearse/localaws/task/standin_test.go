package task

import (
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest/testapp"
)

func TestStandIn(t *testing.T) {
	layer, err := testapp.Layer()
	require.NoError(t, err)
	img, err := testapp.Image(v1.Config{Labels: map[string]string{StandInLabel: "true"}, Env: []string{"VERSION=of the image"}}, layer)
	require.NoError(t, err)
	forEachMode(t, func(t *testing.T, w testMode) {
		for name, change := range map[string]func(*Spec){
			"a web service":                   func(s *Spec) { s.Env = []string{"VERSION=1"} },
			"a worker":                        func(s *Spec) { s.Ports = nil },
			"a job":                           func(s *Spec) { s.Ports, s.OneOff = nil, true },
			"a one-off task of a web service": func(s *Spec) { s.OneOff = true },
		} {
			t.Run(name, func(t *testing.T) {
				var spec Spec
				c := run(t, w, img, func(s *Spec) { change(s); spec = *s })
				require.Len(t, c.output.all(), 1)
				require.NoError(t, c.Check(t.Context(), []string{"anything"}))
				switch {
				case spec.OneOff:
				case len(spec.Ports) > 0:
					status, body, err := c.get(t, "/any/path")
					require.NoError(t, err)
					require.Equal(t, 200, status)
					require.JSONEq(t, `{"status": "ok", "version": "1"}`, body)
					fallthrough
				default:
					select {
					case <-c.Done():
						t.Fatal("it ended by itself")
					default:
					}
					c.Stop(time.Second)
				}
				<-c.Done()
				require.Zero(t, c.ExitCode())
			})
		}
	})
}
