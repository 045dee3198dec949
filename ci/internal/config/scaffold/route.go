package scaffold

import (
	"path"
	"regexp"
	"strings"

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/report/outcome"
)

var (
	// plainPath is what a template can serve as it is: no wildcard, nothing that
	// Go's router or Nginx read as something else.
	plainPath   = regexp.MustCompile(`^(/[A-Za-z0-9_.~-]+)+$`)
	plainFolder = regexp.MustCompile(`^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$`)
)

// checkRoutes wants routes that a template can serve and that lead to nobody
// else. The services file itself takes more: other patterns can be written there
// once the service answers them.
func checkRoutes(p platform.Platform, service platform.Service) error {
	below := false
	for _, route := range service.Routes {
		literal, prefix := strings.CutSuffix(route, "/*")
		below = below || prefix
		if !isPlainPath(literal) && (literal != "" || !prefix) {
			return outcome.Usagef("route %q: write a path, such as /%s, or all paths below one, such as /%[2]s/*", route, service.Name)
		}
		for _, other := range p.Services {
			for _, theirs := range other.Routes {
				if platform.RoutesConflict(route, theirs) {
					return outcome.Usagef("route %q and %q of service %q match some of the same paths, and neither comes before the other: take a deeper one", route, theirs, other.Name)
				}
			}
		}
	}
	if service.Kind == platform.Nginx && !below {
		return outcome.Usagef("a service of kind %q needs a route that ends in /*, such as /%s/*", service.Kind, service.Name)
	}
	if !isPlainPath(service.HealthPath) {
		return outcome.Usagef("health path %q: write a path without wildcards, such as /health", service.HealthPath)
	}
	return nil
}

func isPlainPath(literal string) bool {
	return plainPath.MatchString(literal) && path.Clean(literal) == literal
}

// paths are what a Go service answers.
type paths struct {
	// Health are where it tells how it is, Identity where it tells which instance
	// it is, both as patterns of Go's router.
	Health, Identity []string
}

// pathsOf derives them from the routes: the smoke test asks for the root below each
// prefix, and for "health" there.
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

// homePath is the path of a site's first page, with a slash at its end.
func homePath(service platform.Service) string {
	for _, route := range service.Routes {
		if prefix, ok := strings.CutSuffix(route, "/*"); ok {
			return prefix + "/"
		}
	}
	return service.Routes[0]
}
