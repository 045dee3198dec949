package scaffold

import (
	"path"
	"regexp"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

var (
	// plainPath matches a path without wildcards and without characters that are special
	// to net/http.ServeMux or Nginx.
	plainPath   = regexp.MustCompile(`^(/[A-Za-z0-9_.~-]+)+$`)
	plainFolder = regexp.MustCompile(`^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$`)
)

// checkRoutes checks that a template can serve the routes and that they do not conflict
// with another service. The services file allows more patterns; they can be added there
// once the service serves them.
func checkRoutes(p platform.Platform, service platform.Service) error {
	if !service.IsWeb() {
		if service.Kind == platform.Go || service.Kind == platform.Nginx {
			return outcome.Usagef("the template of kind %q has a port: a worker is of kind dockerfile or image", service.Kind)
		}
		return nil
	}
	below := false
	for _, route := range service.Routes {
		literal, prefix := strings.CutSuffix(route, "/*")
		below = below || prefix
		if !isPlainPath(literal) && (literal != "" || !prefix) {
			return outcome.Usagef("invalid route %q: want a path, such as /%s, or all paths below one, such as /%[2]s/*", route, service.Name)
		}
		for _, other := range p.Services {
			for _, theirs := range other.Routes {
				if platform.RoutesConflict(route, theirs) {
					return outcome.Usagef("route %q conflicts with %q of service %q: both match some paths with the same priority; use a deeper route", route, theirs, other.Name)
				}
			}
		}
	}
	if service.Kind == platform.Nginx && !below {
		return outcome.Usagef("a service of kind %q needs a route that ends in /*, such as /%s/*", service.Kind, service.Name)
	}
	if !isPlainPath(service.HealthPath) {
		return outcome.Usagef("invalid health path %q: want a path without wildcards, such as /health", service.HealthPath)
	}
	return nil
}

func isPlainPath(literal string) bool {
	return plainPath.MatchString(literal) && path.Clean(literal) == literal
}

// paths are the paths that a Go service serves, as [net/http.ServeMux] patterns.
type paths struct {
	// Health answers with the health, Identity with the instance.
	Health, Identity []string
}

// servedPaths derives the paths from the routes: the smoke test requests the root below
// each prefix, and "health" there.
func servedPaths(service platform.Service) paths {
	var found paths
	known := map[string]bool{}
	add := func(list *[]string, pattern string) {
		if !known[pattern] {
			known[pattern] = true
			*list = append(*list, pattern)
		}
	}
	add(&found.Health, service.HealthPath)
	for _, route := range service.Routes {
		if prefix, ok := strings.CutSuffix(route, "/*"); ok {
			add(&found.Health, prefix+"/health")
		}
	}
	for _, route := range service.Routes {
		if prefix, ok := strings.CutSuffix(route, "/*"); ok {
			add(&found.Identity, prefix+"/{$}")
		} else {
			add(&found.Identity, route)
		}
	}
	return found
}

// homePath returns the path of a site's home page, with a trailing slash.
func homePath(service platform.Service) string {
	for _, route := range service.Routes {
		if prefix, ok := strings.CutSuffix(route, "/*"); ok {
			return prefix + "/"
		}
	}
	if len(service.Routes) == 0 {
		return "/"
	}
	return service.Routes[0]
}
