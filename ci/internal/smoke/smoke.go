// Package smoke asks a released system, through its front door, whether it is
// what was released.
package smoke

import (
	"path"
	"strings"

	"dagger/slipway/internal/platform"
)

// rounds is how often the version is asked for: often enough that a load
// balancer has passed every task of a small service.
const rounds = 8

// Check is one request and what its answer must be.
type Check struct {
	Path string
	// Version must be what the answer's JSON says as "version"; empty means
	// any. An answer that says none passes: not every service tells.
	Version string
	// HTML tells that the answer must be a page.
	HTML bool
	// Rounds is how often in a row the answer must be right; 0 means once.
	Rounds int
}

// Checks derives the checks from the services' routes: the health path of each
// service as far as the load balancer leads there, the root below each prefix,
// and the page. A service for which versions has one must say it, whichever of
// its tasks is asked.
func Checks(services []platform.Service, versions map[string]string) []Check {
	var checks []Check
	for _, s := range services {
		if s.CatchAll() {
			checks = append(checks, Check{Path: "/", HTML: s.Kind == platform.Nginx})
		}
		for _, route := range s.Routes {
			if prefix, ok := strings.CutSuffix(route, "/*"); ok && prefix != "" && s.Kind == platform.Go {
				checks = append(checks, rootCheck(prefix, versions[s.Name]), Check{Path: prefix + "/health"})
			}
		}
		if leadsTo(services, s.HealthPath) == s.Name {
			checks = append(checks, Check{Path: s.HealthPath})
		}
	}
	return checks
}

func rootCheck(prefix, version string) Check {
	check := Check{Path: prefix + "/", Version: version}
	if version != "" {
		check.Rounds = rounds
	}
	return check
}

// leadsTo is the service that the load balancer gives a path to: the one with
// the longest matching route.
func leadsTo(services []platform.Service, requested string) string {
	name, length := "", -1
	for _, s := range services {
		for _, route := range s.Routes {
			if matches(route, requested) && len(route) > length {
				name, length = s.Name, len(route)
			}
		}
	}
	return name
}

// matches tells whether a path-pattern of the load balancer, in which "*"
// stands for any characters, matches a path.
func matches(pattern, requested string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok && !strings.Contains(prefix, "*") {
		return strings.HasPrefix(requested, prefix)
	}
	ok, err := path.Match(pattern, requested)
	return err == nil && ok
}
