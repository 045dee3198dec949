// Package smoke tests a released system over HTTP, through its load balancer.
package smoke

import (
	"net/http"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
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
	// Below, if not 0, accepts any status below it, and does not follow redirects. With 0
	// the status must be 200.
	Below int
	// AsBefore means that the path was answered with a status below 400 before the release,
	// and must be so after it.
	AsBefore bool
	// CommitOnly ignores a version that is not a commit id: that of the API or the program.
	CommitOnly bool
	// HTML requires a response of type text/html.
	HTML bool
	// SuccessThreshold is how many consecutive responses must pass; 0 means 1.
	SuccessThreshold int
}

// Checks returns the checks of the services' routes: the health path of each
// service and the root of each prefix, as far as the load balancer routes them
// to that service. A service in versions must respond with that version. Workers and jobs
// have no routes, and so no checks.
//
// Only a health path must be answered with 200, and the page of a site. Any other path may
// redirect, or be answered with 401 or 404, because the services file does not say what is
// there: but not with a server error, nor with an error if it was answered without one
// before the release: see [Succeeded]. Of kind go and not there before, a version in the
// response must be that of the release.
func Checks(services []platform.Service, versions map[string]string) []Check {
	var checks []Check
	for _, s := range services {
		if len(s.Routes) == 0 {
			continue
		}
		add := func(check Check) {
			if target, ok := platform.RouteTo(services, check.Path); ok && target.Name == s.Name {
				check.Service = s.Name
				checks = append(checks, check)
			}
		}
		if s.Kind == platform.Dockerfile || s.Kind == platform.Prebuilt || s.Service != "" {
			for _, check := range anyProgram(s, versions[s.Name]) {
				add(check)
			}
			continue
		}
		switch {
		case s.Kind == platform.Nginx && s.CatchAll():
			add(Check{Path: "/", HTML: true})
		case s.CatchAll():
			add(Check{Path: "/", Below: http.StatusInternalServerError})
		}
		for _, route := range s.Routes {
			if prefix, ok := strings.CutSuffix(route, "/*"); ok && prefix != "" && s.Kind == platform.Go {
				add(rootCheck(prefix, versions[s.Name]))
				add(Check{Path: prefix + "/health", Below: http.StatusInternalServerError})
			}
		}
		add(Check{Path: s.HealthPath})
	}
	return checks
}

// anyProgram returns the checks of a service whose program makes no promise: a path of
// each route, unless only a wildcard tells it, and the health path.
func anyProgram(s platform.Service, version string) []Check {
	var checks []Check
	for _, route := range s.Routes {
		path := strings.TrimRight(route, "*")
		if path == "" || strings.ContainsAny(path, "*?") {
			continue
		}
		checks = append(checks, Check{Path: path, Version: version, Below: http.StatusInternalServerError, CommitOnly: true})
	}
	if len(checks) > 0 && version != "" {
		checks[0].SuccessThreshold = versionThreshold
	}
	return append(checks, Check{Path: s.HealthPath, Below: http.StatusBadRequest})
}

func rootCheck(prefix, version string) Check {
	check := Check{Path: prefix + "/", Version: version, Below: http.StatusInternalServerError}
	if version != "" {
		check.SuccessThreshold = versionThreshold
	}
	return check
}
