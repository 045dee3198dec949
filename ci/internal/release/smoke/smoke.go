// Package smoke tests a released system over HTTP, through its load balancer.
package smoke

import (
	"strings"

	"dagger/slipway/internal/config/platform"
)

// versionThreshold is how many consecutive responses must have the version: enough
// for the load balancer to route to every task of a small service.
const versionThreshold = 8

// Check is a request and its expected response.
type Check struct {
	// Service is the name of the service that handles the request.
	Service string
	Path    string
	// Version is the expected "version" in the JSON response; "" accepts any. A
	// response without one passes, because services need not report it.
	Version string
	// HTML requires a response of type text/html.
	HTML bool
	// SuccessThreshold is how many consecutive responses must pass; 0 means 1.
	SuccessThreshold int
}

// Checks returns the checks of the services' routes: the health path of each
// service and the root of each prefix, as far as the load balancer routes them
// to that service. A service in versions must respond with that version.
func Checks(services []platform.Service, versions map[string]string) []Check {
	var checks []Check
	for _, s := range services {
		add := func(check Check) {
			if target, ok := platform.RouteTo(services, check.Path); ok && target.Name == s.Name {
				check.Service = s.Name
				checks = append(checks, check)
			}
		}
		if s.CatchAll() {
			add(Check{Path: "/", HTML: s.Kind == platform.Nginx})
		}
		for _, route := range s.Routes {
			if prefix, ok := strings.CutSuffix(route, "/*"); ok && prefix != "" && s.Kind == platform.Go {
				add(rootCheck(prefix, versions[s.Name]))
				add(Check{Path: prefix + "/health"})
			}
		}
		add(Check{Path: s.HealthPath})
	}
	return checks
}

func rootCheck(prefix, version string) Check {
	check := Check{Path: prefix + "/", Version: version}
	if version != "" {
		check.SuccessThreshold = versionThreshold
	}
	return check
}
