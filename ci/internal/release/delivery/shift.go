package delivery

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/preflight"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/smoke"
	"github.com/slipway-cd/slipway/ci/internal/release/traffic"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// trafficShift is what a release knows of the services whose traffic it shifts.
type trafficShift struct {
	services []platform.Service
	// tested is where the new version of each service receives test traffic.
	tested  map[string]smoke.Endpoint
	monitor *traffic.Monitor
}

// report reports the figures of the services, once the release is over.
func (s trafficShift) report() {
	if s.monitor != nil {
		s.monitor.Report(platform.Platform{Services: s.services}.Names())
	}
}

// lookupTimeout limits the lookups of shiftTraffic with their retries.
const lookupTimeout = time.Minute

// shiftTraffic finds what ECS shifts the traffic of the request's services with, and adds it
// to the request, with the checks while it is shifted; succeeded is that of the smoke test.
// Without such a service, it calls nothing.
func (d Delivery) shiftTraffic(ctx context.Context, request *rollout.Request, succeeded smoke.Succeeded, o Options) (trafficShift, error) {
	shift := trafficShift{}
	for _, target := range request.Targets {
		s := target.Service
		if s.Strategy = cmp.Or(target.Strategy, s.Strategy); s.ShiftsTraffic() {
			shift.services = append(shift.services, s)
		}
	}
	if len(shift.services) == 0 {
		return shift, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	current, err := d.engine().LoadBalancers(ctx, shift.services)
	if err != nil {
		return shift, awsauth.Explain(err)
	}
	// ECS shifts nothing of a service without a load balancer, whatever its entry has.
	shift.services = slices.DeleteFunc(shift.services, func(s platform.Service) bool {
		balancers, exists := current[s.Name]
		return exists && len(balancers) == 0
	})
	if len(shift.services) == 0 {
		return shift, nil
	}
	lookup := traffic.Lookup{ELB: d.Account.elb, TestPort: d.Environment.TestListenerPort(), Current: current}
	found, known, err := lookup.Shifts(ctx, shift.services)
	if err != nil {
		return shift, awsauth.Explain(err)
	}
	for n, target := range request.Targets {
		if configure, ok := found[target.Service.Name]; ok {
			request.Targets[n].Shift = &configure
		}
	}
	shift.monitor = &traffic.Monitor{CloudWatch: d.Account.metrics, ELB: d.Account.elb, Clock: d.clock(), Event: d.Recorder.Event}
	request.CheckTraffic = shift.monitor.Check
	if o.SkipSmoke {
		return shift, nil
	}
	testRules := map[string]string{} // by the entry's name
	for _, s := range shift.services {
		if rule := cmp.Or(found[s.Name].TestRule, known[s.Name].TestRule); rule != "" {
			testRules[s.Name] = rule
		}
	}
	if shift.tested, err = d.testEndpoints(ctx, testRules, o); err != nil {
		return shift, err
	}
	request.TestNew = func(ctx context.Context, versions map[string]string) error {
		return d.testNew(ctx, shift, succeeded, versions)
	}
	return shift, nil
}

// testEndpoints returns where the new version of each service receives test traffic. If
// this machine cannot reach it, there are none, after an event.
func (d Delivery) testEndpoints(ctx context.Context, rules map[string]string, o Options) (map[string]smoke.Endpoint, error) {
	host := ""
	if base, err := url.Parse(o.URL); err == nil {
		host = base.Hostname()
	}
	endpoints, err := smoke.ListenerEndpoints(ctx, d.Account.elb, slices.Collect(maps.Values(rules)), host)
	if errors.As(err, new(*smoke.NoEndpointError)) {
		d.Recorder.Event("", preflight.NotChecked+"new versions before they get traffic: "+outcome.JoinLines(awsauth.Explain(err).Error()))
		return nil, nil
	}
	if err != nil {
		return nil, awsauth.Explain(err)
	}
	found := map[string]smoke.Endpoint{}
	for name, rule := range rules {
		if endpoint, ok := endpoints[rule]; ok {
			found[name] = endpoint
		}
	}
	return found, nil
}

// testNew runs the smoke test of the new versions on the listener for test traffic, before
// they receive any of production.
func (d Delivery) testNew(ctx context.Context, shift trafficShift, succeeded smoke.Succeeded, versions map[string]string) error {
	checks, tested := map[smoke.Endpoint][]smoke.Check{}, map[string]bool{}
	for _, check := range succeeded.Require(smoke.Checks(d.All, versions)) {
		_, changed := versions[check.Service]
		if at, ok := shift.tested[check.Service]; ok && changed {
			checks[at], tested[check.Service] = append(checks[at], check), true
		}
	}
	for _, s := range shift.services {
		if _, changed := versions[s.Name]; changed && !tested[s.Name] {
			d.Recorder.Event(s.Name, "its new version is not tested before it gets traffic: no request reaches it through the listener for test traffic")
		}
	}
	if len(checks) == 0 {
		return nil
	}
	return d.stage("smoke-new", func() error {
		var problems []error
		for at, list := range checks {
			tester := smoke.Tester{Clock: d.clock(), Timeout: cmp.Or(d.SmokeTimeout, smoke.DefaultTimeout), Host: at.Host}
			if err := tester.Run(ctx, at.URL, list); err != nil {
				problems = append(problems, err)
			}
		}
		return errors.Join(problems...)
	})
}
