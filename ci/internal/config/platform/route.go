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
	routes := listRoutes(services)
	slices.SortStableFunc(routes, func(a, b Route) int {
		return cmp.Compare(a.Service.RulePriority(a.Pattern), b.Service.RulePriority(b.Pattern))
	})
	return routes
}

// listRoutes returns the routes of services in the order of their entries.
func listRoutes(services []Service) []Route {
	var routes []Route
	for _, s := range services {
		for _, pattern := range s.Routes {
			routes = append(routes, Route{pattern, s})
		}
	}
	return routes
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

// Priorities of listener rules. terraform/modules/platform/services/routes.tf computes the same.
const (
	priorityClass = 5500 // priorities in a class
	deepest       = 9
	catchAllClass = 8
	lastPriority  = 50000
)

// RoutePriority returns the priority of the listener rule of a route that has its own, 1 to
// 50,000; the lowest matching priority wins. It depends on the route alone, so that a new
// service changes no other rule: routes without a wildcard come first, then deeper ones;
// within a class the route's hash decides. terraform/modules/platform/services/routes.tf computes the same
// (route_priority).
func RoutePriority(route string) int { return priority(routeClass(route), route) }

func priority(class int, text string) int {
	sum := sha256.Sum256([]byte(text))
	return class*priorityClass + int(binary.BigEndian.Uint32(sum[:])%priorityClass) + 1
}

// RulePriority returns the priority of the listener rule of one of the service's routes.
//
// ECS shifts the traffic of one rule. So if it shifts the service's, all routes are in one
// rule, which comes where the least specific of them would. Otherwise each route has its own
// rule, and [CatchAll], which is the listener's default action, comes last.
func (s Service) RulePriority(route string) int {
	switch {
	case s.ShiftsTraffic():
		// The text differs from that of a single route, so that this rule can be created
		// before the others are deleted.
		return priority(s.ruleClass(route), "rule "+strings.Join(slices.Sorted(slices.Values(s.Routes)), " "))
	case route == CatchAll:
		return lastPriority
	}
	return RoutePriority(route)
}

// ruleClass returns the class of the listener rule of one of the service's routes.
func (s Service) ruleClass(route string) int {
	class := orderClass(route)
	if s.ShiftsTraffic() {
		for _, other := range s.Routes {
			class = max(class, orderClass(other))
		}
	}
	return class
}

// orderClass is routeClass with the catch-all last.
func orderClass(route string) int {
	if route == CatchAll {
		return catchAllClass
	}
	return routeClass(route)
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

// checkPriorities returns an error for each pair of routes whose rules have the same
// priority.
func checkPriorities(services []Service) []error {
	var problems []error
	routes := Routes(services)
	for n := 1; n < len(routes); n++ {
		a, b := routes[n-1], routes[n]
		oneRule := a.Pattern == b.Pattern || a.Service.Name == b.Service.Name && a.Service.ShiftsTraffic()
		if priority := a.Service.RulePriority(a.Pattern); !oneRule && priority != lastPriority && priority == b.Service.RulePriority(b.Pattern) {
			problems = append(problems, fmt.Errorf("routes %q and %q have the same priority by chance: replace \"*\" by \"**\" in one of them, which matches the same paths", a.Pattern, b.Pattern))
		}
	}
	return problems
}

// checkOrder returns an error for each route that would not come before a less specific
// route of another service, because it is in one rule with a less specific one.
func checkOrder(services []Service) []error {
	var problems []error
	routes := listRoutes(services)
	for _, a := range routes {
		if !a.Service.ShiftsTraffic() {
			continue
		}
		for _, b := range routes {
			s, other := a.Service, b.Service
			if other.Name != s.Name && orderClass(a.Pattern) < orderClass(b.Pattern) && s.ruleClass(a.Pattern) >= other.ruleClass(b.Pattern) && mayOverlap(a.Pattern, b.Pattern) {
				problems = append(problems, fmt.Errorf("service %q: strategy %q puts all its routes in one listener rule, so that %q would not come before %q of service %q: use other routes, or type %q", s.Name, s.Strategy.Kind(), a.Pattern, b.Pattern, other.Name, Rolling))
			}
		}
	}
	return problems
}

// mayOverlap is overlap, but for two patterns with wildcards it only compares what is before
// the first and after the last wildcard, as Terraform can.
func mayOverlap(a, b string) bool {
	const wildcards = "*?"
	if !strings.ContainsAny(a, wildcards) || !strings.ContainsAny(b, wildcards) {
		return overlap(a, b)
	}
	beginA, beginB := a[:strings.IndexAny(a, wildcards)], b[:strings.IndexAny(b, wildcards)]
	endA, endB := a[strings.LastIndexAny(a, wildcards)+1:], b[strings.LastIndexAny(b, wildcards)+1:]
	return (strings.HasPrefix(beginA, beginB) || strings.HasPrefix(beginB, beginA)) && (strings.HasSuffix(endA, endB) || strings.HasSuffix(endB, endA))
}
