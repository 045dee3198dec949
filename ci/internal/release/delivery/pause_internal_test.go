package delivery

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func TestPauseOptions(t *testing.T) {
	for name, tt := range map[string]struct {
		o    Options
		want string // "" if the options are valid
	}{
		"none":                   {Options{CI: true}, ""},
		"a pause":                {Options{PauseAt: "pre-production-traffic-shift"}, ""},
		"with a limit in CI":     {Options{PauseAt: "pre-production-traffic-shift", PauseLimit: MaxPause, CI: true}, ""},
		"another strategy":       {Options{Strategy: "linear"}, ""},
		"ECS's name of a stage":  {Options{PauseAt: "BAKE_TIME"}, `invalid --pause-at "BAKE_TIME": want post-test-traffic-shift, pre-production-traffic-shift or post-production-traffic-shift`},
		"no stage":               {Options{PauseLimit: time.Hour}, "--pause-limit needs --pause-at: add it, such as --pause-at post-test-traffic-shift"},
		"too short":              {Options{PauseAt: "post-test-traffic-shift", PauseLimit: 59 * time.Second}, "invalid --pause-limit 59s: want whole minutes from 1m to 336h (14 days)"},
		"too long":               {Options{PauseAt: "post-test-traffic-shift", PauseLimit: MaxPause + time.Minute}, "invalid --pause-limit 336h1m0s: want whole minutes"},
		"negative":               {Options{PauseAt: "post-test-traffic-shift", PauseLimit: -time.Minute}, "invalid --pause-limit -1m0s: want whole minutes"},
		"half a minute":          {Options{PauseAt: "post-test-traffic-shift", PauseLimit: 90 * time.Second}, "invalid --pause-limit 1m30s: want whole minutes"},
		"without a limit in CI":  {Options{PauseAt: "post-test-traffic-shift", CI: true}, "--pause-at needs --pause-limit in CI, where nobody may be there to continue the release: add it, such as --pause-limit 2h"},
		"an unknown strategy":    {Options{Strategy: "BLUE_GREEN"}, `invalid --strategy "BLUE_GREEN": want rolling, blue_green, canary or linear`},
		"a pause when it rolls":  {Options{Strategy: "rolling", PauseAt: "post-test-traffic-shift"}, "--pause-at and --strategy rolling exclude each other"},
		"two things at the time": {Options{Strategy: "x", PauseAt: "y"}, `invalid --pause-at "y"`},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.o.check()
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, outcome.Usage, outcome.Of(err))
		})
	}
	require.Equal(t, machine.PreProductionTrafficShift, Options{PauseAt: "pre-production-traffic-shift"}.pauseStage())
}

// TestSetStrategy overrides only strategies that shift traffic, for one release.
func TestSetStrategy(t *testing.T) {
	bake := 3
	web := func(s *platform.Strategy) platform.Service {
		return platform.Service{Name: "web", Port: 80, Strategy: s}
	}
	canary := web(&platform.Strategy{Type: platform.Canary, Percent: 0.5, Bake: &bake})
	for name, tt := range map[string]struct {
		service platform.Service
		o       Options
		want    *platform.Strategy // of the target
		err     string
	}{
		"as in the file":            {canary, Options{}, nil, ""},
		"the same":                  {canary, Options{Strategy: "canary"}, canary.Strategy, ""},
		"another type":              {canary, Options{Strategy: "linear"}, &platform.Strategy{Type: platform.Linear, Bake: &bake}, ""},
		"rolled":                    {canary, Options{Strategy: "rolling"}, &platform.Strategy{Type: platform.Rolling}, ""},
		"a pause":                   {canary, Options{PauseAt: "post-test-traffic-shift"}, nil, ""},
		"a rolling service":         {web(nil), Options{Strategy: "rolling"}, nil, ""},
		"nothing to shift":          {web(nil), Options{Strategy: "canary"}, nil, "--strategy canary: no service of this release shifts traffic: set strategy in terraform/services.auto.tfvars.json, or leave out --strategy"},
		"nothing to pause":          {web(&platform.Strategy{Type: platform.Rolling}), Options{PauseAt: "post-test-traffic-shift"}, nil, "--pause-at: no service of this release shifts traffic: set strategy in"},
		"a worker cannot be paused": {platform.Service{Name: "worker", Strategy: canary.Strategy}, Options{PauseAt: "post-test-traffic-shift"}, nil, "no service of this release shifts traffic"},
	} {
		t.Run(name, func(t *testing.T) {
			targets := []rollout.Target{{Service: tt.service}}
			err := setStrategy(targets, tt.o)
			require.Equal(t, tt.want, targets[0].Strategy)
			if tt.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.err)
			require.Equal(t, outcome.Usage, outcome.Of(err))
		})
	}
}
