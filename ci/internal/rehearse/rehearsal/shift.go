package rehearsal

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// minute is how long a minute of ECS takes in a rehearsal that shifts traffic: its bakes and
// pauses are in minutes.
const minute = time.Second

// timeScale returns how much faster than real time the clock of the embedded AWS is: without
// a bake, nothing takes minutes.
func timeScale(services []platform.Service) int {
	if slices.ContainsFunc(services, platform.Service.ShiftsTraffic) {
		return int(time.Minute / minute)
	}
	return 1
}

// scaledClock is the real clock of a delivery that knows how short a minute is.
type scaledClock struct {
	clock.Real
	scale int
}

// Scale returns the real time of a nominal duration.
func (c scaledClock) Scale(d time.Duration) time.Duration { return d / time.Duration(c.scale) }

// Nominal returns the nominal duration that takes a real time.
func (c scaledClock) Nominal(d time.Duration) time.Duration { return d * time.Duration(c.scale) }

// shiftTimeout is the time limit of a release that shifts traffic, in real time: no machine is
// too slow for it.
const shiftTimeout = 30 * time.Minute

// rehearsedStrategy returns the strategy of entries that have no other one of its type. Its
// bakes are short, and the first step is large enough for a verdict by figures.
func rehearsedStrategy(kind platform.StrategyType) platform.Strategy {
	s := platform.Strategy{Type: kind}
	if kind != platform.Rolling {
		s.Bake = new(2)
	}
	switch kind {
	case platform.Canary:
		s.Percent, s.StepBake = 20, new(5)
	case platform.Linear:
		s.Percent, s.StepBake = 25, new(2)
	}
	return s
}

// strategy returns the strategy that a scenario needs, "" for none.
func (s Scenario) strategy() platform.StrategyType {
	switch s {
	case BadCanary, KilledPaused:
		return platform.Canary
	case AlarmInBake, HookTimeout, ForeignWeights, OneOfThreeBad:
		return platform.BlueGreen
	}
	return ""
}

// requiredServices is how many services shift traffic in [OneOfThreeBad].
const requiredServices = 3

// withStrategy returns the options with the strategy of [Options.Strategy], or one that the
// scenario needs, in the platform.
func (o Options) withStrategy() (Options, error) {
	needed, kind := o.Scenario.strategy(), platform.StrategyType(o.Strategy)
	if err := delivery.CheckStrategy(o.Strategy); err != nil {
		return o, err
	}
	if needed != "" && kind == platform.Rolling {
		return o, outcome.Usagef("--scenario %s needs traffic that is shifted: leave out --strategy %s", o.Scenario, kind)
	}
	if kind == "" && needed != "" && !slices.ContainsFunc(o.Platform.Services, platform.Service.ShiftsTraffic) {
		kind = needed
	}
	if kind != "" {
		p, err := o.Platform.WithStrategy(rehearsedStrategy(kind))
		if err != nil {
			return o, outcome.Usagef("strategy %s: %w", kind, err)
		}
		if o.Platform = p; kind != platform.Rolling && !slices.ContainsFunc(p.Services, platform.Service.ShiftsTraffic) {
			return o, outcome.Usagef("strategy %s: no service of %s has traffic to shift: it needs a port, and at most five routes", kind, platform.ServicesFile)
		}
	}
	o.Platform = o.withLongBakes()
	if o.Scenario != OneOfThreeBad {
		return o, nil
	}
	return o.withMoreServices()
}

// longBake is how many minutes services bake at least until the fault of a scenario shows,
// which ends the bake: on a slow machine, requests and observations are few.
const longBake = 300

// withLongBakes returns the platform with the bake in which the scenario's fault shows long
// enough.
func (o Options) withLongBakes() platform.Platform {
	p := o.Platform
	if o.Scenario != BadCanary && o.Scenario != AlarmInBake {
		return p
	}
	p.Services = slices.Clone(p.Services)
	for n := range p.Services {
		s := &p.Services[n]
		if !s.ShiftsTraffic() {
			continue
		}
		long := *s.Strategy
		if o.Scenario == AlarmInBake {
			long.Bake = new(max(longBake, int(long.BakeTime().Minutes())))
		} else if long.Type != platform.BlueGreen { // which has no steps
			long.StepBake = new(max(longBake, int(long.StepBakeTime().Minutes())))
		}
		s.Strategy = &long
	}
	return p
}

