package platform

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// CatchAll is the route that needs no listener rule: the listener's default action
// forwards to its service.
const CatchAll = "/*"

// Route is a path pattern of the load balancer and the service that it forwards to.
type Route struct {
	Pattern string
	Service Service
}

// Routes returns the routes of services in the order in which the load balancer
// tries them: by the priority of their listener rules, the catch-all last.
func Routes(services []Service) []Route {
	var routes []Route
	for _, s := range services {
		for _, pattern := range s.Routes {
			routes = append(routes, Route{pattern, s})
		}
	}
	slices.SortStableFunc(routes, func(a, b Route) int {
		return cmp.Or(boolCompare(a.Pattern == CatchAll, b.Pattern == CatchAll), cmp.Compare(RoutePriority(a.Pattern), RoutePriority(b.Pattern)))
	})
	return routes
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// RouteTo returns the service that the load balancer forwards a path to. ok is false
// where no route matches, which the load balancer answers with 404.
func RouteTo(services []Service, path string) (s Service, ok bool) {
	for _, route := range Routes(services) {
		if MatchPattern(route.Pattern, path) {
			return route.Service, true
		}
	}
	return Service{}, false
}

// Priorities of listener rules. terraform/locals.tf computes the same.
const (
	priorityClass = 5500 // priorities in a class
	deepest       = 9
)

// RoutePriority returns the priority of a route's listener rule, 1 to 50,000; the lowest
// matching priority wins. It depends on the route alone, so that a new service changes no
// other rule: routes without a wildcard come first, then deeper ones; within a class the
// route's hash decides. terraform/locals.tf computes the same (route_priority).
func RoutePriority(route string) int {
	sum := sha256.Sum256([]byte(route))
	return routeClass(route)*priorityClass + int(binary.BigEndian.Uint32(sum[:])%priorityClass) + 1
}

func routeClass(route string) int {
	if !strings.ContainsAny(route, "*?") {
		return 0
	}
	return max(1, deepest-len(strings.Split(route, "/")))
}

// RoutesConflict reports whether two routes match a common path and only their hashes
// decide which comes first.
func RoutesConflict(a, b string) bool {
	return (a == CatchAll) == (b == CatchAll) && routeClass(a) == routeClass(b) && overlap(a, b)
}

// overlap reports whether some path matches both patterns.
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

// MatchPattern reports whether a pattern of a listener rule matches text: "*" matches any
// number of characters, including slashes, and "?" matches one.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html
func MatchPattern(pattern, text string) bool {
	p, t, star, resume := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, resume = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			resume++
			p, t = star+1, resume
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// checkPriorities returns an error for each pair of routes with the same priority.
func checkPriorities(services []Service) []error {
	var problems []error
	routes := Routes(services)
	for n := 1; n < len(routes); n++ {
		a, b := routes[n-1].Pattern, routes[n].Pattern
		if a != b && b != CatchAll && RoutePriority(a) == RoutePriority(b) {
			problems = append(problems, fmt.Errorf("routes %q and %q have the same priority by chance: replace \"*\" by \"**\" in one of them, which matches the same paths", a, b))
		}
	}
	return problems
}
