// Package smoke asks a released system, through its front door, whether it is
// what was released.
package smoke

import (
	"strings"

	"dagger/slipway/internal/config/platform"
)

// versionThreshold is how often the version is asked for: often enough that a load
// balancer has passed every task of a small service.
const versionThreshold = 8

// Check is one request and what its answer must be.
type Check struct {
	// Service is whose task must answer.
	Service string
	Path    string
	// Version must be what the answer's JSON says as "version"; empty means
	// any. An answer that says none passes: not every service tells.
	Version string
	// HTML tells that the answer must be a page.
	HTML bool
	// SuccessThreshold is how often in a row the answer must be right; 0 means once.
	SuccessThreshold int
}

// Checks derives the checks from the services' routes: the health path of each
// service, the root below each prefix, and the page, each as far as the load
// balancer leads there. A service for which versions has one must say it,
// whichever of its tasks is asked.
func Checks(services []platform.Service, versions map[string]string) []Check {
	var checks []Check
	for _, s := range services {
		add := func(check Check) {
			if answers, ok := platform.RouteTo(services, check.Path); ok && answers.Name == s.Name {
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