// withMoreServices adds stand-ins until there are enough services that shift traffic.
func (o Options) withMoreServices() (Options, error) {
	all := slices.Clone(o.Platform.Services)
	shifting := slices.DeleteFunc(slices.Clone(all), func(s platform.Service) bool { return !s.ShiftsTraffic() })
	for n := len(shifting); n < requiredServices; n++ {
		name := fmt.Sprintf("rehearsed-%d", n+1)
		extra, err := platform.Parse(fmt.Appendf(nil, `{"services": {%q: {
			"kind": "image", "image": "example.com/%[2]s:1", "port": 8000, "health_path": "/%[2]s/", "routes": ["/%[2]s/*"], "cpu": 256, "memory": 512, "desired_count": 1
		}}}`, name, name))
		if err == nil {
			e := o.Platform.Environment
			e.Overrides = nil
			extra, err = extra.In(e)
		}
		if err != nil {
			return o, fmt.Errorf("adding a service for scenario %s: %w", o.Scenario, err)
		}
		extra.Services[0].Strategy = shifting[0].Strategy
		all = append(all, extra.Services...)
	}
	o.Platform.Services = all
	return o, nil
}

// deliveryOptions returns the options of the release.
func (r *rehearsal) deliveryOptions() delivery.Options {
	o := delivery.Options{SHA: r.version, NoBuild: true}
	if r.scale > 1 {
		o.Timeout = shiftTimeout
	}
	if r.options.Scenario == HookTimeout || r.options.Scenario == KilledPaused {
		o.PauseAt, o.PauseLimit = delivery.PauseStages()[0], delivery.MinPause
	}
	return o
}

// decide continues a paused release, in [HookTimeout] after ECS has rolled it back.
func (r *rehearsal) decide(ctx context.Context, paused report.Release) report.Release {
	if r.options.Scenario == HookTimeout {
		r.recorder.Event("", "nobody continues the release in time: ECS rolls back")
		r.server.ExpireHooks()
		if err := r.environment.waitComplete(ctx, r.options.Platform.Services); err != nil {
			return r.delivery(r.transport).Failed(r.version, outcome.With(outcome.Unrestored, err))
		}
	}
	r.recorder.Event("", "a person continues the release")
	release := r.delivery(r.transport).Continue(ctx, delivery.Options{Timeout: shiftTimeout})
	release.ID = cmp.Or(release.ID, paused.ID)
	return release
}

// versionRequests are the production requests of a service by the version that served them.
type versionRequests struct{ previous, next int64 }

// requestsByVersion returns the production requests of the services whose traffic is shifted,
// by the entry's name. The release finds the previous version in the first target group.
func (r *rehearsal) requestsByVersion() map[string]versionRequests {
	counts := r.server.ListenerRequests(r.place.environment.LoadBalancer(), productionPort)
	found := map[string]versionRequests{}
	for name, shift := range r.environment.shifts {
		found[name] = versionRequests{counts[shift.TargetGroup], counts[shift.AlternateTargetGroup]}
	}
	return found
}

// trafficNotes returns a note with the requests of each service by version. The error is
// that a version served some that must not.
func (r *rehearsal) trafficNotes() (notes []string, err error) {
	byVersion := r.requestsByVersion()
	for _, s := range r.options.Platform.Services {
		requests, ok := byVersion[s.Name]
		if !ok {
			continue
		}
		notes = append(notes, fmt.Sprintf("production requests of %s: the new version served %d, the previous one %d", s.Name, requests.next, requests.previous))
		if unseen := r.options.Scenario == OneOfThreeBad || r.options.Scenario == HookTimeout; unseen && requests.next > 0 {
			err = outcome.With(outcome.Unrestored, fmt.Errorf("the new version of %s served %d production requests before all new versions were tested", s.Name, requests.next))
		}
	}
	return notes, err
}
