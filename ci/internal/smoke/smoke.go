// Package smoke asks a released system, through its front door, whether it is
// what was released.
package smoke

import (
	"cmp"
	"path"
	"strings"

	"dagger/slipway/internal/platform"
)

// rounds is how often the version is asked for: often enough that a load
// balancer has passed every task of a small service.
const rounds = 8

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
	// Rounds is how often in a row the answer must be right; 0 means once.
	Rounds int
}

// Checks derives the checks from the services' routes: the health path of each
// service, the root below each prefix, and the page, each as far as the load
// balancer leads there. A service for which versions has one must say it,
// whichever of its tasks is asked.
func Checks(services []platform.Service, versions map[string]string) []Check {
	var checks []Check
	for _, s := range services {
		add := func(check Check) {
			if check.Service = s.Name; leadsTo(services, check.Path) == s.Name {
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
		check.Rounds = rounds
	}
	return check
}

// leadsTo is the service that the load balancer gives a path to, as the platform's
// Terraform orders its rules: first routes without a wildcard, then the deeper ones.
func leadsTo(services []platform.Service, requested string) string {
	name, best := "", ""
	for _, s := range services {
		for _, route := range s.Routes {
			if matches(route, requested) && (name == "" || before(route, best)) {
				name, best = s.Name, route
			}
		}
	}
	return name
}

func before(route, other string) bool {
	rank := func(route string) (literal, depth, length int) {
		if !strings.ContainsAny(route, "*?") {
			literal = 1
		}
		if route != "/*" { // whatever no other one matches
			depth = strings.Count(route, "/")
		}
		return literal, depth, len(route)
	}
	l1, d1, n1 := rank(route)
	l2, d2, n2 := rank(other)
	return cmp.Or(cmp.Compare(l1, l2), cmp.Compare(d1, d2), cmp.Compare(n1, n2)) > 0
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
