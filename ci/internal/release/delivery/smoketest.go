package delivery

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/smoke"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// endpoints are the base URLs of web services, by the entry's name.
type endpoints map[string]string

// first returns the URL of the first service that has one.
func (e endpoints) first(services []platform.Service) string {
	for _, s := range services {
		if e[s.Name] != "" {
			return e[s.Name]
		}
	}
	return ""
}

// endpoints returns the base URLs of the web services, or a note why the smoke test is
// skipped. The error means that a URL could not be looked up. A release of workers alone
// needs no load balancer.
func (d Delivery) endpoints(ctx context.Context, o Options) (found endpoints, note string, err error) {
	web := slices.DeleteFunc(slices.Clone(d.All), func(s platform.Service) bool { return !s.IsWeb() })
	if !slices.ContainsFunc(d.Services, platform.Service.IsWeb) {
		return nil, "", nil
	}
	found = endpoints{}
	if o.URL != "" {
		for _, s := range web {
			found[s.Name] = strings.TrimSuffix(o.URL, "/") // paths begin with one
		}
		return found, "", nil
	}
	err = d.lookUp(ctx, web, found)
	if errors.As(err, new(*smoke.NoEndpointError)) {
		return found, "no smoke test: " + outcome.JoinLines(awsauth.Explain(err).Error()) + ": set the URL with --url", nil
	}
	return found, "", awsauth.Explain(err)
}

// lookUp adds the URLs of web services: that of the platform's load balancer, or, for
// services with names of their own, of the one that forwards to the service's target group.
func (d Delivery) lookUp(ctx context.Context, web []platform.Service, found endpoints) error {
	var adopted []platform.Service
	var problem error
	url := ""
	for _, s := range web {
		own := s.Service != "" || s.Cluster != ""
		if !own && url == "" && problem == nil {
			url, problem = smoke.BaseURL(ctx, d.Account.elb, d.Environment.LoadBalancer())
		}
		if own || problem != nil {
			adopted = append(adopted, s)
		} else {
			found[s.Name] = url
		}
	}
	if len(adopted) == 0 || problem != nil && !errors.As(problem, new(*smoke.NoEndpointError)) {
		return problem
	}
	balancers, err := d.engine().LoadBalancers(ctx, adopted)
	if err != nil {
		return err
	}
	groups := map[string]string{} // by the entry's name
	for name, attached := range balancers {
		for _, balancer := range attached {
			groups[name] = cmp.Or(groups[name], aws.ToString(balancer.TargetGroupArn))
		}
	}
	urls, err := smoke.BaseURLs(ctx, d.Account.elb, slices.Compact(slices.Sorted(maps.Values(groups))))
	for _, s := range adopted {
		if url := urls[groups[s.Name]]; url != "" {
			found[s.Name] = url
		}
	}
	if len(found) == 0 {
		return errors.Join(err, problem)
	}
	return err
}

// checks returns the checks of the smoke test by URL.
func (d Delivery) checks(found endpoints, versions map[string]string) map[string][]smoke.Check {
	checks := map[string][]smoke.Check{}
	for _, url := range found {
		services := slices.DeleteFunc(slices.Clone(d.All), func(s platform.Service) bool { return found[s.Name] != url })
		checks[url] = smoke.Checks(services, versions)
	}
	return checks
}

// smokeTest runs the smoke test. The routes of the services in versions, which the
// release changes, decide the release: a failure there fails it, even if the route
// failed before. Those in succeeded must not return an error now. Failures of other
// services are returned as notes, because restoring would not fix them.
func (d Delivery) smokeTest(ctx context.Context, found endpoints, succeeded smoke.Succeeded, versions map[string]string) (notes []string, err error) {
	tester := smoke.Tester{Clock: d.clock(), Timeout: cmp.Or(d.SmokeTimeout, smoke.DefaultTimeout), Host: d.host}
	own, others := map[string][]smoke.Check{}, map[string][]smoke.Check{} // by URL
	tested := map[string]bool{}
	for url, checks := range d.checks(found, versions) {
		for _, check := range succeeded.Require(checks) {
			if _, changed := versions[check.Service]; changed {
				own[url], tested[check.Service] = append(own[url], check), true
			} else {
				others[url] = append(others[url], check)
			}
		}
	}
	for _, s := range d.Services {
		if _, changed := versions[s.Name]; changed && !tested[s.Name] && (!s.IsWeb() || found[s.Name] != "") {
			d.Recorder.Event(s.Name, untested(s))
		}
	}
	if len(own)+len(others) == 0 {
		return nil, nil
	}
	err = d.stage("smoke", func() error {
		for _, url := range slices.Sorted(maps.Keys(own)) {
			if err := tester.Run(ctx, url, own[url]); err != nil {
				return err
			}
		}
		for _, url := range slices.Sorted(maps.Keys(others)) {
			for _, note := range smoke.Notes(ctx, url, d.host, others[url]) {
				notes = append(notes, note)
				d.Recorder.Event("", note)
			}
		}
		return nil
	})
	return notes, err
}

// untested describes how a service without a smoke test was verified.
func untested(s platform.Service) string {
	switch {
	case s.IsWeb():
		return "no smoke test: no request reaches it through the load balancer; its targets are healthy"
	case s.HasHealthCheck():
		return "no smoke test, because it has no route: its tasks run, and their container health check passes"
	}
	return "no smoke test, because it has no route: its tasks have run for 40 s, after which ECS counts a task without a health check as healthy"
}
