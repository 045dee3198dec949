package scaffold

import (
	"path"
	"regexp"
	"strings"

	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/platform"
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
		if !plain(literal) && (literal != "" || !prefix) {
			return outcome.Usagef("route %q: write a path, such as /%s, or all paths below one, such as /%[2]s/*", route, service.Name)
		}
		for _, other := range p.Services {
			for _, theirs := range other.Routes {
				if undecided(route, theirs) {
					return outcome.Usagef("route %q and %q of service %q match some of the same paths, and neither comes before the other: take a deeper one", route, theirs, other.Name)
				}
			}
		}
	}
	if service.Kind == platform.Nginx && !below {
		return outcome.Usagef("a service of kind %q needs a route that ends in /*, such as /%s/*", service.Kind, service.Name)
	}
	if !plain(service.HealthPath) {
		return outcome.Usagef("health path %q: write a path without wildcards, such as /health", service.HealthPath)
	}
	return nil
}

func plain(literal string) bool {
	return plainPath.MatchString(literal) && path.Clean(literal) == literal
}

// undecided tells whether two routes match a path in common, and chance decides
// which of their rules comes first. Rules are in classes: those without a wildcard,
// then the deeper ones, see route_class in terraform/locals.tf.
func undecided(a, b string) bool { return class(a) == class(b) && overlap(a, b) }

func class(route string) int {
	if !strings.ContainsAny(route, "*?") {
		return 0
	}
	return max(1, 9-len(strings.Split(route, "/")))
}

// overlap tells whether a path matches both patterns of the load balancer's, in
// which "*" stands for any characters and "?" for one.
func overlap(a, b string) bool {
	switch {
	case a == "" && b == "":
		return true
	case strings.HasPrefix(a, "*"):
		return overlap(a[1:], b) || b != "" && overlap(a, b[1:])
	case strings.HasPrefix(b, "*"):
		return overlap(b, a)
	case a == "" || b == "":
		return false
	}
	return (a[0] == b[0] || a[0] == '?' || b[0] == '?') && overlap(a[1:], b[1:])
}

// paths are what a Go service answers.
type paths struct {
	// Health are where it tells how it is, Identity where it tells which instance
	// it is, both as patterns of Go's router.
	Health, Identity []string
}

// pathsOf derives them from the routes: the smoke test asks for the root below each
// prefix, and for "health" there.
func pathsOf(service platform.Service) paths {
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

// home is the path of a site's first page, with a slash at its end.
func home(service platform.Service) string {
	for _, route := range service.Routes {
		if prefix, ok := strings.CutSuffix(route, "/*"); ok {
			return prefix + "/"
		}
	}
	return service.Routes[0]
}
